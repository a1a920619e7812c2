# viewstream with ffcv: docker build --build-arg BASE=IMAGE -t viewstream .
# BASE is a Debian or Ubuntu image with Python 3.11 or newer; torch is installed if it has none. Nothing here has built this file.
ARG BASE=python:3.12-slim
FROM ${BASE}

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ pkg-config libopencv-dev libturbojpeg0-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/viewstream
COPY . .
# What is installed is this folder, and its pyproject.toml bounds the versions.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir '.[train,ffcv,remote,log,report]' \
    && python -m viewstream.pipeline.kernels

WORKDIR /work
ENTRYPOINT ["viewstream"]
CMD ["--help"]

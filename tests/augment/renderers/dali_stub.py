"""A module in place of DALI that needs no GPU: it records the operators of a graph and keeps DALI's rules of places.

An operator runs where its inputs lie, which must be one place; a decoder takes JPEGs on the CPU, and "mixed" leaves
images on the GPU; arguments by name must lie on the CPU.
"""

from types import SimpleNamespace

import torch


class Node:
    """The output of an operator, on "cpu" or "gpu"."""

    def __init__(self, dali, op, device, inputs=(), named=None):
        self.op, self.device, self.inputs, self.named = op, device, inputs, named or {}
        dali.made.append(self)
        self.dali = dali

    def gpu(self):
        return Node(self.dali, "gpu", "gpu", (self,))

    def __getitem__(self, key):
        assert self.device == "cpu", "a slice for an argument by name lies on the CPU"
        return Node(self.dali, "item", self.device, (self,))

    def _with(self, other):
        return self.dali.call("arithmetic", self, *([other] if isinstance(other, Node) else []))

    __ge__ = __mul__ = __xor__ = _with
    __hash__ = object.__hash__


class Pipeline:
    """Records its options and the streams that its outputs are asked for; gives arrays of torch that are made up."""

    def __init__(self, samples, threads, index, **options):
        self.samples, self.threads, self.index, self.options = samples, threads, index, options
        self.fed, self.streams, self.nodes = [], [], ()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def set_outputs(self, *nodes):
        self.nodes = nodes

    def build(self):
        pass

    def feed_input(self, name, data):
        self.fed.append(name)

    def schedule_run(self):
        self.fed.append("run")

    def outputs(self, stream):
        self.streams.append(stream)
        count = len(self.nodes)
        return [SimpleNamespace(as_tensor=lambda: torch.zeros(self.samples, 8, 8, 3)) for _ in range(count)]


class Stub:
    """`nvidia.dali`, as far as the renderer uses it. `made`: the nodes of the graph, in order."""

    def __init__(self):
        self.made = []
        self.types = SimpleNamespace(
            RGB="RGB", UINT8="UINT8", FLOAT="FLOAT", INTERP_LINEAR=1, INTERP_CUBIC=2, Constant=lambda value, type: value
        )
        self.pipelines = []

    @property
    def fn(self):
        return self

    def __getattr__(self, op):
        if op == "decoders":
            return SimpleNamespace(image=lambda *inputs, **named: self.call("decoders.image", *inputs, **named))
        return lambda *inputs, **named: self.call(op, *inputs, **named)

    def Pipeline(self, *args, **options):  # as DALI spells it
        self.pipelines.append(Pipeline(*args, **options))
        return self.pipelines[-1]

    def call(self, op, *inputs, **named):
        for name, value in named.items():
            assert not isinstance(value, Node) or value.device == "cpu", f"{op}: {name} is on the GPU"
        places = {node.device for node in inputs}
        assert len(places) <= 1, f"{op}: inputs on both devices"
        device = places.pop() if places else "cpu"
        if op == "decoders.image":
            assert device == "cpu", "JPEGs are decoded from the host's memory"
            device = "gpu" if named["device"] == "mixed" else "cpu"
        return Node(self, op, device, inputs, named)

"""What loader.py prints and draws: a table of rates, the verdict on what limits a loader, and bars."""

import json
import os
from pathlib import Path
from typing import Any

from viewstream.augment.spec import Views, size_of
from viewstream.pipeline.timing import Times
from viewstream.shards.errors import needs
from viewstream.shards.files import atomic
from viewstream.tools.bench.loaders.cases import FLOOR
from viewstream.tools.bench.loaders.job import Job
from viewstream.tools.bench.peers.table import PEERS

REMEDIES = {
    "read": "a nearer disk, fewer and larger reads (--loader ffcv or webdataset), or more --workers for a far one",
    "decode": "more cores, smaller images (--max-side, --quality), raw images (--raw-fraction), or a GPU's decoder",
    "cut": "smaller views, or --crops device if a GPU has room",
}


def report(
    job: Job,
    views: Views,
    rates: dict[str, float],
    costs: dict[str, float],
    times: dict[str, Times],
    out: Path | None,
) -> None:
    """Print rates, us of processor time per sample (`costs`), stage times and the verdict; write JSON to `out` and a
    PNG beside it."""
    sizes = "+".join(f"{sum(size_of(v) == s for v in views)}x{s}" for s in dict.fromkeys(map(size_of, views)))
    title = f"{job.manifest.info.name}, {len(job.manifest)} images, views {sizes} px, {job.threads} threads"
    print(f"{title} of {os.cpu_count()} cores")
    peers = [name for name in PEERS if name in rates]
    for name, rate in rates.items():
        against = "".join(f"  {rate / rates[peer]:6.2f} x {peer}" for peer in peers if name not in peers)
        cost = f"{costs[name]:7.1f} us of processor time"
        print(f"{name:<28} {rate:8.0f} samples/s  {rate / rates[FLOOR]:5.2f} of the floor  {cost}{against}")
    for name, spent in times.items():
        print(f"{name:<28} {spent.table()}")
    crops = [] if job.rendered else [name for name in times if "," not in name]  # the verdict is about these
    best = max(crops, key=lambda name: rates[name], default="")
    text = verdict(times[best], job.threads, rates[best] / rates[FLOOR]) if best else ""
    print(f"verdict, {best}: {text}" if best else "")
    if out:
        results: dict[str, Any] = {"samples_per_second": rates, "processor_us": costs}
        results |= {"threads": job.threads, "views": sizes, "verdict": text}
        results["seconds"] = {name: dict(spent) for name, spent in times.items()}
        with atomic(out, "w") as file:
            json.dump(results, file, indent=1)
        draw_bars(rates, title, out.with_suffix(".png"))


def verdict(times: Times, threads: int, ratio: float) -> str:
    """What limits a loader, and what to change; `ratio` is its speed over that of decoding alone."""
    work = {stage: times[stage] for stage in ("read", "decode", "cut")}
    own = times["draw"] / max(1e-9, times["draw"] + times["wait"])
    share = {stage: seconds / sum(work.values()) for stage, seconds in work.items()}
    slowest = max(share, key=lambda stage: share[stage])
    parts = ", ".join(f"{stage} {part:.0%}" for stage, part in share.items())
    return (
        f"{slowest} limits ({parts} of the threads' time on {threads} threads; drawing takes {own:.1%} of the "
        f"consumer's time); {ratio:.2f} of decoding alone. To go faster: {REMEDIES[slowest]}"
    )


def draw_bars(rates: dict[str, float], title: str, path: Path) -> None:
    """Draw each rate as a share of the floor."""
    plt = needs("matplotlib.pyplot")
    plt.switch_backend("agg")
    names = list(rates)[::-1]
    shares = [rates[name] / rates[FLOOR] for name in names]
    colors = ["#999999" if name in PEERS else "#bbbbdd" if name == FLOOR else "#3355bb" for name in names]
    figure, axes = plt.subplots(figsize=(8, 0.45 * len(names) + 1.2), layout="constrained")
    axes.bar_label(axes.barh(names, shares, color=colors), [f"{share:.2f}" for share in shares], padding=3)
    axes.set_xlabel("samples per second, as a share of decoding alone")
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)

"""What limits the steps of a run, and what to change."""

from dataclasses import dataclass

GOAL = 0.97  # of the ceiling; from there on, only a faster step helps
REMEDIES = {
    "waiting": "more cores or --workers, a GPU that decodes (--loader dali, --decode gpu) or crops (--crops device), "
    "smaller images (--max-side of the builder), or --loader memory for a small set",
    "rendering": "--compile on, or views with fewer ops",
    "stolen": "fewer --workers, or a GPU that decodes (--loader dali, --decode gpu)",
}


@dataclass(frozen=True)
class Headspace:
    """Seconds per step by where batches come from, and `waited`, the seconds that a loader's step waits for data beyond
    those in which a cached batch is copied and rendered."""

    seconds: dict[str, float]
    waited: float
    batch: int  # images per step of this process
    peak_gb: float  # of the device's memory; 0 on a CPU

    @property
    def reached(self) -> float:
        """The speed with the loader as a share of the ceiling."""
        return self.seconds["resident"] / self.seconds["loader"]

    @property
    def lost(self) -> dict[str, float]:
        """What the loader's steps lose, as shares of their time."""
        step, cached = self.seconds["loader"], self.seconds.get("cached", self.seconds["resident"])
        stolen = max(0.0, step - cached - self.waited)
        rendering = max(0.0, cached - self.seconds["resident"])
        return {"waiting": self.waited / step, "rendering": rendering / step, "stolen": stolen / step}

    def __str__(self) -> str:
        lines = [
            f"{name:<9} {self.batch / spent:9.1f} img/s {1e3 * spent:9.2f} ms per step"
            for name, spent in self.seconds.items()
        ]
        parts = ", ".join(f"{name} {share:.1%}" for name, share in self.lost.items())
        worst = max(self.lost, key=lambda name: self.lost[name])
        text = f"{self.reached:.2f} of the ceiling; of a step's time: {parts}"
        if self.reached >= GOAL:
            return "\n".join(
                [*lines, f"step-bound: {text}. To go faster: --compile on, --precision bf16, a smaller network"]
            )
        return "\n".join([*lines, f"loader-bound: {text}. To go faster: {REMEDIES[worst]}"])

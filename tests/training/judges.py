"""Judges of training runs that know their answers beforehand."""

from collections.abc import Collection, Mapping


class Scripted:
    """Prunes at given steps, and keeps what it heard: metrics by step."""

    def __init__(self, *, prunes_at: Collection[int] = ()) -> None:
        self._prunes_at = prunes_at
        self.heard: dict[int, dict[str, float]] = {}

    def should_prune(self, metrics: Mapping[str, float], *, step: int) -> bool:
        self.heard[step] = dict(metrics)
        return step in self._prunes_at

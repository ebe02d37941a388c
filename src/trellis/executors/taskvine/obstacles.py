"""Words for why something does not run somewhere: of workers, amounts, and many places at once. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from trellis.wire.questions import Obstacle
from trellis.wire.vine import Resources

# Workers that are named when many have the same reason.
_MOST_NAMES = 3
_UNITS = ("cores", "MB of memory", "MB of disk", "GPUs")

WHEN_ONE_ENDS = "when a task there has ended"


def amounts(resources: Resources) -> str:
    """What somebody asks for, or has; what is not said is left out."""
    values = (resources.cores, resources.memory, resources.disk, resources.gpus)
    pairs = [(value, unit) for value, unit in zip(values, _UNITS, strict=True) if value]
    words = [
        f"{value:g} {unit if value != 1 else unit.replace('cores', 'core').replace('GPUs', 'GPU')}"
        for value, unit in pairs
    ]
    return ", ".join(words) or "nothing in particular"


def grouped(found: Iterable[tuple[str, str, str]], what: str = "") -> list[Obstacle]:
    """Make one obstacle of all workers (such as ``"w on node7"``) with the same reason.

    ``what`` is there: empty, or ``"library sim at "``.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for worker, reason, until in found:
        groups.setdefault((reason, until), []).append(worker)
    return [Obstacle(what + _place(workers), reason, until) for (reason, until), workers in groups.items()]


def _place(workers: list[str]) -> str:
    if len(workers) == 1:
        return f"worker {workers[0]}"
    more = len(workers) - _MOST_NAMES
    return f"workers {', '.join(workers[:_MOST_NAMES])}" + (f" and {more} more" if more > 0 else "")

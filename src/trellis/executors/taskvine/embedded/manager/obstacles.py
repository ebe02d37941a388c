"""Words for why something does not run somewhere: of workers, amounts, and many places at once. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from trellis.executors.taskvine.embedded.manager.records import VineWorker
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


def worker_words(worker: VineWorker) -> str:
    return f"worker {worker.name} on {worker.registration.hostname}"


def grouped(found: Iterable[tuple[VineWorker, str, str]], what: str = "") -> list[Obstacle]:
    """Make one obstacle of all workers with the same reason. ``what`` is there: empty, or ``"library sim at "``."""
    groups: dict[tuple[str, str], list[VineWorker]] = {}
    for worker, reason, until in found:
        groups.setdefault((reason, until), []).append(worker)
    return [Obstacle(what + _place(workers), reason, until) for (reason, until), workers in groups.items()]


def _place(workers: list[VineWorker]) -> str:
    if len(workers) == 1:
        return worker_words(workers[0])
    names = [f"{worker.name} on {worker.registration.hostname}" for worker in workers[:_MOST_NAMES]]
    more = len(workers) - len(names)
    return f"workers {', '.join(names)}" + (f" and {more} more" if more else "")

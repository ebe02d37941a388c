"""Tells why tasks wait: TaskVine itself is silent about workers that do not come, and tasks that fit none. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

from trellis.wire.vine import Resources

# A task that fits no worker is told of after so long: larger ones may be on their way.
UNFIT_S = 30.0
# Without a worker, or without anything that runs.
STILL_S = 60.0
_UNITS = ("cores", "MB of memory", "MB of disk", "gpus")


class WorkerNeed(NamedTuple):
    """What tasks that are alike need of a worker."""

    what: str  # for people: whose need it is
    resources: Resources
    features: tuple[str, ...] = ()
    time_min_s: float = 0.0


class Waiting:
    """What the user was told, and what has to last for a while before that."""

    def __init__(self) -> None:
        self._since: dict[Hashable, float] = {}
        self._told: set[Hashable] = set()

    def look(
        self, now: float, tasks: int, running: int, workers: Sequence[Resources], needs: Mapping[int, WorkerNeed]
    ) -> list[str]:
        """What to tell the user now; each once, until it is so no more.

        Args:
            tasks: that have not ended.
            running: of these, at workers.
            workers: what each has.
            needs: of tasks that have not ended, by shape.
        """
        holds: dict[Hashable, tuple[float, str]] = {}
        if tasks and not workers:
            words = f"{tasks} tasks wait, and there was no worker for {STILL_S:g} s: the logs of the factory, or of "
            holds["no worker"] = (STILL_S, words + "the blocks' jobs, say why")
        unfit = {shape: need for shape, need in needs.items() if workers and not _fits(need.resources, workers)}
        for shape, need in unfit.items():
            holds[shape] = (UNFIT_S, f"no worker has what {need.what} ask for: {_asked(need)}")
        if tasks and workers and not running and not unfit:
            what = ", ".join(sorted({f"{need.what} ({_asked(need)})" for need in needs.values()})[:3])
            holds["still"] = (
                STILL_S,
                f"{tasks} tasks wait, and for {STILL_S:g} s none of {len(workers)} workers runs any: {what}",
            )
        return list(self._due(holds, now))

    def _due(self, holds: Mapping[Hashable, tuple[float, str]], now: float) -> Iterable[str]:
        self._since = {key: self._since.get(key, now) for key in holds}
        self._told &= holds.keys()
        for key, (after_s, words) in holds.items():
            if key not in self._told and now - self._since[key] >= after_s:
                self._told.add(key)
                yield words


def _fits(need: Resources, workers: Iterable[Resources]) -> bool:
    wanted = _values(need)
    return any(
        all((want or 0) <= (has or 0) for want, has in zip(wanted, _values(worker), strict=True)) for worker in workers
    )


def _values(resources: Resources) -> tuple[float | None, ...]:
    return (resources.cores, resources.memory, resources.disk, resources.gpus)


def _asked(need: WorkerNeed) -> str:
    words = [f"{value:g} {unit}" for value, unit in zip(_values(need.resources), _UNITS, strict=True) if value]
    words += [f"feature {feature}" for feature in need.features]
    words += [f"{need.time_min_s:g} s" if need.time_min_s else ""]
    return ", ".join(filter(None, words)) or "a worker for themselves"

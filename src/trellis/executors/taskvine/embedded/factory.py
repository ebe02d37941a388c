"""How many workers a factory starts, and when it ends. No sockets, clocks or processes here."""

from __future__ import annotations

from dataclasses import dataclass

# Between two looks at the manager. A look is one small message on the same host.
LOOK_S = 1.0
# Workers that end so many times in a row within a moment of their start: something is wrong with their command.
MOST_FAILURES = 5
_MOMENT_S = 5.0


@dataclass(slots=True)
class FactoryRules:
    """Times in seconds."""

    min_workers: int
    max_workers: int
    workers_per_cycle: int  # that may be on their way at a time; 0: any number
    factory_timeout_s: float


# -- events ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Looked:
    """The manager's answer: tasks without a result, workers of this factory that are connected, and workers of a
    former one, which go on without it."""

    tasks: int
    connected: int
    inherited: int


@dataclass(slots=True)
class WorkerEnded:
    failed: bool
    lived_s: float
    words: str  # for people


@dataclass(slots=True)
class DeadlinePassed:
    pass


Event = Looked | WorkerEnded | DeadlinePassed

# -- actions ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class StartWorkers:
    number: int


@dataclass(slots=True)
class Look:
    """Ask the manager."""


@dataclass(slots=True)
class Exit:
    reason: str
    failed: bool


Action = StartWorkers | Look | Exit


class FactoryState:
    """The machine of a factory. ``now`` is the time of its start; ``start`` gives its first actions."""

    def __init__(self, rules: FactoryRules, now: float) -> None:
        self._rules = rules
        self._workers = 0  # that run, connected or not
        self._connected = 0
        self._failures = 0  # in a row
        self._heard = now
        self._look_at = now + LOOK_S

    @property
    def workers(self) -> int:
        """Workers that run."""
        return self._workers

    def start(self) -> list[Action]:
        """No workers yet: a former factory may have left some."""
        return [Look()]

    def next_deadline(self) -> float:
        return min(self._look_at, self._heard + self._rules.factory_timeout_s)

    def handle(self, event: Event, now: float) -> list[Action]:
        match event:
            case Looked(tasks, connected, inherited):
                self._heard = now
                self._connected = connected
                if connected:
                    self._failures = 0
                wanted = min(max(tasks, self._rules.min_workers), self._rules.max_workers)
                return self._start_workers(wanted - inherited)
            case WorkerEnded(failed, lived_s, words):
                self._workers -= 1
                self._failures = self._failures + 1 if failed and lived_s < _MOMENT_S else 0
                if self._failures >= MOST_FAILURES:
                    return [Exit(f"{self._failures} workers in a row ended at once; the last one: {words}", True)]
                return [Look()]  # another may be needed
            case DeadlinePassed():
                if now >= self._heard + self._rules.factory_timeout_s:
                    return [Exit(f"the manager said nothing for {now - self._heard:.0f} s", True)]
                self._look_at = now + LOOK_S
                return [Look()]

    def _start_workers(self, wanted: int) -> list[Action]:
        """Those that are too many end by themselves, when they have had nothing to do for long enough."""
        number = wanted - self._workers
        if self._rules.workers_per_cycle:
            number = min(number, self._rules.workers_per_cycle - max(0, self._workers - self._connected))
        if number <= 0:
            return []
        self._workers += number
        return [StartWorkers(number)]

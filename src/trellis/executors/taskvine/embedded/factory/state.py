"""How many workers a factory starts, which it ends, and when it ends itself. No sockets, clocks or processes here."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import assert_never

# Between two looks at the manager. A look is one small message on the same host.
LOOK_S = 1.0
# Workers that end so many times in a row within a moment of their start, and not while they run a task: something is
# wrong with their command.
MOST_FAILURES = 5
MOMENT_S = 5.0
# A worker that is not connected for so long hangs: by itself it would have ended, or come back, sooner. The first time
# it has longer: its command may have to fetch what it runs in.
ABSENT_S = 120.0
FIRST_ABSENT_S = 900.0


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
    """The manager's answer. Workers of this factory by their numbers.

    Args:
        tasks: without a result.
        connected: workers that are.
        inherited: how many there are of a former factory, which go on without it.
        given_up: workers that have fallen silent, now or before.
        ended_busy: how many workers have ended while they ran tasks.
    """

    tasks: int
    connected: frozenset[int]
    inherited: int
    given_up: frozenset[int] = frozenset()
    ended_busy: int = 0


@dataclass(slots=True)
class WorkerEnded:
    number: int
    failed: bool
    words: str  # for people


@dataclass(slots=True)
class DeadlinePassed:
    pass


Event = Looked | WorkerEnded | DeadlinePassed

# -- actions ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class StartWorkers:
    numbers: list[int]


@dataclass(slots=True)
class EndWorker:
    number: int
    reason: str


@dataclass(slots=True)
class Look:
    """Ask the manager."""


@dataclass(slots=True)
class Exit:
    reason: str
    failed: bool


Action = StartWorkers | EndWorker | Look | Exit


@dataclass(slots=True)
class _StartedWorker:
    since: float
    seen: float | None = None  # when it was connected last
    killed: bool = False


class FactoryState:
    """The machine of a factory. ``now`` is the time of its start; ``start`` gives its first actions."""

    def __init__(self, rules: FactoryRules, now: float) -> None:
        self._rules = rules
        self._running: dict[int, _StartedWorker] = {}  # connected or not
        self._numbers = itertools.count()
        self._connected = 0
        self._failures = 0  # in a row
        self._words = ""  # of the last one
        self._ended_busy = 0
        self._heard = now
        self._look_at = now + LOOK_S

    @property
    def workers(self) -> int:
        """Workers that run."""
        return len(self._running)

    def start(self) -> list[Action]:
        """No workers yet: a former factory may have left some."""
        return [Look()]

    def next_deadline(self) -> float:
        return min(self._look_at, self._heard + self._rules.factory_timeout_s)

    def handle(self, event: Event, now: float) -> list[Action]:
        match event:
            case Looked():
                return self._on_looked(event, now)
            case WorkerEnded(number, failed, words):
                worker = self._running.pop(number)
                at_once = failed and not worker.killed and now - worker.since < MOMENT_S
                self._failures = self._failures + 1 if at_once else 0
                self._words = words
                return [Look()]  # another may be needed; and did it run a task?
            case DeadlinePassed():
                if now >= self._heard + self._rules.factory_timeout_s:
                    return [Exit(f"the manager said nothing for {now - self._heard:.0f} s", True)]
                self._look_at = now + LOOK_S
                return [Look()]
            case _:
                assert_never(event)

    def _on_looked(self, event: Looked, now: float) -> list[Action]:
        self._heard = now
        there = [self._running[number] for number in event.connected if number in self._running]
        self._connected = len(there)
        for worker in there:
            worker.seen = now
        if event.ended_busy > self._ended_busy or any(now - worker.since >= MOMENT_S for worker in there):
            self._failures = 0
        self._ended_busy = event.ended_busy
        if self._failures >= MOST_FAILURES:
            return [Exit(f"{self._failures} workers in a row ended at once; the last one: {self._words}", True)]
        actions = self._end_hung(event, now)
        wanted = min(max(event.tasks, self._rules.min_workers), self._rules.max_workers)
        return [*actions, *self._start_workers(wanted - event.inherited, now)]

    def _end_hung(self, event: Looked, now: float) -> list[Action]:
        """Workers that hang are ended; others take their places then."""
        actions: list[Action] = []
        for number, worker in self._running.items():
            limit_s, since = (FIRST_ABSENT_S, worker.since) if worker.seen is None else (ABSENT_S, worker.seen)
            silent = number in event.given_up and number not in event.connected
            if not worker.killed and (silent or now - since >= limit_s):
                worker.killed = True
                reason = "it has fallen silent" if silent else f"it was not connected for {now - since:.0f} s"
                actions.append(EndWorker(number, reason))
        return actions

    def _start_workers(self, wanted: int, now: float) -> list[Action]:
        """Start what is missing; what is too much ends by itself, when it has had nothing to do for long enough."""
        count = wanted - len(self._running)
        if self._rules.workers_per_cycle:
            count = min(count, self._rules.workers_per_cycle - max(0, len(self._running) - self._connected))
        if count <= 0:
            return []
        numbers = list(itertools.islice(self._numbers, count))
        self._running |= {number: _StartedWorker(now) for number in numbers}
        return [StartWorkers(numbers)]

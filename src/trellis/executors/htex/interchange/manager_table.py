"""A manager as the interchange knows it, and who is not taken. No sockets, clocks or threads here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from trellis.executors.common.lookahead import MOST_AHEAD_PER_WORKER, LookAhead
from trellis.executors.htex.interchange.demands import Load
from trellis.executors.htex.interchange.events import RefuseManager
from trellis.version import VERSION
from trellis.wire.messages import PROTOCOL_VERSION, Register

# The way to the worker and the way of the result: a task with a walltime needs so much more of a node's time.
ENDS_MARGIN_S = 10.0
# Workers that die one after the other, and no task that runs to its end between them: the node is to blame.
WORKER_DEATHS = 5
# Managers that are gone are remembered, should they speak again: as many as a large run has in a day.
MOST_BYGONE = 10_000

_ONE_SLOT = Load()


@dataclass(slots=True)
class Manager:
    """A manager that was welcomed and is not lost."""

    registration: Register
    last_heard: float
    idle_since: float | None
    tasks: set[int] = field(default_factory=set)
    started: set[int] = field(default_factory=set)  # those of them that its workers may have
    special: dict[int, Load] = field(default_factory=dict)  # of those of them that are not plain
    extra_slots: int = 0  # that its tasks take beyond one each
    nodes_taken: int = 0
    held: bool = False
    put_aside: bool = False  # held because its workers died one after the other
    draining: bool = False
    closed_at: float | None = None  # its connection; it is about to be lost, unless it comes back
    unstarted: set[int] | None = None  # what its witness has said; None: nothing yet
    look_at: float = 0.0  # when to look whether it was heard
    ends_at: float | None = None  # its node's job
    pace: LookAhead = field(default_factory=LookAhead)
    asked_back: bool = False  # an answer to AskBack is to come
    deaths: int = 0  # of workers, since the last task that ran to its end
    doubtful: set[int] = field(default_factory=set)  # tasks sent before its connection broke
    asked_about: set[int] = field(default_factory=set)  # those of them that were not there; an answer is to come

    @property
    def takes_tasks(self) -> bool:
        return not (self.held or self.draining or self.closed)

    @property
    def closed(self) -> bool:
        """Whether there is no connection to it."""
        return self.closed_at is not None

    @property
    def used(self) -> int:
        """Slots that its tasks take, and those that have to wait for a slot."""
        return len(self.tasks) + self.extra_slots

    @property
    def free(self) -> int:
        """Slots to fill its capacity; fewer than none when tasks were sent ahead, or one waits for several slots."""
        return self.registration.capacity - len(self.tasks) - self.extra_slots if self.takes_tasks else 0

    @property
    def free_nodes(self) -> int:
        """For tasks that spread over nodes; fewer than none when one waits for several."""
        return self.registration.nodes - self.nodes_taken

    @property
    def ahead(self) -> int:
        """Tasks that it may have beyond its capacity; none beside a task of several slots, which would wait for it."""
        return 0 if self.extra_slots else self.pace.ahead(self.registration.workers)

    @property
    def plain_waits(self) -> bool:
        """Whether more tasks are there than workers, and those that wait are plain: they could run anywhere.

        Tasks of several slots are announced when they start; those of one when they may, so of these nobody knows.
        """
        if self.used <= self.registration.workers:
            return False
        return all(id_ in self.started and load != _ONE_SLOT for id_, load in self.special.items())

    def lasts(self, walltime_s: float, now: float) -> bool:
        """Whether a task of this walltime can end before the node's job does."""
        return self.ends_at is None or not walltime_s or now + walltime_s + ENDS_MARGIN_S <= self.ends_at

    def add(self, ids: Iterable[int], load: Load | None) -> None:
        """``load``: of each; None: they are plain."""
        self.tasks.update(ids)
        self.idle_since = None
        if load is not None:
            for id_ in ids:
                self.special[id_] = load
                self.extra_slots += load.slots - 1
                self.nodes_taken += load.nodes

    def remove(self, ids: Iterable[int]) -> set[int]:
        """Those of these that were there."""
        gone = self.tasks.intersection(ids)
        self.tasks -= gone
        self.started -= gone
        if self.special:
            for id_ in gone:
                load = self.special.pop(id_, _ONE_SLOT)
                self.extra_slots -= load.slots - 1
                self.nodes_taken -= load.nodes
        return gone

    def check_invariants(self, name: str) -> None:
        most = self.registration.capacity + MOST_AHEAD_PER_WORKER * self.registration.workers
        assert len(self.tasks) <= most, f"{name} has more tasks than it may ever have"
        assert (self.idle_since is None) == bool(self.tasks), f"{name}: idle_since is wrong"
        assert self.started <= self.tasks, f"{name}: tasks that are not there have started"
        assert self.special.keys() <= self.tasks, f"{name}: loads are kept of tasks that are not there"
        assert self.extra_slots == sum(load.slots - 1 for load in self.special.values()), f"{name}: slots are wrong"
        assert self.nodes_taken == sum(load.nodes for load in self.special.values()), f"{name}: nodes are wrong"


def is_broken(manager: Manager, managers: Iterable[Manager]) -> bool:
    """Whether the workers of this one die while others fare better; where all do alike, the tasks are to blame."""
    if manager.held or manager.deaths < WORKER_DEATHS:
        return False
    return any(other.takes_tasks and not other.deaths for other in managers if other is not manager)


def refusal(registration: Register) -> RefuseManager | None:
    """Why this manager is turned away; None: it is not."""
    name, hostname, theirs = registration.manager, registration.hostname, registration.trellis_version
    if registration.protocol != PROTOCOL_VERSION:
        return RefuseManager(
            name,
            hostname,
            "it speaks another protocol; use the same Trellis version on both sides",
            (f"Trellis {VERSION}, protocol {PROTOCOL_VERSION}", f"Trellis {theirs}, protocol {registration.protocol}"),
        )
    if registration.workers < 1 or registration.capacity < registration.workers:
        reason = f"it has {registration.workers} workers and capacity {registration.capacity}"
        return RefuseManager(name, hostname, reason)
    return None


class Bygones:
    """Managers that were given up or have left, and why: should one speak again, it is told so."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}  # oldest first

    def note(self, name: str, reason: str) -> None:
        self._reasons.pop(name, None)
        self._reasons[name] = reason
        if len(self._reasons) > MOST_BYGONE:
            del self._reasons[next(iter(self._reasons))]

    def forget(self, name: str) -> None:
        """A new manager has this name."""
        self._reasons.pop(name, None)

    def reason(self, name: str) -> str | None:
        return self._reasons.get(name)

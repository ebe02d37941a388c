"""The managers of an interchange: the only place where what is known of them changes. No sockets, clocks or threads.

``ManagerTable`` owns its entries, and all that can be looked up by them: who takes tasks, who has idle workers, who has
a task, who has been silent for too long. Each of its methods leaves all of that right; others only read.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from random import Random

from trellis.executors.common.lookahead import MOST_AHEAD_PER_WORKER, LookAhead
from trellis.executors.htex.interchange.demands import ONE_SLOT, DemandOnNode
from trellis.executors.htex.interchange.selection import OrderedReadySet, ReadySet, block_order
from trellis.wire.messages import Register

# A connection that closes is the end of its manager, unless it is back on another within this time. Messages that came
# before may still be unread: so long they count before the loss is reported.
CLOSED_GRACE_S = 0.5
# So long the report of its witness is waited for, if it has one: that may have to wait for a processor.
WITNESS_GRACE_S = 2.0
# The way to the worker and the way of the result: a task with a walltime needs so much more of a node's time.
ENDS_MARGIN_S = 10.0
# Workers that die one after the other, and no task that runs to its end between them: the node is to blame.
WORKER_DEATHS = 5
# Managers that are gone are remembered, should they speak again: as many as a large run has in a day.
MOST_DEPARTED = 10_000


@dataclass(slots=True, eq=False)
class ManagerEntry:
    """A manager that was welcomed and is not lost. Written by ``ManagerTable`` alone."""

    name: str
    _registration: Register
    _last_heard: float
    _idle_since: float | None
    _held: bool
    _tasks: set[int] = field(default_factory=set)
    _started: set[int] = field(default_factory=set)
    _special: dict[int, DemandOnNode] = field(default_factory=dict)  # of its tasks that are not plain
    _extra_slots: int = 0  # that its tasks take beyond one each
    _nodes_taken: int = 0
    _put_aside: bool = False  # held because its workers died one after the other
    _draining: bool = False
    _closed_at: float | None = None  # its connection; it is about to be lost, unless it comes back
    _unstarted: set[int] | None = None  # what its witness has said; None: nothing yet
    _look_at: float = 0.0  # when to look whether it was heard
    _ends_at: float | None = None  # its node's job
    _look_ahead: LookAhead = field(default_factory=LookAhead)
    _asked_back: bool = False  # an answer to AskBack is to come
    _deaths: int = 0  # of workers, since the last task that ran to its end
    _doubtful: set[int] = field(default_factory=set)  # tasks sent before its connection broke
    _asked_about: set[int] = field(default_factory=set)  # those of them that were not there; an answer is to come
    _memberships: tuple[bool, bool, bool, bool] = (False, False, False, False)

    @property
    def registration(self) -> Register:
        return self._registration

    @property
    def last_heard(self) -> float:
        return self._last_heard

    @property
    def idle_since(self) -> float | None:
        return self._idle_since

    @property
    def ends_at(self) -> float | None:
        """When its node's job ends, if that is known."""
        return self._ends_at

    @property
    def tasks(self) -> Set[int]:
        return self._tasks

    @property
    def started(self) -> Set[int]:
        """Tasks that its workers may have."""
        return self._started

    @property
    def asked_about(self) -> Set[int]:
        """Tasks that it may never have got; its answer is to come."""
        return self._asked_about

    @property
    def asked_back(self) -> bool:
        return self._asked_back

    @property
    def draining(self) -> bool:
        return self._draining

    @property
    def held(self) -> bool:
        return self._held

    @property
    def deaths(self) -> int:
        """Workers that died since the last task that ran to its end."""
        return self._deaths

    @property
    def put_aside(self) -> bool:
        """Whether it is held because its workers died one after the other."""
        return self._put_aside

    @property
    def connected(self) -> bool:
        return self._closed_at is None

    @property
    def takes_tasks(self) -> bool:
        return not self._held and not self._draining and self._closed_at is None

    @property
    def used(self) -> int:
        """Slots that its tasks take, and those that have to wait for a slot."""
        return len(self._tasks) + self._extra_slots

    @property
    def free(self) -> int:
        """Slots to fill its capacity; fewer than none when tasks were sent ahead, or one waits for several slots."""
        return self._registration.capacity - len(self._tasks) - self._extra_slots if self.takes_tasks else 0

    @property
    def free_nodes(self) -> int:
        """Nodes for tasks that spread over several; fewer than none when one waits for several."""
        return self._registration.nodes - self._nodes_taken

    @property
    def ahead(self) -> int:
        """Tasks that it may have beyond its capacity; none beside a task of several slots, which would wait for it."""
        return 0 if self._extra_slots else self._look_ahead.ahead(self._registration.workers)

    def has_all(self, ids: Iterable[int]) -> bool:
        return self._tasks.issuperset(ids)

    def lasts(self, walltime_s: float, now: float) -> bool:
        """Whether a task of this walltime can end before the node's job does."""
        return self._ends_at is None or not walltime_s or now + walltime_s + ENDS_MARGIN_S <= self._ends_at

    def memberships(self) -> tuple[bool, bool, bool, bool]:
        """Whether it belongs to the ready, the eager, the hungry and the loaded."""
        workers = self._registration.workers
        used = len(self._tasks) + self._extra_slots
        loaded = used > workers and not self._asked_back and (not self._special or self._plain_wait())
        if self._held or self._draining or self._closed_at is not None:
            return False, False, False, loaded
        free = self._registration.capacity - used
        # Not for every single task: half of what may be ahead goes out in one message.
        eager = free <= 0 and (ahead := self.ahead) > 0 and -free <= ahead // 2
        return free > 0, eager, used < workers, loaded

    def _plain_wait(self) -> bool:
        """Whether those of its tasks that wait for a worker are plain: they could run anywhere.

        Tasks of several slots are announced when they start; those of one when they may, so of these nobody knows.
        """
        return all(id_ in self._started and demand != ONE_SLOT for id_, demand in self._special.items())

    def check_invariants(self) -> None:
        name, demands = self.name, self._special.values()
        most = self._registration.capacity + MOST_AHEAD_PER_WORKER * self._registration.workers
        assert len(self._tasks) <= most, f"{name} has more tasks than it may ever have"
        assert (self._idle_since is None) == bool(self._tasks), f"{name}: idle_since is wrong"
        assert self._started <= self._tasks, f"{name}: tasks that are not there have started"
        assert self._asked_about <= self._tasks, f"{name}: it is asked about tasks that are not there"
        assert self._special.keys() <= self._tasks, f"{name}: demands are kept of tasks that are not there"
        assert self._extra_slots == sum(demand.slots - 1 for demand in demands), f"{name}: slots are wrong"
        assert self._nodes_taken == sum(demand.nodes for demand in demands), f"{name}: nodes are wrong"


class ManagerTable:
    """All managers that were welcomed and are not lost, and the names of some that are gone.

    Args:
        heartbeat_threshold_s: a manager that sends nothing for so long is lost.
        by_block: managers of the newest block are picked first, else any.
    """

    def __init__(self, heartbeat_threshold_s: float, by_block: bool) -> None:
        def ready_set() -> ReadySet | OrderedReadySet:
            return OrderedReadySet(self.block_order) if by_block else ReadySet()

        self.threshold_s = heartbeat_threshold_s
        self._entries: dict[str, ManagerEntry] = {}
        self._manager_of: dict[int, str] = {}
        self._departed: dict[str, str] = {}  # managers that are gone, and why, the oldest first
        self._blocks: dict[str, None] = {}  # of all managers ever, in order of appearance
        self._held_managers: set[str] = set()
        self._held_blocks: set[str] = set()
        self._drained_blocks: set[str] = set()
        self._silence: list[tuple[float, str]] = []  # heap: look then whether this manager was heard
        self._ready, self._eager, self._hungry, self._loaded = ready_set(), ready_set(), ready_set(), ReadySet()
        self._sets = self._ready, self._eager, self._hungry, self._loaded
        self._reserved: dict[str, int] = {}
        # What others read.
        self.arrivals = 0  # how often a manager came or went
        self.room_changes = 0  # how often something changed about what managers can take
        self.entries: Mapping[str, ManagerEntry] = self._entries
        self.manager_of: Mapping[int, str] = self._manager_of  # of each task that is at one
        self.departed: Mapping[str, str] = self._departed  # should one speak again, it is told why
        self.blocks: Collection[str] = self._blocks.keys()
        self.drained_blocks: Set[str] = self._drained_blocks
        self.ready: Collection[str] = self._ready  # managers below their capacity
        self.eager: Collection[str] = self._eager  # others that may be sent tasks ahead
        self.hungry: Collection[str] = self._hungry  # managers with idle workers
        self.loaded: Collection[str] = self._loaded  # managers with tasks that wait, which may be asked for them
        self.reserved: Mapping[str, int] = self._reserved  # managers, and the task that waits for enough slots there

    def block_order(self, name: str) -> tuple[int, int, str]:
        """Sort key of managers, those of the newest block first."""
        return block_order(self._entries[name].registration.block)

    def pick(self, rng: Random) -> ManagerEntry | None:
        """The manager that the next plain tasks go to.

        Idle workers everywhere first, then free capacity: what is sent there has to wait, and could be asked back only
        to be sent there again.
        """
        names = self._hungry or self._ready or self._eager
        return self._entries[names.pick(rng)] if names else None

    # -- managers come and go ----------------------------------------------------------------------------------

    def add(self, registration: Register, now: float) -> ManagerEntry:
        """Welcome a manager that is new, or new to this interchange."""
        name = registration.manager
        self._departed.pop(name, None)
        manager = self._entries[name] = ManagerEntry(name, registration, now, now, self._is_held(registration))
        self._blocks[registration.block] = None
        self.arrivals += 1
        self._connected(manager, now)
        return manager

    def reconnect(self, manager: ManagerEntry, registration: Register, now: float) -> None:
        """Note that a manager is back on another connection."""
        manager._registration, manager._last_heard = registration, now
        manager._closed_at, manager._unstarted, manager._asked_back = None, None, False
        self._connected(manager, now)

    def _connected(self, manager: ManagerEntry, now: float) -> None:
        ends_in_s = manager.registration.ends_in_s
        if ends_in_s is not None:
            manager._ends_at = now + ends_in_s
        self._look_at(manager, now + self.threshold_s)
        self._index(manager)

    def hear(self, name: str, now: float) -> ManagerEntry | None:
        """Note a sign of life; None when the manager is not known."""
        manager = self._entries.get(name)
        if manager is not None:
            manager._last_heard = now
        return manager

    def disconnect(self, manager: ManagerEntry, now: float) -> None:
        """Note that the connection has ended: what was sent last may never have arrived."""
        manager._doubtful = set(manager._tasks)
        manager._asked_about.clear()
        if manager._closed_at is None:
            manager._closed_at = now
            self._index(manager)
            self._look_at(manager, now + CLOSED_GRACE_S)

    def hear_witness(self, manager: ManagerEntry, running: Sequence[int], unstarted: Sequence[int], now: float) -> None:
        """Note what the witness of a dead manager says. What the manager sent before may be unread: it counts, too."""
        manager._started |= manager._tasks.intersection(running)
        manager._unstarted = set(unstarted)
        if manager._closed_at is None:  # that is about to be noticed
            manager._closed_at = now
        self._index(manager)
        self._look_at(manager, max(now, manager._closed_at + CLOSED_GRACE_S))

    def remove(self, manager: ManagerEntry, reason: str) -> None:
        """Give a manager up. The entry keeps its tasks, and which of them may have started, to be read."""
        name = manager.name
        del self._entries[name]
        for names in self._sets:
            names.discard(name)
        self._reserved.pop(name, None)
        for id_ in manager._tasks:
            del self._manager_of[id_]
        manager._started.difference_update(manager._unstarted or ())
        self._departed[name] = reason
        if len(self._departed) > MOST_DEPARTED:
            del self._departed[next(iter(self._departed))]
        self.arrivals += 1
        self._readmit()

    # -- silence -----------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        """When ``remove_silent`` may find a manager."""
        return self._silence[0][0] if self._silence else None

    def remove_silent(self, now: float) -> list[tuple[ManagerEntry, str]]:
        """Give up managers that have not been heard for too long; say which, and why."""
        removed = []
        while self._silence and self._silence[0][0] <= now:
            due, name = heapq.heappop(self._silence)
            manager = self._entries.get(name)
            if manager is None or manager._look_at != due:
                continue  # it is gone, or looked after by a later entry
            later, reason = self._patience(manager, now)
            if later > now:
                self._look_at(manager, later)
            else:
                self.remove(manager, reason)
                removed.append((manager, reason))
        return removed

    def _patience(self, manager: ManagerEntry, now: float) -> tuple[float, str]:
        """When the manager is to be given up as things are, and why."""
        if manager._closed_at is None:
            return manager._last_heard + self.threshold_s, f"it sent nothing for {now - manager._last_heard:.0f} s"
        awaits_witness = manager.registration.witnessed and manager._unstarted is None
        patience_s = WITNESS_GRACE_S if awaits_witness else 0.0
        return manager._closed_at + patience_s, "its connection closed: it ended or was killed"

    def _look_at(self, manager: ManagerEntry, when: float) -> None:
        manager._look_at = when
        heapq.heappush(self._silence, (when, manager.name))

    # -- who takes no tasks ------------------------------------------------------------------------------------

    def hold(self, managers: Iterable[str], blocks: Iterable[str]) -> None:
        """Send no more to these managers, nor to others of these blocks that may come."""
        self._held_managers.update(managers)
        self._held_blocks.update(blocks)
        for manager in self._entries.values():
            if self._is_held(manager.registration):
                manager._held = True
                self._index(manager)
        self._readmit()

    def _is_held(self, registration: Register) -> bool:
        return registration.manager in self._held_managers or registration.block in self._held_blocks

    def drain(self, manager: ManagerEntry) -> None:
        """Send no more to this manager, which ends when what it has is done."""
        manager._draining = True
        self._index(manager)
        self._readmit()

    def drain_blocks(self, blocks: Sequence[str]) -> list[ManagerEntry]:
        """Drain all managers of these blocks, also those that may come; say which are there."""
        self._drained_blocks.update(blocks)
        found = [manager for manager in self._entries.values() if manager.registration.block in blocks]
        for manager in found:
            self.drain(manager)
        return found

    def note_deaths(self, manager: ManagerEntry, count: int) -> bool:
        """Note that so many workers died; True: because of that the manager is put aside.

        That is when the workers of others fare better; where all do alike, the tasks are to blame.
        """
        manager._deaths += count
        if manager.held or manager.deaths < WORKER_DEATHS:
            return False
        if not any(other.takes_tasks and not other.deaths for other in self._entries.values() if other is not manager):
            return False
        manager._held = manager._put_aside = True
        self._index(manager)
        return True

    def _readmit(self) -> None:
        """When nobody else is left, a node that was put aside is better than none."""
        if any(not (manager.held or manager.draining) for manager in self._entries.values()):
            return
        for manager in self._entries.values():
            if manager._put_aside:
                manager._put_aside, manager._deaths = False, 0
                manager._held = self._is_held(manager.registration)
                self._index(manager)

    # -- tasks -------------------------------------------------------------------------------------------------

    def assign(
        self, manager: ManagerEntry, ids: Sequence[int], each: DemandOnNode | None, reserve: bool = False
    ) -> None:
        """Note that the manager has these tasks now.

        Args:
            each: what each of them takes; None: they are plain.
            reserve: the first of them waits there for enough slots, or nodes.
        """
        name = manager.name
        manager._tasks.update(ids)
        manager._idle_since = None
        self._manager_of.update(dict.fromkeys(ids, name))
        if each is not None:
            for id_ in ids:
                manager._special[id_] = each
                manager._extra_slots += each.slots - 1
                manager._nodes_taken += each.nodes
        if reserve:
            self._reserved[name] = ids[0]
        self._index(manager)

    def remove_tasks(
        self, manager: ManagerEntry, ids: Sequence[int], now: float, ran_s: float | None = None
    ) -> set[int]:
        """Note that the manager has these no longer; give those that it had. ``ran_s``: they ran so long together."""
        if ran_s is not None and ids:
            manager._deaths = 0
            manager._look_ahead.note(len(ids), ran_s)
        gone = manager._tasks.intersection(ids)
        manager._tasks -= gone
        manager._started -= gone
        where = self._manager_of
        for id_ in gone:
            del where[id_]
        if manager._asked_about:
            manager._asked_about -= gone
        if manager._special:
            for id_ in gone:
                demand = manager._special.pop(id_, ONE_SLOT)
                manager._extra_slots -= demand.slots - 1
                manager._nodes_taken -= demand.nodes
        if not manager._tasks and manager._idle_since is None:
            manager._idle_since = now
        self._index(manager)
        return gone

    def mark_started(self, manager: ManagerEntry, ids: Iterable[int]) -> None:
        """Note that workers may have these."""
        manager._started |= manager._tasks.intersection(ids)
        if manager._special:
            self._index(manager, has_other_room=False)

    def mark_unstarted(self, manager: ManagerEntry, ids: Iterable[int]) -> None:
        """Note that the manager has taken these back from its workers."""
        manager._started.difference_update(ids)
        if manager._special:
            self._index(manager, has_other_room=False)

    def ask_back(self, manager: ManagerEntry) -> None:
        """Note that the manager is asked for tasks that have not started: what it does not give back has begun."""
        manager._asked_back = True
        self._reserved.pop(manager.name, None)
        self._index(manager, has_other_room=False)

    def answer_ask_back(self, manager: ManagerEntry) -> None:
        """Note that the manager has given back what it was asked for."""
        manager._asked_back = False
        self._index(manager, has_other_room=False)

    def ask_about(self, manager: ManagerEntry, holding: Iterable[int]) -> list[int]:
        """Tasks sent on a connection that broke, and not there: may they have come on it since, or never?"""
        unseen = (manager._doubtful & manager._tasks).difference(holding)
        manager._asked_about |= unseen
        manager._doubtful.clear()
        return sorted(unseen)

    # -- indices -----------------------------------------------------------------------------------------------

    def _index(self, manager: ManagerEntry, has_other_room: bool = True) -> None:
        """Put a manager about which something has changed into the sets that it belongs to."""
        if has_other_room:
            self.room_changes += 1
        name, memberships, former = manager.name, manager.memberships(), manager._memberships
        if memberships != former:
            manager._memberships = memberships
            ready, eager, hungry, loaded = memberships
            was_ready, was_eager, was_hungry, was_loaded = former
            if ready != was_ready:
                self._ready.put(name, ready)
            if eager != was_eager:
                self._eager.put(name, eager)
            if hungry != was_hungry:
                self._hungry.put(name, hungry)
            if loaded != was_loaded:
                self._loaded.put(name, loaded)
        if self._reserved:
            id_ = self._reserved.get(name)
            if id_ is not None and (id_ not in manager._tasks or id_ in manager._started):
                del self._reserved[name]

    def check_invariants(self) -> None:
        tasks = {id_: name for name, manager in self._entries.items() for id_ in manager.tasks}
        assert sum(len(manager.tasks) for manager in self._entries.values()) == len(tasks), "a task is at two managers"
        assert tasks == self._manager_of, "the managers' tasks and the managers of tasks differ"
        for name, manager in self._entries.items():
            manager.check_invariants()
            assert name == manager.name, f"{name}: its entry is another's"
            assert (manager._look_at, name) in self._silence, f"{name}: nobody watches for its silence"
            memberships = tuple(name in names for names in self._sets)
            assert memberships == manager._memberships == manager.memberships(), f"{name}: it is in the wrong sets"
        for names in (*self._sets, self._reserved):
            assert set(names) <= self._entries.keys(), "an index has managers that are gone"
        for name, id_ in self._reserved.items():
            manager = self._entries[name]
            assert id_ in manager.tasks - manager.started, f"{name}: what is reserved has begun or ended"

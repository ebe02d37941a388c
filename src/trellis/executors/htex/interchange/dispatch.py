"""Which waiting task goes to which manager. No sockets, clocks or threads here.

As long as all that waits is plain, a round costs the same for any number of managers and tasks: sets are kept of those
that can take some. When tasks of other kinds wait, the oldest of the best priority comes first; a kind that fits
nowhere now is passed over. A task of several slots may take a manager of which only some are free: nothing more is sent
there until all are, so that small tasks cannot keep it out for ever.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from random import Random

from trellis.executors.htex.interchange.candidates import Places, Tier, room_for
from trellis.executors.htex.interchange.demands import PLAIN, Load
from trellis.executors.htex.interchange.events import AskBack, SendTasks, WarnOfSelector
from trellis.executors.htex.interchange.infeasible import UnfitWatch
from trellis.executors.htex.interchange.manager_table import Manager
from trellis.executors.htex.interchange.selection import (
    ManagerRecord,
    ManagerSelector,
    OrderedReadySet,
    ReadySet,
    Selection,
    block_order,
)
from trellis.executors.htex.interchange.task_table import Custody


class Dispatcher:
    """Sends tasks that wait to managers, and asks them back. What it is given is the interchange's own."""

    def __init__(
        self,
        managers: Mapping[str, Manager],
        custody: Custody,
        unfit: UnfitWatch,
        selection: Selection,
        rng: Random,
    ) -> None:
        self._managers = managers
        self._where = custody.where
        self._backlog = custody.backlog
        self._unfit = unfit
        self._selection = selection
        self._rng = rng
        self._selector = selection if isinstance(selection, ManagerSelector) else None
        self._warned = False

        def ready_set() -> ReadySet | OrderedReadySet:
            return OrderedReadySet(self._block_order) if selection == "block_id" else ReadySet()

        self.ready = ready_set()  # managers below their capacity
        self.eager = ready_set()  # others that may be sent tasks ahead
        self.hungry = ready_set()  # managers with idle workers
        self.loaded = ReadySet()  # managers with tasks that wait, which may be asked for them
        self._reserved: dict[str, int] = {}  # managers, and the task that waits for enough slots there

    def update(self, name: str) -> None:
        """Something about this manager may have changed."""
        manager = self._managers[name]
        workers, used = manager.registration.workers, manager.used
        takes = manager.takes_tasks
        free = manager.registration.capacity - used
        self.ready.put(name, takes and free > 0)
        # Not for every single task: half of what may be ahead goes out in one message.
        self.eager.put(name, takes and free <= 0 and (ahead := manager.ahead) > 0 and -free <= ahead // 2)
        self.hungry.put(name, takes and used < workers)
        self.loaded.put(name, used > workers and not manager.asked_back and manager.plain_waits)

    def discard(self, name: str) -> None:
        for among in (self.ready, self.eager, self.hungry, self.loaded):
            among.discard(name)
        self._reserved.pop(name, None)

    # -- tasks that wait ---------------------------------------------------------------------------------------

    def round(self, now: float) -> list[SendTasks | WarnOfSelector]:
        """Send what can be sent."""
        if not self._backlog.waiting or not (self.ready or self.eager):
            return []
        if self._backlog.others or self._selector is not None:
            return self._round_of_kinds(now)
        actions: list[SendTasks | WarnOfSelector] = []
        while self._backlog.waiting and (self.ready or self.eager):
            # Idle workers everywhere first, then free capacity: what is sent there has to wait, and could be asked back
            # only to be sent there again.
            name = (self.hungry or self.ready or self.eager).pick(self._rng)
            manager = self._managers[name]
            if len(self.hungry) > 1:
                most = manager.registration.workers - manager.used
            else:
                most = manager.free if manager.free > 0 else manager.ahead + manager.free
            actions.append(self._send(name, self._backlog.take_plain(most), None))
        return actions

    def _send(self, name: str, ids: list[int], load: Load | None) -> SendTasks:
        self._managers[name].add(ids, load)
        self._where.update(dict.fromkeys(ids, name))
        self.update(name)
        return SendTasks(name, ids)

    def _block_order(self, name: str) -> tuple[int, int, str]:
        return block_order(self._managers[name].registration.block)

    def _round_of_kinds(self, now: float) -> list[SendTasks | WarnOfSelector]:
        actions: list[SendTasks | WarnOfSelector] = []
        places = Places(self._managers, self._ranks(now, actions), self._selection == "random", now)
        heads = [(head, kind) for kind in [PLAIN, *self._backlog.others] if (head := self._backlog.head(kind))]
        heapq.heapify(heads)  # no two have the same head, so kinds are never compared
        while heads and (self.ready or self.eager):
            _, kind = heapq.heappop(heads)
            choice = places.best(kind)
            if choice is None:
                # Were short tasks sent ahead, a slot would never be free for it.
                places.may_run_ahead &= kind.demand is None or kind in self._unfit
                continue
            name, room = choice
            ids = self._backlog.take(kind, room.most, heads[0][0] if heads else None)
            actions.append(self._send(name, ids, None if kind is PLAIN else room.load))
            if room.tier is Tier.RESERVED:
                self._reserved[name] = ids[0]
            if head := self._backlog.head(kind):
                heapq.heappush(heads, (head, kind))
        return actions

    def _ranks(self, now: float, warnings: list[SendTasks | WarnOfSelector]) -> dict[str, float]:
        """The order of managers that can take something."""
        names = [*self.ready, *self.eager]
        if self._selector is not None:
            try:
                ordered = self._ordered(self._selector, names, now)
                return {name: float(place) for place, name in enumerate(ordered)}
            except Exception as error:  # foreign code
                if not self._warned:
                    self._warned = True
                    reason = f"{type(self._selector).__name__}.sort_managers: {type(error).__name__}: {error}"
                    warnings.append(WarnOfSelector(reason))
        elif self._selection == "block_id":
            names.sort(key=lambda name: (self._block_order(name), name))
            return {name: float(place) for place, name in enumerate(names)}
        return {name: self._rng.random() for name in names}

    def _ordered(self, selector: ManagerSelector, names: list[str], now: float) -> list[str]:
        records = {name.encode(): _record(self._managers[name], now) for name in names}
        answer = [id_.decode() for id_ in selector.sort_managers(records, set(records))]
        if len(set(answer)) < len(answer) or not set(answer) <= set(names):
            raise ValueError(f"it gave {answer}, and was given {names}")
        return [*reversed(answer), *(name for name in names if name not in answer)]

    # -- tasks that wait at the wrong place --------------------------------------------------------------------

    def is_unbalanced(self, now: float) -> bool:
        """Whether workers idle while tasks that they could run wait elsewhere."""
        return bool(self.hungry) and (bool(self.loaded) or bool(self._better_off(now)))

    def rebalance(self, now: float) -> list[AskBack]:
        """Ask tasks back that wait at some managers, as many as other managers have idle workers."""
        if not self.hungry:
            return []
        actions: list[AskBack] = []
        for name in self._better_off(now):
            del self._reserved[name]  # it is asked once: when it does not give the task back, that has begun
            actions.append(self._ask_back(name, len(self._managers[name].tasks)))
        idle = sum(self._managers[n].registration.workers - self._managers[n].used for n in self.hungry)
        for name in sorted(self.loaded, key=lambda name: -self._managers[name].used):
            count = min(idle, self._managers[name].used - self._managers[name].registration.workers)
            actions.append(self._ask_back(name, count))
            idle -= count
            if idle <= 0:
                break
        return actions

    def _ask_back(self, name: str, count: int) -> AskBack:
        self._managers[name].asked_back = True
        self.update(name)
        return AskBack(name, count)

    def _better_off(self, now: float) -> list[str]:
        """Managers where a task waits for slots, or nodes, that another manager has free by now."""
        found = []
        for name, id_ in list(self._reserved.items()):
            manager = self._managers[name]
            if id_ not in manager.tasks or id_ in manager.started:
                del self._reserved[name]
            elif not manager.asked_back:
                kind = self._backlog.kind_of(id_)
                rooms = (room_for(self._managers[other], kind, now, may_run_ahead=False) for other in self.hungry)
                if any(room is not None and room.tier is Tier.IDLE for room in rooms):
                    found.append(name)
        return found

    def check_invariants(self, now: float) -> None:
        for name, manager in self._managers.items():
            assert (name in self.ready) == (manager.free > 0), f"{name}: ready is wrong"
        if not self._backlog.others:
            waits = bool(self._backlog.waiting)
            assert not (waits and self.ready), "work waits beside a free slot"
            assert not (waits and self.eager), "work waits beside a manager that may be sent more ahead"
        for kind in {self._backlog.kind_of(id_) for id_ in self._backlog.waiting}:
            rooms = [room_for(manager, kind, now, may_run_ahead=False) for manager in self._managers.values()]
            assert not any(rooms), f"{kind} waits beside a free place"


def _record(manager: Manager, now: float) -> ManagerRecord:
    hello = manager.registration
    return ManagerRecord(
        block_id=hello.block,
        start_time=hello.start_time,
        tasks=sorted(manager.tasks),
        worker_count=hello.workers,
        max_capacity=hello.capacity,
        active=manager.takes_tasks,
        draining=manager.draining,
        hostname=hello.hostname,
        last_heartbeat=manager.last_heard,
        idle_since=manager.idle_since,
        timestamp=now,
        parsl_version=hello.trellis_version,
        python_version=hello.python_version,
        packages={},
    )

"""Decides to which manager each waiting task goes. No sockets, clocks or threads here.

As long as all that waits is plain, a round costs the same for any number of managers and tasks: sets are kept of those
that can take some. When tasks of other kinds wait, the oldest of the best priority comes first; a kind that fits
nowhere now is passed over. A task of several slots may take a manager of which only some are free: nothing more is sent
there until all are, so that small tasks cannot keep it out for ever.
"""

from __future__ import annotations

import heapq
from datetime import datetime
from random import Random

from trellis.executors.htex.interchange.candidates import Candidates, Tier, room_for
from trellis.executors.htex.interchange.demands import PLAIN, DemandOnNode
from trellis.executors.htex.interchange.events import AskBack, SendTasks, WarnOfSelector
from trellis.executors.htex.interchange.infeasible import InfeasibleKinds
from trellis.executors.htex.interchange.manager_table import ManagerEntry, ManagerTable
from trellis.executors.htex.interchange.selection import ManagerRecord, ManagerSelector, Selection
from trellis.executors.htex.interchange.task_queue import QueuedTasks


class TaskDispatcher:
    """Sends tasks that wait to managers, and asks them back."""

    def __init__(
        self,
        managers: ManagerTable,
        queue: QueuedTasks,
        infeasible: InfeasibleKinds,
        selection: Selection,
        rng: Random,
        epoch_s: float = 0.0,
    ) -> None:
        self._table = managers
        self._epoch_s = epoch_s
        self._managers = managers.entries
        self._queue = queue
        self._infeasible = infeasible
        self._selection = selection
        self._rng = rng
        self._selector = selection if isinstance(selection, ManagerSelector) else None
        self._warned = False
        self._settled: tuple[int, int] | None = None  # after so many changes nothing was left that could be sent

    # -- tasks that wait ---------------------------------------------------------------------------------------

    def round(self, now: float) -> list[SendTasks | WarnOfSelector]:
        """Send what can be sent."""
        table, queue = self._table, self._queue
        if not queue.waiting or self._settled == (table.room_changes, queue.arrivals):
            return []
        plain = not queue.kinds and self._selector is None
        actions = self._round_of_plain_tasks() if plain else self._round_of_kinds(now)
        self._settled = table.room_changes, queue.arrivals
        return actions

    def _round_of_plain_tasks(self) -> list[SendTasks | WarnOfSelector]:
        hungry, waiting = self._table.hungry, self._queue.waiting
        actions: list[SendTasks | WarnOfSelector] = []
        while waiting and (manager := self._table.pick(self._rng)) is not None:
            if len(hungry) > 1:
                most = manager.registration.workers - manager.used
            else:
                free = manager.free
                most = free if free > 0 else manager.ahead + free
            actions.append(self._send(manager, self._queue.take_plain(most), None))
        return actions

    def _send(
        self, manager: ManagerEntry, ids: list[int], each: DemandOnNode | None, reserve: bool = False
    ) -> SendTasks:
        self._table.assign(manager, ids, each, reserve)
        return SendTasks(manager.name, ids)

    def _round_of_kinds(self, now: float) -> list[SendTasks | WarnOfSelector]:
        if not (self._table.ready or self._table.eager):
            return []
        actions: list[SendTasks | WarnOfSelector] = []
        candidates = Candidates(self._managers, self._ranks(actions), self._selection == "random", now)
        heads = self._queue.heads()
        heapq.heapify(heads)  # no two have the same head, so kinds are never compared
        while heads and (self._table.ready or self._table.eager):
            _, kind = heapq.heappop(heads)
            best = candidates.best(kind)
            if best is None:
                # Were short tasks sent ahead, a slot would never be free for it.
                candidates.may_run_ahead &= kind.demand is None or kind in self._infeasible
                continue
            manager, room = best
            ids = self._queue.take(kind, room.most, heads[0][0] if heads else None)
            each = None if kind is PLAIN else room.each
            actions.append(self._send(manager, ids, each, reserve=room.tier is Tier.RESERVED))
            if head := self._queue.head(kind):
                heapq.heappush(heads, (head, kind))
        return actions

    def _ranks(self, warnings: list[SendTasks | WarnOfSelector]) -> dict[str, float]:
        """The order of managers that can take something."""
        names = [*self._table.ready, *self._table.eager]
        if self._selector is not None:
            try:
                ordered = self._ordered(self._selector, names)
                return {name: float(rank) for rank, name in enumerate(ordered)}
            except Exception as error:  # foreign code
                if not self._warned:
                    self._warned = True
                    reason = f"{type(self._selector).__name__}.sort_managers: {type(error).__name__}: {error}"
                    warnings.append(WarnOfSelector(reason))
        elif self._selection == "block_id":
            names.sort(key=lambda name: (self._table.block_order(name), name))
            return {name: float(rank) for rank, name in enumerate(names)}
        return {name: self._rng.random() for name in names}

    def _ordered(self, selector: ManagerSelector, names: list[str]) -> list[str]:
        records = {name.encode(): _record(entry, self._epoch_s) for name, entry in self._managers.items()}
        answer = [id_.decode() for id_ in selector.sort_managers(records, {name.encode() for name in names})]
        if not set(answer) <= set(self._managers):
            raise ValueError(f"it gave {answer}, and was given {names}")
        # What is there twice counts where it is served first; who can take nothing is passed over.
        able = set(names)
        order = [name for name in dict.fromkeys(reversed(answer)) if name in able]
        return [*order, *(name for name in names if name not in order)]

    # -- tasks that wait at the wrong manager ------------------------------------------------------------------

    def is_unbalanced(self, now: float) -> bool:
        """Whether workers idle while tasks that they could run wait elsewhere."""
        table = self._table
        return bool(table.hungry) and bool(table.loaded or (table.reserved and self._better_off(now)))

    def rebalance(self, now: float) -> list[AskBack]:
        """Ask tasks back that wait at some managers, as many as other managers have idle workers."""
        hungry = [self._managers[name] for name in self._table.hungry]
        if not hungry:
            return []
        actions = [self.ask_back(manager, len(manager.tasks)) for manager in self._better_off(now)]
        idle = sum(manager.registration.workers - manager.used for manager in hungry)
        loaded = [self._managers[name] for name in self._table.loaded]
        for manager in sorted(loaded, key=lambda manager: -manager.used):
            count = min(idle, manager.used - manager.registration.workers)
            actions.append(self.ask_back(manager, count))
            idle -= count
            if idle <= 0:
                break
        return actions

    def ask_back(self, manager: ManagerEntry, count: int) -> AskBack:
        """Ask a manager for so many tasks that no worker of it has taken."""
        self._table.ask_back(manager)
        return AskBack(manager.name, count)

    def _better_off(self, now: float) -> list[ManagerEntry]:
        """Managers where a task waits for slots, or nodes, that another manager has free by now."""
        found = []
        for name, id_ in self._table.reserved.items():
            kind = self._queue.kind_of(id_)
            rooms = (room_for(self._managers[other], kind, now, may_run_ahead=False) for other in self._table.hungry)
            manager = self._managers[name]
            if not manager.asked_back and any(room is not None and room.tier is Tier.IDLE for room in rooms):
                found.append(manager)
        return found

    def check_invariants(self, now: float) -> None:
        if not self._queue.kinds:
            waits = bool(self._queue.waiting)
            assert not (waits and self._table.ready), "work waits beside a free slot"
            assert not (waits and self._table.eager), "work waits beside a manager that may be sent more ahead"
        for kind in {self._queue.kind_of(id_) for id_ in self._queue.waiting}:
            rooms = [room_for(manager, kind, now, may_run_ahead=False) for manager in self._managers.values()]
            assert not any(rooms), f"{kind} waits beside a manager that has room"


def _record(manager: ManagerEntry, epoch_s: float) -> ManagerRecord:
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
        last_heartbeat=epoch_s + manager.last_heard,
        idle_since=None if manager.idle_since is None else epoch_s + manager.idle_since,
        timestamp=datetime.fromtimestamp(hello.start_time),
        parsl_version=hello.trellis_version,
        python_version=hello.python_version,
        packages={},
    )

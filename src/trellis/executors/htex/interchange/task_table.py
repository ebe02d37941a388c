"""Where each task is until it has ended: it waits, is at a manager, or in limbo. No sockets, clocks or threads here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from trellis.executors.htex.interchange.demands import PLAIN, Kind, Load, load_of
from trellis.executors.htex.interchange.events import (
    Action,
    ReportCancelled,
    SendCancel,
    SendCheck,
    TasksSubmitted,
)
from trellis.executors.htex.interchange.manager_table import Manager
from trellis.executors.htex.interchange.task_queue import Backlog
from trellis.executors.htex.interchange.unclaimed import Limbo
from trellis.wire.messages import Register


class Custody:
    """All tasks, each in one place."""

    def __init__(self) -> None:
        self.backlog = Backlog()
        self.limbo = Limbo()
        self.where: dict[int, str] = {}  # the manager of each task that is at one
        self.unwanted: set[int] = set()  # of those, the tasks that managers were told to cancel
        # Who had tasks that wait again or are elsewhere now; empty: nobody claimed them after a restart, and all may.
        self.former: dict[int, str] = {}

    def may_report(self, manager: str, ids: Sequence[int]) -> list[int]:
        """Those of these tasks whose cancelling this manager may report: nobody else has them."""
        return [i for i in ids if i not in self.backlog.waiting and self.where.get(i, manager) == manager]

    def had_by(self, manager: str, ids: Sequence[int]) -> list[int]:
        """Positions of those of these tasks whose ends this manager can know: it has them, or had, or may have had."""
        where, former, limbo = self.where, self.former, self.limbo.tasks
        return [
            n
            for n, id_ in enumerate(ids)
            if where.get(id_) == manager
            or id_ in limbo
            or former.get(id_) == manager
            or (former.get(id_) == "" and id_ not in where)
        ]

    # -- as the submit side wishes -----------------------------------------------------------------------------

    def submit(self, event: TasksSubmitted) -> None:
        self.backlog.describe(event.ids, event.priorities, event.demands, event.walltimes_s)
        if event.resumed:
            self.limbo.add(event.ids)
        else:
            self.backlog.put(event.ids)

    def cancel(self, ids: Iterable[int]) -> list[Action]:
        dropped: list[int] = []
        forwarded: dict[str, list[int]] = {}
        for id_ in ids:
            if self.backlog.withdraw(id_):
                dropped.append(id_)
            elif id_ in self.where:
                forwarded.setdefault(self.where[id_], []).append(id_)
                self.unwanted.add(id_)
            else:
                self.limbo.cancel(id_)
        return [*self._drop(dropped), *(SendCancel(manager, ids) for manager, ids in forwarded.items())]

    def give_up(self, kind: Kind) -> list[int]:
        """Nobody could ever run the tasks of this kind that wait."""
        ids = self.backlog.take_kind(kind)
        self._forget(ids)
        return ids

    def end_limbo(self) -> list[Action]:
        """Nobody will claim what is there: it waits now, unless it was cancelled."""
        wanted, unwanted = self.limbo.end()
        self.backlog.put(wanted)
        self.former.update(dict.fromkeys(wanted, ""))
        return self._drop(unwanted)

    # -- as managers say ---------------------------------------------------------------------------------------

    def reconcile(self, manager: Manager, registration: Register) -> list[Action]:
        """A manager is back: compare what it holds with what should be there."""
        name = registration.manager
        strangers: list[int] = []  # tasks that another has, or nobody knows: it must not run them
        for id_ in registration.holding:
            unwanted = id_ in self.limbo.unwanted
            if self.limbo.withdraw(id_) or self.backlog.withdraw(id_):
                kind = self.backlog.kind_of(id_)
                manager.add([id_], None if kind is PLAIN else load_of(kind.demand, registration) or Load())
                self.where[id_] = name
                if unwanted:
                    self.unwanted.add(id_)
            elif id_ not in manager.tasks:
                strangers.append(id_)
        manager.started |= manager.tasks.intersection(registration.started)
        # What is not there may be on its way on this connection, if it was sent before the manager was heard on it.
        check = sorted((manager.doubtful & manager.tasks).difference(registration.holding))
        manager.asked_about.update(check)
        manager.doubtful.clear()
        cancel = strangers + sorted(self.unwanted & manager.tasks)
        return [*([SendCancel(name, cancel)] if cancel else []), *([SendCheck(name, check)] if check else [])]

    def end(self, manager: Manager | None, ids: Sequence[int]) -> list[Action]:
        """A manager, or one that is not known, has reported how these ended."""
        gone: set[int] = set()
        if manager is not None:
            gone = manager.remove(ids)
            for id_ in gone:
                del self.where[id_]
            self._forget(gone)
        return self._end_elsewhere(ids) if len(gone) < len(ids) else []

    def _end_elsewhere(self, ids: Iterable[int]) -> list[Action]:
        """A manager that was given up, or is not known yet, has had these all the same: now they have ended."""
        again: dict[str, list[int]] = {}
        for id_ in ids:
            if self.backlog.withdraw(id_) or self.limbo.withdraw(id_):
                self._forget([id_])
            elif id_ in self.where and id_ not in self.unwanted:
                again.setdefault(self.where[id_], []).append(id_)
                self.unwanted.add(id_)
        return [SendCancel(manager, ids) for manager, ids in again.items()]

    def put_back(self, manager: Manager, ids: Sequence[int]) -> tuple[int, list[Action]]:
        """Let these wait again, and say how many do: not those that were to be cancelled."""
        manager.remove(ids)
        for id_ in ids:
            del self.where[id_]
        crossed = [id_ for id_ in ids if id_ in self.unwanted]
        waiting = [id_ for id_ in ids if id_ not in self.unwanted]
        self.backlog.put(waiting, front=True)
        return len(waiting), self._drop(crossed)

    def lose(self, manager: Manager) -> tuple[list[int], int, list[Action]]:
        """Nothing more will be heard of a manager: what is lost with it, and how many tasks wait again."""
        lost = sorted(manager.started)
        for id_ in lost:
            del self.where[id_]
        self._forget(lost)
        left = sorted(manager.tasks - manager.started)
        self.former.update(dict.fromkeys(left, manager.registration.manager))
        return lost, *self.put_back(manager, left)

    # -- common parts ------------------------------------------------------------------------------------------

    def _drop(self, ids: list[int]) -> list[Action]:
        """These were to be cancelled, and are at no manager."""
        self._forget(ids)
        return [ReportCancelled(ids)] if ids else []

    def _forget(self, ids: Iterable[int]) -> None:
        """These have ended."""
        self.backlog.forget(ids)
        if self.unwanted:
            self.unwanted.difference_update(ids)
        if self.former:
            for id_ in ids:
                self.former.pop(id_, None)

    def check_invariants(self, managers: Mapping[str, Manager]) -> None:
        at_managers = [id_ for manager in managers.values() for id_ in manager.tasks]
        assert len(at_managers) == len(set(at_managers)), "a task is at two managers"
        assert set(at_managers) == self.where.keys(), "the managers' tasks and the places of tasks differ"
        everywhere = [*self.where, *self.backlog.waiting, *self.limbo.tasks]
        assert len(everywhere) == len(set(everywhere)), "a task is in two places"
        self.backlog.check_invariants(everywhere)
        assert self.former.keys() <= set(everywhere), "who had a task is remembered after its end"
        assert self.unwanted <= self.where.keys(), "cancelling is remembered of tasks that are at no manager"

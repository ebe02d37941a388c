"""Where each task is until it has ended: it waits, is at a manager, or is unclaimed. No sockets, clocks or threads.

Tasks are *unclaimed* after a restart of the interchange: the submit side has sent them again, and nobody has said yet
where they are. Managers that were there before are expected to come back, and claim what they hold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

from trellis.executors.htex.interchange.demands import ONE_SLOT, PLAIN, DemandKind, demand_on
from trellis.executors.htex.interchange.events import Action, ReportCancelled, SendCancel, SendCheck, TasksSubmitted
from trellis.executors.htex.interchange.manager_table import ManagerEntry, ManagerTable
from trellis.executors.htex.interchange.task_queue import QueuedTasks
from trellis.executors.htex.settings import RECOVERY_S


class UnclaimedTasks:
    """Tasks that a manager may claim, and which managers may."""

    def __init__(self) -> None:
        self._tasks: dict[int, None] = {}  # in order
        self._unwanted: set[int] = set()  # those of them that are to be cancelled
        self._expected: set[str] = set()
        self.ends_at: float | None = None  # when nobody may claim any more; None: nobody is expected, or not yet known

    @property
    def tasks(self) -> Set[int]:
        return self._tasks.keys()

    def add(self, ids: Iterable[int]) -> None:
        self._tasks.update(dict.fromkeys(ids))

    def expect(self, managers: Iterable[str], now: float) -> None:
        """Note that all tasks are here, and that these managers may claim some of them."""
        self._expected.update(managers)
        self.ends_at = now + RECOVERY_S

    def remove_claimant(self, manager: str) -> None:
        """Note that a manager has claimed what it has, or has left."""
        self._expected.discard(manager)

    def is_over(self, now: float) -> bool:
        """Whether nobody will claim any more."""
        return self.ends_at is not None and (not self._expected or now >= self.ends_at)

    def cancel(self, id_: int) -> None:
        """Have a task cancelled when it is claimed, or when nobody claims it; nothing, when it is not here."""
        if id_ in self._tasks:
            self._unwanted.add(id_)

    def is_unwanted(self, id_: int) -> bool:
        return id_ in self._unwanted

    def remove(self, id_: int) -> bool:
        """Take a task out; False when it is not here."""
        if id_ not in self._tasks:
            return False
        del self._tasks[id_]
        self._unwanted.discard(id_)
        return True

    def take_all(self) -> tuple[list[int], list[int]]:
        """Take what nobody has claimed: tasks to run, and tasks to cancel."""
        wanted = [id_ for id_ in self._tasks if id_ not in self._unwanted]
        unwanted = [id_ for id_ in self._tasks if id_ in self._unwanted]
        self._tasks.clear()
        self._unwanted.clear()
        self._expected.clear()
        self.ends_at = None
        return wanted, unwanted


class TaskTable:
    """All tasks that have not ended, each in one place. Changes what the manager table knows of tasks, too."""

    def __init__(self, managers: ManagerTable) -> None:
        self.queue = QueuedTasks()
        self.unclaimed = UnclaimedTasks()
        self._managers = managers
        self._manager_of = managers.manager_of
        self._unwanted: set[int] = set()  # tasks at managers, which were told to cancel them
        # Who had tasks that wait again or are elsewhere now; empty: nobody claimed them after a restart, and all may.
        self._former: dict[int, str] = {}

    # -- for readers -------------------------------------------------------------------------------------------

    @property
    def not_waiting(self) -> int:
        """Tasks at managers, or, after a restart, perhaps at managers."""
        return len(self._manager_of) + len(self.unclaimed.tasks)

    def may_report(self, manager: str, ids: Sequence[int]) -> list[int]:
        """Tasks whose cancelling this manager may report, among these: nobody else has them."""
        waiting, where = self.queue.waiting, self._manager_of
        return [id_ for id_ in ids if id_ not in waiting and where.get(id_, manager) == manager]

    def had_by(self, manager: str, ids: Sequence[int]) -> Sequence[int]:
        """Positions of the tasks whose ends this manager can know: it has them, or had, or may have had."""
        known = self._managers.entries.get(manager)
        if known is not None and known.has_all(ids):
            return range(len(ids))
        where, former, unclaimed = self._manager_of, self._former, self.unclaimed.tasks
        return [
            n
            for n, id_ in enumerate(ids)
            if where.get(id_) == manager
            or id_ in unclaimed
            or former.get(id_) == manager
            or (former.get(id_) == "" and id_ not in where)
        ]

    # -- as the submit side wishes -----------------------------------------------------------------------------

    def submit(self, event: TasksSubmitted) -> None:
        self.queue.describe(event.ids, event.priorities, event.demands, event.walltimes_s)
        if event.resumed:
            self.unclaimed.add(event.ids)
        else:
            self.queue.put(event.ids)

    def cancel(self, ids: Iterable[int]) -> list[Action]:
        cancelled: list[int] = []
        at_managers: list[int] = []
        for id_ in ids:
            if self.queue.remove(id_):
                cancelled.append(id_)
            elif id_ in self._manager_of:
                at_managers.append(id_)
            else:
                self.unclaimed.cancel(id_)
        return [*self._end_cancelled(cancelled), *self._send_cancel(at_managers)]

    def give_up(self, kind: DemandKind) -> list[int]:
        """End the tasks of this kind that wait, which nobody could ever run."""
        ids = self.queue.take_kind(kind)
        self._end(ids)
        return ids

    # -- after a restart ---------------------------------------------------------------------------------------

    def end_claims(self, now: float) -> list[Action]:
        """Let wait what nobody has claimed, when nobody will; unless it was cancelled."""
        if not self.unclaimed.is_over(now):
            return []
        wanted, unwanted = self.unclaimed.take_all()
        self.queue.put(wanted)
        self._former.update(dict.fromkeys(wanted, ""))
        return self._end_cancelled(unwanted)

    def reconcile(self, manager: ManagerEntry) -> list[Action]:
        """Compare what a manager holds that has registered with what should be there."""
        name, registration = manager.name, manager.registration
        strangers: list[int] = []  # tasks that another has, or nobody knows: it must not run them
        for id_ in registration.holding:
            unwanted = self.unclaimed.is_unwanted(id_)
            if self.unclaimed.remove(id_) or self.queue.remove(id_):
                kind = self.queue.kind_of(id_)
                each = None if kind is PLAIN else demand_on(registration, kind.demand) or ONE_SLOT
                self._managers.assign(manager, [id_], each)
                if unwanted:
                    self._unwanted.add(id_)
            elif id_ not in manager.tasks:
                strangers.append(id_)
        self._managers.mark_started(manager, registration.started)
        self.unclaimed.remove_claimant(name)
        check = self._managers.ask_about(manager, registration.holding)
        cancel = strangers + sorted(self._unwanted & manager.tasks)
        return [*([SendCancel(name, cancel)] if cancel else []), *([SendCheck(name, check)] if check else [])]

    # -- as managers say ---------------------------------------------------------------------------------------

    def end(
        self, manager: ManagerEntry | None, ids: Sequence[int], now: float, ran_s: float | None = None
    ) -> list[Action]:
        """Note that these have ended, as a manager says, or one that is not known."""
        gone: set[int] = set()
        if manager is not None:
            gone = self._managers.remove_tasks(manager, ids, now, ran_s)
            self._end(gone)
        return self._end_elsewhere(ids) if len(gone) < len(ids) else []

    def _end_elsewhere(self, ids: Iterable[int]) -> list[Action]:
        """End tasks that a manager has had all the same which was given up, or is not known yet."""
        again: list[int] = []
        for id_ in ids:
            if self.queue.remove(id_) or self.unclaimed.remove(id_):
                self._end([id_])
            elif id_ in self._manager_of and id_ not in self._unwanted:
                again.append(id_)
        return self._send_cancel(again)

    def put_back(self, manager: ManagerEntry, ids: Sequence[int], now: float) -> list[Action]:
        """Let tasks wait again that a manager gives back, but for those that were to be cancelled."""
        had = [id_ for id_ in ids if id_ in manager.tasks]
        self._managers.remove_tasks(manager, had, now)
        return self._wait_again(had)[1]

    def lose(self, manager: ManagerEntry) -> tuple[list[int], int, list[Action]]:
        """What is lost with a manager that was removed, and how many tasks wait again."""
        lost = sorted(manager.started)
        self._end(lost)
        left = sorted(manager.tasks - manager.started)
        self._former.update(dict.fromkeys(left, manager.name))
        return lost, *self._wait_again(left)

    # -- common parts ------------------------------------------------------------------------------------------

    def _wait_again(self, ids: list[int]) -> tuple[int, list[Action]]:
        """How many of these wait now: not those that were to be cancelled."""
        crossed = [id_ for id_ in ids if id_ in self._unwanted]
        waiting = [id_ for id_ in ids if id_ not in self._unwanted]
        self.queue.put(waiting, front=True)
        return len(waiting), self._end_cancelled(crossed)

    def _send_cancel(self, ids: list[int]) -> list[Action]:
        """Tell the managers of these tasks that they are to be cancelled."""
        by_manager: dict[str, list[int]] = {}
        for id_ in ids:
            by_manager.setdefault(self._manager_of[id_], []).append(id_)
        self._unwanted.update(ids)
        return [SendCancel(manager, of_manager) for manager, of_manager in by_manager.items()]

    def _end_cancelled(self, ids: list[int]) -> list[Action]:
        """End tasks that were to be cancelled, and are at no manager."""
        self._end(ids)
        return [ReportCancelled(ids)] if ids else []

    def _end(self, ids: Iterable[int]) -> None:
        self.queue.end(ids)
        if self._unwanted:
            self._unwanted.difference_update(ids)
        if self._former:
            for id_ in ids:
                self._former.pop(id_, None)

    def check_invariants(self) -> None:
        everywhere = [*self._manager_of, *self.queue.waiting, *self.unclaimed.tasks]
        assert len(everywhere) == len(set(everywhere)), "a task is in two places"
        self.queue.check_invariants(everywhere)
        assert self._former.keys() <= set(everywhere), "who had a task is remembered after its end"
        assert self._unwanted <= self._manager_of.keys(), "cancelling is remembered of tasks that are at no manager"

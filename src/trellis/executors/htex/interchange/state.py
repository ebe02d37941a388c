"""What becomes of tasks and managers, between the submit side and the nodes. No sockets, clocks or threads here.

A task that has not ended is in one place: it waits, is at a manager, or, after a restart, is unclaimed until a manager
claims it. What a manager never announced as started goes back to the queue when the manager is lost; what it did
announce is reported as lost with it, and never runs again by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from random import Random
from typing import assert_never

from trellis.executors.htex.interchange import events
from trellis.executors.htex.interchange.dispatch import TaskDispatcher
from trellis.executors.htex.interchange.events import Action, Event
from trellis.executors.htex.interchange.infeasible import InfeasibleKinds
from trellis.executors.htex.interchange.manager_table import ManagerEntry, ManagerTable
from trellis.executors.htex.interchange.selection import Selection
from trellis.executors.htex.interchange.standing import standing_of
from trellis.executors.htex.interchange.task_table import TaskTable
from trellis.version import VERSION
from trellis.wire.messages import PROTOCOL_VERSION, Register
from trellis.wire.questions import StandingReply

# When workers have been idle at one manager for so long while tasks wait at another, they are asked back.
REBALANCE_S = 0.02


class InterchangeState:
    """The machine of the interchange.

    Args:
        heartbeat_threshold_s: a manager that sends nothing for so long is lost.
        selection: which manager gets the next task; ``rng`` is the chance in it.
        epoch_s: seconds since the epoch when the clock of the events says 0, for selectors that users have written.
    """

    def __init__(self, heartbeat_threshold_s: float, selection: Selection, rng: Random, epoch_s: float = 0.0) -> None:
        self._managers = ManagerTable(heartbeat_threshold_s, by_block=selection == "block_id")
        self._tasks = TaskTable(self._managers)
        self._queue = self._tasks.queue
        self._infeasible = InfeasibleKinds(self._managers)
        self._dispatcher = TaskDispatcher(self._managers, self._queue, self._infeasible, selection, rng, epoch_s)
        self._rebalance_at: float | None = None
        self._now = 0.0  # of the latest event

    # -- for readers -------------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """How many tasks wait."""
        return len(self._queue.waiting)

    @property
    def waiting(self) -> Set[int]:
        """Tasks that wait."""
        return self._queue.waiting

    @property
    def running(self) -> int:
        """Tasks at managers, or, after a restart, perhaps at managers."""
        return self._tasks.not_waiting

    @property
    def managers(self) -> Mapping[str, ManagerEntry]:
        """Managers that are connected."""
        return self._managers.entries

    @property
    def blocks(self) -> list[str]:
        """Blocks of which a manager ever registered."""
        return list(self._managers.blocks)

    def may_have_tasks(self, manager: str) -> bool:
        """Whether tasks were ever sent there, so that it has something to report."""
        return manager in self._managers.entries or manager in self._managers.departed

    def had_by(self, manager: str, ids: Sequence[int]) -> Sequence[int]:
        """Positions of the tasks whose ends this manager can know; what it says of others does not count."""
        return self._tasks.had_by(manager, ids)

    def may_report(self, manager: str, ids: Sequence[int]) -> list[int]:
        """Tasks whose cancelling this manager may report to the submit side, among these.

        Not those that wait here or are at another manager: it was told to drop what somebody else has.
        """
        return self._tasks.may_report(manager, ids)

    def standing(self, request: int, id_: int, now: float) -> StandingReply:
        """Where a task is, and why it does not run."""
        return standing_of(self._tasks, self._managers, self._infeasible, request, id_, now)

    def next_deadline(self) -> float | None:
        due = self._managers.next_deadline()
        for when in (self._rebalance_at, self._tasks.unclaimed.ends_at, *self._infeasible.due.values()):
            if when is not None and (due is None or when < due):
                due = when
        return due

    # -- events ------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Action]:
        self._now = now
        if isinstance(event, events.Report):
            manager = self._managers.hear(event.manager, now)
            actions = self._on_stranger(event, now) if manager is None else self._on_report(manager, event, now)
        else:
            actions = self._on_other_event(event, now)
        if self._tasks.unclaimed.ends_at is not None:
            actions += self._tasks.end_claims(now)
        actions += self._dispatcher.round(now)
        if self._queue.kinds or self._infeasible.due:
            self._infeasible.review(self._queue.kinds, now)
        if self._rebalance_at is None and self._managers.hungry and self._dispatcher.is_unbalanced(now):
            self._rebalance_at = now + REBALANCE_S
        return actions

    def _on_other_event(self, event: events.OtherEvent, now: float) -> list[Action]:
        match event:
            case events.TasksSubmitted():
                self._tasks.submit(event)
                return []
            case events.CancelRequested(ids):
                return self._tasks.cancel(ids)
            case events.DeadlinePassed():
                return self._on_deadline_passed(now)
            case events.ManagerRegistered(registration):
                return self._on_manager_registered(registration, now)
            case events.ManagerDisconnected(name):
                return self._on_manager_disconnected(name, now)
            case events.WitnessReported():
                return self._on_witness_reported(event, now)
            case events.ManagerLeft(name, reason):
                return self._on_manager_left(name, reason)
            case events.HoldRequested(managers, blocks):
                self._managers.hold(managers, blocks)
                return []
            case events.DrainRequested(blocks):
                drained = self._managers.drain_blocks(blocks)
                return [action for manager in drained for action in self._drain(manager)]
            case events.ResumeEnded(managers):
                self._tasks.unclaimed.expect(managers, now)
                return []
            case _:
                assert_never(event)

    # -- managers come -----------------------------------------------------------------------------------------

    def _on_manager_registered(self, registration: Register, now: float) -> list[Action]:
        name = registration.manager
        refused = _refusal(registration)
        if refused is not None:
            return [refused]
        reason = self._managers.departed.get(name)
        if registration.resumed and reason is not None:
            return [events.DismissManager(name, reason)]
        actions: list[Action] = []
        manager = self.managers.get(name)
        if manager is not None and not registration.resumed:
            # Another process: whatever the one before it had is gone.
            actions += self._lose(manager, "it registered again")
            manager = None
        is_to_end = registration.block in self._managers.drained_blocks
        if is_to_end and not registration.resumed:
            return [*actions, events.DismissManager(name, "its block is to end")]
        if manager is None:
            manager = self._managers.add(registration, now)
        else:
            self._managers.reconnect(manager, registration, now)
        if registration.ends_in_s is not None:
            self._queue.heed_walltimes()
        actions += [events.WelcomeManager(name), *self._tasks.reconcile(manager)]
        if manager.draining or is_to_end:
            actions += self._drain(manager)
        return actions

    # -- managers tell -----------------------------------------------------------------------------------------

    def _on_report(self, manager: ManagerEntry, event: events.ManagerReport, now: float) -> list[Action]:
        match event:
            case events.TasksEnded():
                return self._on_tasks_ended(manager, event, now)
            case events.TasksStarted():
                self._managers.mark_started(manager, event.ids)
                return []
            case events.TasksWithdrawn():
                self._managers.mark_unstarted(manager, event.ids)
                return []
            case events.HeartbeatReceived():
                return [events.AnswerHeartbeat(manager.name)]
            case events.TasksReturned():
                self._managers.answer_ask_back(manager)
                return self._put_back(manager, event.ids, now)
            case events.TasksMissing():
                return self._on_tasks_missing(manager, event.ids, now)
            case events.ManagerDraining():
                return self._drain(manager)
            case _:
                assert_never(event)

    def _on_stranger(self, event: events.ManagerReport, now: float) -> list[Action]:
        """Answer a manager that is not known. What it says has ended has, all the same."""
        name, reason = event.manager, self._managers.departed.get(event.manager)
        answer = events.AskToRegister(name) if reason is None else events.DismissManager(name, reason)
        ended = self._tasks.end(None, event.ids, now) if isinstance(event, events.TasksEnded) else []
        return [*ended, answer]

    def _on_tasks_ended(self, manager: ManagerEntry, event: events.TasksEnded, now: float) -> list[Action]:
        actions = self._tasks.end(manager, event.ids, now, None if event.worker_lost else event.duration_s)
        if event.worker_lost and self._managers.note_deaths(manager, len(event.ids)):
            hello = manager.registration
            reason = f"its workers died one after the other, {manager.deaths} times, and other managers fare better"
            actions.append(events.ReportPutAside(manager.name, hello.block, hello.hostname, reason))
            actions += self._ask_back_all(manager)
        return actions + self._dismiss_when_drained(manager)

    def _on_tasks_missing(self, manager: ManagerEntry, ids: Sequence[int], now: float) -> list[Action]:
        # Only those it was asked about on this connection: another answer may be older than what was sent since.
        return self._put_back(manager, [id_ for id_ in ids if id_ in manager.asked_about], now)

    def _put_back(self, manager: ManagerEntry, ids: Sequence[int], now: float) -> list[Action]:
        return self._tasks.put_back(manager, ids, now) + self._dismiss_when_drained(manager)

    def _drain(self, manager: ManagerEntry) -> list[Action]:
        self._managers.drain(manager)
        return self._ask_back_all(manager) + self._dismiss_when_drained(manager)

    def _ask_back_all(self, manager: ManagerEntry) -> list[Action]:
        """Have it give back what no worker has taken."""
        return [self._dispatcher.ask_back(manager, len(manager.tasks))] if manager.tasks else []

    def _dismiss_when_drained(self, manager: ManagerEntry) -> list[Action]:
        # Only here it is known that nothing is under way to it: had it left by itself, such tasks would be lost.
        is_drained = manager.draining and not manager.tasks
        return [events.DismissManager(manager.name, "it is drained")] if is_drained else []

    # -- managers go -------------------------------------------------------------------------------------------

    def _on_manager_disconnected(self, name: str, now: float) -> list[Action]:
        manager = self.managers.get(name)
        if manager is not None:
            self._managers.disconnect(manager, now)
        return []

    def _on_witness_reported(self, event: events.WitnessReported, now: float) -> list[Action]:
        manager = self.managers.get(event.manager)
        if manager is None:  # lost already; or it was another interchange's, and will not claim what it had
            self._tasks.unclaimed.remove_claimant(event.manager)
        else:
            self._managers.hear_witness(manager, event.running, event.unstarted, now)
        return []

    def _on_manager_left(self, name: str, reason: str) -> list[Action]:
        manager = self.managers.get(name)
        if manager is None:
            self._tasks.unclaimed.remove_claimant(name)
            return []
        return self._lose(manager, reason)

    def _lose(self, manager: ManagerEntry, reason: str) -> list[Action]:
        self._managers.remove(manager, reason)
        return self._report_lost(manager, reason)

    def _report_lost(self, manager: ManagerEntry, reason: str) -> list[Action]:
        lost, requeued, actions = self._tasks.lose(manager)
        hello = manager.registration
        report = events.ReportManagerLost(manager.name, hello.block, hello.hostname, lost, reason, requeued)
        return [report, *actions]

    def _on_deadline_passed(self, now: float) -> list[Action]:
        actions: list[Action] = []
        if self._rebalance_at is not None and now >= self._rebalance_at:
            self._rebalance_at = None
            actions += self._dispatcher.rebalance(now)
        for kind in self._infeasible.overdue(now):
            ids = self._tasks.give_up(kind)
            if ids:
                actions.append(events.ReportInfeasible(ids, self._infeasible.reason_of(kind)))
        for manager, reason in self._managers.remove_silent(now):
            # It may be alive, cut off or back on another connection: what it has is given up, so it must end.
            actions += [*self._report_lost(manager, reason), events.DismissManager(manager.name, reason)]
        return actions

    def check_invariants(self) -> None:
        self._managers.check_invariants()
        self._tasks.check_invariants()
        self._dispatcher.check_invariants(self._now)
        unbalanced = self._dispatcher.is_unbalanced(self._now)
        assert not unbalanced or self._rebalance_at is not None, "workers idle while tasks wait, and nobody looks"


def _refusal(registration: Register) -> events.RefuseManager | None:
    """Why this manager is turned away; None: it is not."""
    name, hostname, theirs = registration.manager, registration.hostname, registration.trellis_version
    if registration.protocol != PROTOCOL_VERSION:
        return events.RefuseManager(
            name,
            hostname,
            "it speaks another protocol; use the same Trellis version on both sides",
            (f"Trellis {VERSION}, protocol {PROTOCOL_VERSION}", f"Trellis {theirs}, protocol {registration.protocol}"),
        )
    if registration.workers < 1 or registration.capacity < registration.workers:
        reason = f"it has {registration.workers} workers and capacity {registration.capacity}"
        return events.RefuseManager(name, hostname, reason)
    return None

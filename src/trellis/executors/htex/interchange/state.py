"""What becomes of tasks and managers, between the submit side and the nodes. No sockets, clocks or threads here.

A task that has not ended is in one place: it waits, is at a manager, or, after a restart, in limbo until a manager
claims it. What a manager never announced as started goes back to the backlog when the manager is lost; what it did
announce is reported as lost with it, and never runs again by itself.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence, Set
from random import Random
from typing import Any

from trellis.executors.htex.interchange.dispatch import Dispatcher
from trellis.executors.htex.interchange.events import (
    Action,
    AnswerHeartbeat,
    AskBack,
    AskToRegister,
    CancelRequested,
    DeadlinePassed,
    DismissManager,
    DrainRequested,
    Event,
    HeartbeatReceived,
    HoldRequested,
    ManagerDisconnected,
    ManagerDraining,
    ManagerLeft,
    ManagerRegistered,
    ReportInfeasible,
    ReportManagerLost,
    ReportPutAside,
    ResumeEnded,
    TasksEnded,
    TasksMissing,
    TasksReturned,
    TasksStarted,
    TasksSubmitted,
    TasksWithdrawn,
    WelcomeManager,
    WitnessReported,
)
from trellis.executors.htex.interchange.infeasible import UnfitWatch, reason_of
from trellis.executors.htex.interchange.manager_table import Bygones, Manager, is_broken, refusal
from trellis.executors.htex.interchange.selection import Selection
from trellis.executors.htex.interchange.task_table import Custody
from trellis.wire.messages import Register

# A connection that closes is the end of its manager, unless it is back on another within this time. Messages that came
# before may still be unread: so long they count before the loss is reported.
CLOSED_GRACE_S = 0.5
# So long the report of its witness is waited for, if it has one: that may have to wait for a processor.
WITNESS_GRACE_S = 2.0
# When workers have been idle at one manager for so long while tasks wait at another, they are asked back.
REBALANCE_S = 0.02

_DRAINED = "it is drained"


class InterchangeState:
    """The machine of the interchange.

    Args:
        heartbeat_threshold_s: a manager that sends nothing for so long is lost.
        selection: which manager gets the next task; ``rng`` is the chance in it.
    """

    def __init__(self, heartbeat_threshold_s: float, selection: Selection, rng: Random) -> None:
        self._threshold_s = heartbeat_threshold_s
        self._custody = Custody()
        self._backlog, self._limbo = self._custody.backlog, self._custody.limbo
        self._managers: dict[str, Manager] = {}
        self._bygones = Bygones()
        self._unfit = UnfitWatch()
        self._dispatcher = Dispatcher(self._managers, self._custody, self._unfit, selection, rng)
        self._rebalance_at: float | None = None
        self._now = 0.0  # of the latest event
        self._silence: list[tuple[float, str]] = []  # heap: look then whether this manager was heard
        self._blocks: dict[str, None] = {}  # of all managers ever, in order of appearance
        self._held_managers: set[str] = set()
        self._held_blocks: set[str] = set()
        self._drained_blocks: set[str] = set()
        self._handlers: dict[type, Callable[[Any, float], list[Action]]] = {
            TasksSubmitted: self._on_tasks_submitted,
            ResumeEnded: self._on_resume_ended,
            CancelRequested: self._on_cancel_requested,
            ManagerRegistered: self._on_manager_registered,
            HeartbeatReceived: self._on_heartbeat,
            TasksStarted: self._on_tasks_started,
            TasksWithdrawn: self._on_tasks_withdrawn,
            WitnessReported: self._on_witness_reported,
            TasksEnded: self._on_tasks_ended,
            TasksReturned: self._on_tasks_returned,
            TasksMissing: self._on_tasks_missing,
            ManagerDisconnected: self._on_manager_disconnected,
            ManagerLeft: self._on_manager_left,
            ManagerDraining: self._on_manager_draining,
            HoldRequested: self._on_hold_requested,
            DrainRequested: self._on_drain_requested,
            DeadlinePassed: self._on_deadline_passed,
        }

    # -- for readers -------------------------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Tasks in the queue."""
        return len(self._backlog.waiting)

    @property
    def waiting(self) -> Set[int]:
        """Those tasks."""
        return self._backlog.waiting

    @property
    def running(self) -> int:
        """Tasks at managers, or, after a restart, perhaps at managers."""
        return len(self._custody.where) + len(self._limbo.tasks)

    @property
    def managers(self) -> dict[str, Manager]:
        """Managers that are connected; not to be changed."""
        return self._managers

    @property
    def blocks(self) -> list[str]:
        """Blocks of which a manager ever registered."""
        return list(self._blocks)

    def may_have_tasks(self, manager: str) -> bool:
        """Whether tasks were ever sent there, so that it has something to report."""
        return manager in self._managers or self._bygones.reason(manager) is not None

    def had_by(self, manager: str, ids: Sequence[int]) -> Sequence[int]:
        """Positions of those of these tasks whose ends this manager can know; what it says of others does not count."""
        known = self._managers.get(manager)
        if known is not None and known.tasks.issuperset(ids):
            return range(len(ids))
        return self._custody.had_by(manager, ids)

    def may_report(self, manager: str, ids: Sequence[int]) -> list[int]:
        """Those of these tasks whose cancelling this manager may report to the submit side.

        Not those that wait here or are at another manager: it was told to drop what somebody else has.
        """
        return self._custody.may_report(manager, ids)

    def next_deadline(self) -> float | None:
        due = (
            self._silence[0][0] if self._silence else None,
            self._rebalance_at,
            self._limbo.ends_at,
            self._unfit.next_deadline(),
        )
        return min((when for when in due if when is not None), default=None)

    # -- events ------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now: float) -> list[Action]:
        self._now = now
        actions = self._handlers[type(event)](event, now)
        if self._backlog.others or self._unfit.next_deadline() is not None:
            self._unfit.review(list(self._backlog.others), self._managers, now)
        if self._rebalance_at is None and self._dispatcher.is_unbalanced(now):
            self._rebalance_at = now + REBALANCE_S
        return actions

    # -- of the submit side ------------------------------------------------------------------------------------

    def _on_tasks_submitted(self, event: TasksSubmitted, now: float) -> list[Action]:
        self._custody.submit(event)
        return self._dispatch(now)

    def _on_resume_ended(self, event: ResumeEnded, now: float) -> list[Action]:
        self._limbo.expect(event.managers, now)
        return self._end_limbo(now)

    def _end_limbo(self, now: float) -> list[Action]:
        """Let wait what nobody has claimed, when nobody will."""
        if not self._limbo.is_over(now):
            return []
        return [*self._custody.end_limbo(), *self._dispatch(now)]

    def _on_cancel_requested(self, event: CancelRequested, now: float) -> list[Action]:
        return self._custody.cancel(event.ids)

    def _on_hold_requested(self, event: HoldRequested, now: float) -> list[Action]:
        self._held_managers.update(event.managers)
        self._held_blocks.update(event.blocks)
        for name, manager in self._managers.items():
            if self._is_held(manager.registration):
                manager.held = True
                self._dispatcher.update(name)
        self._take_from_aside()
        return self._dispatch(now)

    def _is_held(self, registration: Register) -> bool:
        return registration.manager in self._held_managers or registration.block in self._held_blocks

    def _on_drain_requested(self, event: DrainRequested, now: float) -> list[Action]:
        self._drained_blocks.update(event.blocks)
        actions: list[Action] = []
        for name, manager in self._managers.items():
            if manager.registration.block in event.blocks:
                actions += self._drain(name)
        self._take_from_aside()
        return actions + self._dispatch(now)

    # -- managers come -----------------------------------------------------------------------------------------

    def _on_manager_registered(self, event: ManagerRegistered, now: float) -> list[Action]:
        registration = event.registration
        name = registration.manager
        refused = refusal(registration)
        if refused is not None:
            return [refused]
        reason = self._bygones.reason(name)
        if registration.resumed and reason is not None:
            return [DismissManager(name, reason)]
        actions: list[Action] = []
        if name in self._managers and not registration.resumed:
            # Another process: whatever the one before it had is gone.
            actions += self._lose(name, "it registered again")
        self._bygones.forget(name)
        if registration.block in self._drained_blocks and not registration.resumed:
            return [*actions, DismissManager(name, "its block is to end"), *self._dispatch(now)]
        manager = self._managers.get(name)
        if manager is None:
            manager = self._managers[name] = Manager(registration, now, now, held=self._is_held(registration))
            self._blocks[registration.block] = None
            self._unfit.forget_verdicts()
        else:
            manager.registration, manager.last_heard = registration, now
            manager.closed_at, manager.unstarted, manager.asked_back = None, None, False
        if registration.ends_in_s is not None:
            manager.ends_at = now + registration.ends_in_s
            self._backlog.heed_walltimes()
        self._look_at(name, now + self._threshold_s)
        actions += [WelcomeManager(name), *self._custody.reconcile(manager, registration)]
        self._limbo.seen(name)
        self._dispatcher.update(name)
        if manager.draining or registration.block in self._drained_blocks:
            actions += self._drain(name)
        return [*actions, *self._end_limbo(now), *self._dispatch(now)]

    # -- managers tell -----------------------------------------------------------------------------------------

    def _on_heartbeat(self, event: HeartbeatReceived, now: float) -> list[Action]:
        if not self._heard(event.manager, now):
            return self._answer_stranger(event.manager)
        return [AnswerHeartbeat(event.manager)]

    def _on_tasks_started(self, event: TasksStarted, now: float) -> list[Action]:
        if not self._heard(event.manager, now):
            return self._answer_stranger(event.manager)
        manager = self._managers[event.manager]
        manager.started |= manager.tasks.intersection(event.ids)
        if manager.special:
            self._dispatcher.update(event.manager)
        return []

    def _on_tasks_withdrawn(self, event: TasksWithdrawn, now: float) -> list[Action]:
        if not self._heard(event.manager, now):
            return self._answer_stranger(event.manager)
        manager = self._managers[event.manager]
        manager.started.difference_update(event.ids)
        if manager.special:
            self._dispatcher.update(event.manager)
        return []

    def _on_tasks_ended(self, event: TasksEnded, now: float) -> list[Action]:
        name = event.manager
        if not self._heard(name, now):
            return [*self._custody.end(None, event.ids), *self._answer_stranger(name)]
        manager = self._managers[name]
        actions = self._custody.end(manager, event.ids)
        if event.worker_lost:
            manager.deaths += len(event.ids)
            actions += self._put_aside_if_broken(name)
        elif event.duration_s is not None and event.ids:
            manager.deaths = 0
            manager.pace.note(len(event.ids), event.duration_s)
        return [*actions, *self._after_tasks_left(name, now)]

    def _on_tasks_returned(self, event: TasksReturned, now: float) -> list[Action]:
        if not self._heard(event.manager, now):
            return self._answer_stranger(event.manager)
        manager = self._managers[event.manager]
        manager.asked_back = False
        _, actions = self._custody.put_back(manager, [id_ for id_ in event.ids if id_ in manager.tasks])
        return [*actions, *self._after_tasks_left(event.manager, now)]

    def _on_tasks_missing(self, event: TasksMissing, now: float) -> list[Action]:
        if not self._heard(event.manager, now):
            return self._answer_stranger(event.manager)
        manager = self._managers[event.manager]
        # Only those it was asked about on this connection: another answer may be older than what was sent since.
        missing = [id_ for id_ in event.ids if id_ in manager.asked_about and id_ in manager.tasks]
        manager.asked_about.difference_update(missing)
        _, actions = self._custody.put_back(manager, missing)
        return [*actions, *self._after_tasks_left(event.manager, now)]

    def _after_tasks_left(self, name: str, now: float) -> list[Action]:
        manager = self._managers[name]
        if not manager.tasks and manager.idle_since is None:
            manager.idle_since = now
        self._dispatcher.update(name)
        return self._dispatch(now) + self._dismiss_when_drained(name)

    def _on_manager_draining(self, event: ManagerDraining, now: float) -> list[Action]:
        if not self._heard(event.manager, now):
            return self._answer_stranger(event.manager)
        actions = self._drain(event.manager)
        self._take_from_aside()
        return actions + self._dispatch(now)

    def _drain(self, name: str) -> list[Action]:
        manager = self._managers[name]
        manager.draining = True
        actions = self._ask_back_all(name)
        self._dispatcher.update(name)
        return actions + self._dismiss_when_drained(name)

    def _ask_back_all(self, name: str) -> list[Action]:
        """It gives back what no worker has taken."""
        manager = self._managers[name]
        manager.asked_back = bool(manager.tasks)
        return [AskBack(name, len(manager.tasks))] if manager.tasks else []

    def _dismiss_when_drained(self, name: str) -> list[Action]:
        # Only here it is known that nothing is under way to it: had it left by itself, such tasks would be lost.
        manager = self._managers[name]
        return [DismissManager(name, _DRAINED)] if manager.draining and not manager.tasks else []

    def _answer_stranger(self, name: str) -> list[Action]:
        """To a manager that is not known."""
        reason = self._bygones.reason(name)
        return [AskToRegister(name)] if reason is None else [DismissManager(name, reason)]

    # -- managers go -------------------------------------------------------------------------------------------

    def _on_manager_disconnected(self, event: ManagerDisconnected, now: float) -> list[Action]:
        manager = self._managers.get(event.manager)
        if manager is not None:
            manager.doubtful = set(manager.tasks)
            manager.asked_about.clear()
            if not manager.closed:
                manager.closed_at = now
                self._dispatcher.update(event.manager)
                self._look_at(event.manager, now + CLOSED_GRACE_S)
        return []

    def _on_witness_reported(self, event: WitnessReported, now: float) -> list[Action]:
        manager = self._managers.get(event.manager)
        if manager is None:  # lost already; or it was another interchange's, and will not claim what it had
            self._limbo.seen(event.manager)
            return self._end_limbo(now)
        # What the manager had sent before may still be unread: it counts until the loss is reported.
        manager.started |= manager.tasks.intersection(event.running)
        manager.unstarted = set(event.unstarted)
        if manager.closed_at is None:  # it is about to be noticed
            manager.closed_at = now
            self._dispatcher.update(event.manager)
        self._look_at(event.manager, max(now, manager.closed_at + CLOSED_GRACE_S))
        return []

    def _on_manager_left(self, event: ManagerLeft, now: float) -> list[Action]:
        if event.manager in self._managers:
            return [*self._lose(event.manager, event.reason), *self._dispatch(now)]
        self._limbo.seen(event.manager)
        return self._end_limbo(now)

    def _on_deadline_passed(self, event: DeadlinePassed, now: float) -> list[Action]:
        actions: list[Action] = []
        if self._rebalance_at is not None and now >= self._rebalance_at:
            self._rebalance_at = None
            actions += self._dispatcher.rebalance(now)
        for kind in self._unfit.overdue(now):
            ids = self._custody.give_up(kind)
            if ids:
                actions.append(ReportInfeasible(ids, reason_of(kind, self._managers)))
        while self._silence and self._silence[0][0] <= now:
            due, name = heapq.heappop(self._silence)
            manager = self._managers.get(name)
            if manager is not None and manager.look_at == due:  # else it is looked after by a later entry
                actions += self._look_after(name, manager, now)
        return [*actions, *self._end_limbo(now), *self._dispatch(now)]

    def _look_after(self, name: str, manager: Manager, now: float) -> list[Action]:
        if manager.closed_at is not None:
            patience_ends = manager.closed_at + WITNESS_GRACE_S
            if manager.registration.witnessed and manager.unstarted is None and now < patience_ends:
                self._look_at(name, patience_ends)
                return []
            reason = "its connection closed: it ended or was killed"
        elif manager.last_heard + self._threshold_s > now:
            self._look_at(name, manager.last_heard + self._threshold_s)
            return []
        else:
            reason = f"it sent nothing for {now - manager.last_heard:.0f} s"
        # It may be alive, cut off or back on another connection: what it has is given up, so it must end.
        return [*self._lose(name, reason), DismissManager(name, reason)]

    def _lose(self, name: str, reason: str) -> list[Action]:
        manager = self._managers.pop(name)
        self._dispatcher.discard(name)
        self._bygones.note(name, reason)
        self._unfit.forget_verdicts()
        self._take_from_aside()
        manager.started.difference_update(manager.unstarted or ())
        lost, requeued, actions = self._custody.lose(manager)
        hello = manager.registration
        return [ReportManagerLost(name, hello.block, hello.hostname, lost, reason, requeued), *actions]

    # -- nodes that are broken ---------------------------------------------------------------------------------

    def _put_aside_if_broken(self, name: str) -> list[Action]:
        manager = self._managers[name]
        if not is_broken(manager, self._managers.values()):
            return []
        manager.held = manager.put_aside = True
        hello = manager.registration
        reason = f"its workers died one after the other, {manager.deaths} times, and other managers fare better"
        return [ReportPutAside(name, hello.block, hello.hostname, reason), *self._ask_back_all(name)]

    def _take_from_aside(self) -> None:
        """When nobody else is left, a node that was put aside is better than none."""
        if any(not (manager.held or manager.draining) for manager in self._managers.values()):
            return
        for name, manager in self._managers.items():
            if manager.put_aside:
                manager.put_aside = False
                manager.held = self._is_held(manager.registration)
                manager.deaths = 0
                self._dispatcher.update(name)

    # -- common parts ------------------------------------------------------------------------------------------

    def _heard(self, name: str, now: float) -> bool:
        """Note a sign of life; False when the manager is not known."""
        if name not in self._managers:
            return False
        self._managers[name].last_heard = now
        return True

    def _look_at(self, name: str, when: float) -> None:
        self._managers[name].look_at = when
        heapq.heappush(self._silence, (when, name))

    def _dispatch(self, now: float) -> list[Action]:
        return [*self._dispatcher.round(now)]

    def check_invariants(self) -> None:
        self._custody.check_invariants(self._managers)
        for name, manager in self._managers.items():
            manager.check_invariants(name)
            assert (manager.look_at, name) in self._silence, f"{name}: nobody watches for its silence"
        self._dispatcher.check_invariants(self._now)
        unbalanced = self._dispatcher.is_unbalanced(self._now)
        assert not unbalanced or self._rebalance_at is not None, "workers idle while tasks wait, and nobody looks"

"""The submit side of a simulation: the parts of which ``htex.submit.client`` is made, with sockets in pretence."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import assert_never, get_args

from tests.simulation import damage
from tests.simulation.network import Connection
from tests.simulation.oracles import SafetyViolation, TaskPlan
from tests.simulation.simulated import CLIENT_NAME, MAX_DELAY_S, Stage, arguments_of, function_bytes, peek, result_of
from tests.simulation.simulated_interchange import SimulatedInterchange
from trellis.core.interfaces import Attempt
from trellis.errors import BadMessage
from trellis.executors.common.known_functions import define_functions
from trellis.executors.htex.submit import submission
from trellis.executors.htex.submit.acknowledgements import Acknowledgements
from trellis.executors.htex.submit.known_managers import KnownManagers
from trellis.executors.htex.submit.task_messages import StandingOrders, TaskPayload, resume_messages, send_tasks
from trellis.wire.codec import Buffer, Decoder, Payload, encode_header, payload_buffers, unpack
from trellis.wire.messages import (
    CancelTasks,
    DefineFunctions,
    DrainBlocks,
    ForgetFunctions,
    FromSubmitSide,
    HoldManagers,
    ManagerJoined,
    ManagerLoss,
    Message,
    Results,
    Tasks,
    TasksCancelled,
    TasksOverMemory,
    TasksRefused,
    TasksRunning,
    TasksTimedOut,
    TasksUnfit,
    ToSubmitSide,
    WorkerLoss,
)
from trellis.wire.questions import StandingAtManager, StandingReply, StandingRequest, StatusRequest


class SubmitSide:
    """The user's process. When the interchange dies, it starts another one."""

    def __init__(self, stage: Stage, server: SimulatedInterchange) -> None:
        self._stage = stage
        self._server = server
        self._machine = stage.machines.submission()
        self._acknowledgements = Acknowledgements()
        self._managers = KnownManagers()
        self._orders = StandingOrders()
        self._attempts: dict[int, Attempt] = {}  # without an outcome
        self._numbers = itertools.count()  # of functions
        self._functions: dict[int, int] = {}  # number of each that the interchange was told of
        self._requests = itertools.count(1)
        self._asked_at: dict[int, int] = {}  # the task of each question
        self._uses: Counter[int] = Counter()  # attempts of each number
        self._spoilt_functions: set[int] = set()  # numbers whose definitions made no sense
        self._decoder: Decoder[ToSubmitSide] = Decoder(ToSubmitSide)
        self._own: Decoder[FromSubmitSide] = Decoder(FromSubmitSide)
        self._connection = Connection(stage.world, server, self, CLIENT_NAME, MAX_DELAY_S)
        self.spoils_next = False  # the next message with tasks or functions makes no sense
        server.client = self._connection
        self._say(StatusRequest(0))

    @property
    def drained_blocks(self) -> set[str]:
        return self._orders.drained_blocks

    def submit(self, plans: Sequence[TaskPlan]) -> None:
        self._stage.ledger.plans.update((plan.id, plan) for plan in plans)
        for plan in plans:
            attempt = Attempt(_nothing, (), {}, sink=_NoSink(), walltime_s=plan.walltime_s or None)
            attempt.executor_id = plan.id
            attempt.executor_note = TaskPayload(
                self._number(plan.function), arguments_of(plan.id), plan.priority, plan.demand
            )
            self._attempts[plan.id] = attempt
        self._handle(submission.TasksSubmitted([plan.id for plan in plans]))

    def _number(self, function: int) -> int:
        if function not in self._functions:
            number = self._functions[function] = next(self._numbers)
            self._send(define_functions({number: function_bytes(number)}))
        self._uses[self._functions[function]] += 1
        return self._functions[function]

    def cancel(self, ids: Sequence[int]) -> None:
        self._stage.ledger.cancel_wanted.update(ids)
        self._handle(submission.CancelRequested(ids))

    def drain(self, blocks: list[str]) -> None:
        self._order(DrainBlocks(blocks))

    def hold(self, blocks: list[str]) -> None:
        self._order(HoldManagers([], blocks))

    def _order(self, order: HoldManagers | DrainBlocks) -> None:
        self._orders.note(order)
        self._say(order)

    # -- messages ----------------------------------------------------------------------------------------------

    def on_closed(self, connection: Connection) -> None:
        self._handle(submission.InterchangeDied("the interchange died"))

    def on_message(self, connection: Connection, frames: list[Buffer]) -> None:
        self._stage.note(CLIENT_NAME, peek(self._decoder, frames))
        try:
            self._on_message(self._decoder.decode(frames[0]), frames[1:])
        except BadMessage as error:
            ids = self._decoder.tasks_in(frames[0], *get_args(ToSubmitSide))
            self._handle(submission.TasksFailed(ids, TasksRefused(ids, f"{error}")))

    def _on_message(self, message: ToSubmitSide, frames: list[Buffer]) -> None:
        sequence = getattr(message, "sequence", 0)
        if sequence and not self._is_news(message.manager, sequence):  # type: ignore[union-attr]
            return
        match message:
            case Results():
                self._on_results(message, unpack(message.sizes, frames))
            case ManagerJoined():
                self._managers.on_joined(message)
            case ManagerLoss():
                self._managers.on_lost(message.manager)
                self._acknowledgements.forget(message.manager)
                self._handle(submission.TasksFailed(message.ids, message))
            case TasksTimedOut(ids=ids) | TasksOverMemory(ids=ids) | TasksCancelled(ids=ids) | TasksUnfit(ids=ids):
                self._handle(submission.TasksFailed(ids, message))
            case TasksRefused(ids=ids):
                event = submission.TasksFailed if message.manager else submission.TasksNotTaken
                self._handle(event(ids, message))
            case TasksRunning(manager, ids):
                for id_ in ids:
                    self._stage.ledger.said_to_run(id_, manager)
            case StandingReply():
                self._stage.ledger.answers += 1
            case StandingAtManager():
                self._on_standing(message)
            case WorkerLoss(id=id_):
                self._handle(submission.TasksFailed([id_], message))
            case _:
                pass  # what is for people

    def ask(self, ids: Sequence[int]) -> None:
        """People ask where these tasks are."""
        for id_ in ids:
            request = next(self._requests)
            self._asked_at[request] = id_
            self._say(StandingRequest(request, id_))

    def _on_standing(self, message: StandingAtManager) -> None:
        ledger, id_ = self._stage.ledger, self._asked_at[message.request]
        ledger.answers += 1
        if message.stage == "running":
            ledger.said_to_run(id_, message.manager)

    def _on_results(self, message: Results, payloads: Sequence[Payload]) -> None:
        for id_, payload in zip(message.ids, payloads, strict=True):
            if payload_buffers(payload) != payload_buffers(result_of(id_)):
                raise SafetyViolation(f"task {id_} has a result of another: {payload!r}")
        self._handle(submission.ResultsArrived(message.ids))

    def _is_news(self, manager: str, sequence: int) -> bool:
        if self._acknowledgements.next_deadline() is None:
            self._stage.world.after(1.0, self._acknowledge)
        return self._acknowledgements.note(manager, sequence, self._stage.world.now)

    def _acknowledge(self) -> None:
        self._say(self._acknowledgements.take())

    def _handle(self, event: submission.Event) -> None:
        ledger = self._stage.ledger
        for action in self._machine.handle(event):
            self._stage.note(CLIENT_NAME, action)
            match action:
                case submission.SendTasks(ids):
                    self._send(send_tasks([self._attempts[id_] for id_ in ids]))
                case submission.SendAlone(ids):
                    self._send_alone(ids)
                case submission.SendCancel(ids):
                    self._say(CancelTasks(ids))
                case submission.Resolve(ids):
                    for id_ in ids:
                        ledger.resolved(id_)
                    self._end(ids)
                case submission.Fail(ids, cause):
                    self._note_spoilt_functions(ids)
                    for id_ in ids:
                        ledger.failed(id_, cause)
                    self._end(ids)
                case submission.Resume(ids, unwanted):
                    self._resume(ids, unwanted)
                case submission.GiveUp():
                    ledger.given_up = True
                case _:
                    assert_never(action)
        self._machine.check_invariants()

    def _note_spoilt_functions(self, ids: Iterable[int]) -> None:
        attempts = [self._attempts[id_] for id_ in ids if id_ in self._attempts]
        spoilt = [attempt for attempt in attempts if attempt.executor_note.function in self._spoilt_functions]
        self._stage.ledger.spoilt.update(attempt.executor_id for attempt in spoilt)

    def _end(self, ids: Iterable[int]) -> None:
        """Functions that no attempt has any more may be forgotten."""
        for id_ in ids:
            number = self._attempts.pop(id_).executor_note.function
            self._uses[number] -= 1
            if not self._uses[number] and self._stage.world.chance(0.5):
                self._functions = {function: n for function, n in self._functions.items() if n != number}
                self._say(ForgetFunctions([number]))

    def _send_alone(self, ids: Iterable[int]) -> None:
        attempts = [self._attempts[id_] for id_ in ids]
        for number in dict.fromkeys(attempt.executor_note.function for attempt in attempts):
            self._send(define_functions({number: function_bytes(number)}))
        for attempt in attempts:
            self._send(send_tasks([attempt]))

    def _resume(self, ids: list[int], unwanted: list[int]) -> None:
        self._connection = Connection(self._stage.world, self._server, self, CLIENT_NAME, MAX_DELAY_S)
        self._server.start_again(self._connection)
        self.spoils_next = False  # what one interchange has taken makes sense to the next one, too
        functions = {number: function_bytes(number) for number in self._functions.values()}
        attempts = [self._attempts[id_] for id_ in ids]
        for frames in resume_messages(functions, attempts, unwanted, self._managers.connected, self._orders):
            self._send(frames)
        self._managers.on_restart(self._stage.world.now)

    def _say(self, message: Message) -> None:
        self._send([encode_header(message)])

    def _send(self, frames: list[Buffer]) -> None:
        message = peek(self._own, frames) if self.spoils_next else None
        if isinstance(message, Tasks | DefineFunctions):
            self.spoils_next = False
            spoilt = self._stage.ledger.spoilt if isinstance(message, Tasks) else self._spoilt_functions
            spoilt.update(message.ids)
            frames = self._stage.world.rng.choice([damage.confuse, damage.spoil_payload])(frames, self._stage.world.rng)
        self._connection.to_server(frames)


def _nothing() -> None:
    """What attempts call, in pretence."""


class _NoSink:
    """Nobody waits for outcomes here: the ledger is told."""

    def deliver(self, outcomes: object) -> None: ...

    def begun(self, attempts: object) -> None: ...

"""A worker's protocol object, frame by frame: what orders lead to, what is reported and when, and what ends it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fuzz.frames import Frames
from trellis.executors.common.proc_usage import ProcessUse
from trellis.executors.taskvine.embedded.worker import effects
from trellis.executors.taskvine.embedded.worker.effects import Effect
from trellis.executors.taskvine.embedded.worker.orders import CallEnd, TaskEnd
from trellis.executors.taskvine.embedded.worker.protocol import VineWorkerProtocol
from trellis.executors.taskvine.embedded.worker.reports import HOLD_S
from trellis.executors.taskvine.embedded.worker.state import VineWorkerSettings
from trellis.wire.codec import Decoder, Payload, encode_header, pack, unpack
from trellis.wire.measures import Sample, TaskSamples
from trellis.wire.messages import DefineFunctions, DismissManager, ForgetFunctions, Heartbeat, Message, Refused
from trellis.wire.vine import (
    VINE_PROTOCOL_VERSION,
    CacheFailed,
    CacheUpdated,
    CallsEnded,
    DefineShapes,
    Evict,
    FileChunk,
    FromVineWorker,
    GetFile,
    KillTasks,
    LibraryDown,
    LibrarySpec,
    LibraryUp,
    RegisterWorker,
    Resources,
    RunTasks,
    SendFile,
    StartLibrary,
    StopLibrary,
    TaskFailed,
    TaskShape,
    ToVineWorker,
    WelcomeWorker,
    WorkerLeaving,
)
from trellis.wire.vine_watching import VineTasksRunning

FROM_WORKER: Decoder[Any] = Decoder(FromVineWorker)
ONE_CORE = Resources(cores=1)
REGISTRATION = RegisterWorker(VINE_PROTOCOL_VERSION, "w", "h", 1, Resources(4, 100, 100, 0), [], "h:1", None, [], [])


class Worker:
    """What it says is decoded. Shape 0 is a task of its own, shape 1 a call; function 0 is known."""

    def __init__(self) -> None:
        self.now = 0.0
        self.protocol = VineWorkerProtocol(REGISTRATION, VineWorkerSettings(10.0, 100.0, None), 0.0)
        assert self.effects() == [REGISTRATION]
        assert self.hear(WelcomeWorker(["/imports"], 30.0, 60.0)) == [effects.UseImportPaths(["/imports"])]
        self.hear(DefineFunctions([0], []), b"function")
        self.hear(DefineShapes([0, 1], [TaskShape("regular", "c", ONE_CORE), TaskShape("serverless", "c", ONE_CORE)]))

    def effects(self) -> list[Any]:
        self.protocol.state.check_invariants()
        return [_readable(effect) for effect in self.protocol.effects()]

    def hear(self, message: Message | list[bytes], *payloads: Payload) -> list[Any]:
        frames: list[Any] = message if isinstance(message, list) else _frames(message, payloads)
        self.protocol.on_frames(frames, self.now)
        return self.effects()

    def run(self, *ids: int, instance: int = -1, function: int = 0, **files: Any) -> list[Any]:
        call, count = instance >= 0, len(ids)
        given: list[Resources | None] = [None if call else ONE_CORE] * count
        shapes, instances = [int(call)] * count, [instance] * count
        message = RunTasks(list(ids), [function] * count, shapes, given, instances, [], **files)
        return self.hear(message, *[f"arguments of {id_}".encode() for id_ in ids])

    def library(self, instance: int = 7, slots: int = 2) -> None:
        start = StartLibrary(LibrarySpec("lib", slots=slots), instance, ONE_CORE, [], "", [])
        (effect,) = self.hear(start, b"context")
        assert (effect.start.instance, effect.start.slots, effect.start.context_arguments) == (
            instance,
            slots,
            b"context",
        )
        self.protocol.on_library_ready(instance, self.now)
        assert self.effects() == [LibraryUp("lib", instance, slots)]

    def due(self) -> list[Any]:
        """What is said at the end of this turn."""
        self.protocol.on_deadline(self.now)
        return self.effects()


@pytest.fixture
def worker() -> Worker:
    return Worker()


def test_what_runs_is_told_with_the_time_by_this_hosts_clock() -> None:
    it = Worker()
    it.protocol._epoch = 1_000.0
    it.run(5)
    it.protocol.on_deadline(1.5)
    assert VineTasksRunning("w", [5], [1_000.0]) in it.effects()


def test_samples_are_of_what_is_still_there() -> None:
    it = Worker()
    it.run(5)
    use = ProcessUse(7, 0.5, 1, 2.0, 3.0, 4, 5, 6, 7, "running", "3", 8, 9)
    it.protocol.on_sampled({5: use, 9: use}, 2.0)
    assert it.effects() == [TaskSamples("w", [5], [Sample(*use)], 2.0)]
    it.protocol.on_sampled({9: use}, 2.0)
    assert it.effects() == []


def _frames(message: Any, payloads: tuple[Payload, ...]) -> list[Any]:
    if not payloads:
        return [encode_header(message)]
    message.sizes, frames = pack(payloads)
    return [encode_header(message), *frames]


def _readable(effect: Effect) -> Any:
    return FROM_WORKER.decode(effect.frames[0]) if isinstance(effect, effects.ToManager) else effect


def end(payload: Payload | None = b"result", **more: Any) -> TaskEnd:
    given: dict[str, Any] = {"exit_code": 0, "reason": "", "failed": False, "started": 1.0, "duration_s": 0.5}
    return TaskEnd(payload=payload, **{**given, "missing": "", "made": [], "spoilt": [], **more})


def call_end(id_: int, **more: Any) -> CallEnd:
    given: dict[str, Any] = {"failed": False, "started": 1.0, "duration_s": 0.5, "payload": b"result", "missing": ""}
    return CallEnd(id_, **{**given, "made": [], "spoilt": [], **more})


# -- tasks with processes of their own -------------------------------------------------------------------------------


def test_a_task_is_started_with_what_came_and_its_result_goes_at_the_end_of_the_turn(worker: Worker) -> None:
    first, second = worker.run(5, 6, inputs={0: [("f1", "in")]}, environments={1: "env"})
    assert isinstance(first, effects.StartProcess)
    assert (first.start.id, first.start.arguments, first.start.inputs) == (5, b"arguments of 5", [("f1", "in")])
    assert (first.start.allocation, first.start.environment, second.start.environment) == (ONE_CORE, "", "env")
    assert (first.function, worker.protocol.waiting) == (b"function", [])
    worker.protocol.on_process_ended(5, end(made=[("t1", 9)], spoilt=["f1"]), 1.0)
    lost, made = worker.effects()
    assert isinstance(lost, CacheFailed)
    assert (lost.name, made) == ("f1", CacheUpdated(["t1"], [9], [0.5]))
    worker.protocol.on_process_ended(6, end(b"exception", failed=True), 1.0)
    worker.protocol.on_deadline(1.0)
    (sent,) = worker.protocol.effects()
    assert isinstance(sent, effects.ToManager)
    ended = FROM_WORKER.decode(sent.frames[0])
    assert (ended.ids, ended.failed) == ([5, 6], [1])
    assert unpack(ended.sizes, sent.frames[1:]) == [b"result", b"exception"]


def test_a_task_that_cannot_start_is_reported_with_the_files_that_are_gone(worker: Worker) -> None:
    worker.run(5, inputs={0: [("f1", "in")]})
    worker.protocol.on_process_failed(5, "an input is gone", ["f1"], 1.0)
    lost, failed = worker.effects()
    assert lost == CacheFailed("f1", "", "it has gone from the worker's cache")
    assert (failed.id, failed.status, failed.reason) == (5, "forsaken", "an input is gone")


def test_a_task_whose_function_nobody_has_defined_is_forsaken(worker: Worker) -> None:
    (failed,) = worker.run(5, function=9)
    assert (failed.status, failed.reason) == ("forsaken", "it could not be started: function 9 is not known here")
    worker.library()
    (failed,) = worker.run(6, function=9, instance=7)
    assert (failed.id, failed.status) == (6, "forsaken")
    assert worker.protocol.waiting == []


def test_a_task_that_was_killed_reports_why(worker: Worker) -> None:
    worker.run(5)
    assert worker.hear(KillTasks([5])) == [effects.KillProcess(5)]
    worker.protocol.on_process_ended(5, end(None, exit_code=-9, reason="SIGKILL"), 1.0)
    (failed,) = worker.effects()
    assert isinstance(failed, TaskFailed)
    assert failed.status == "cancelled"


def test_a_function_is_forgotten(worker: Worker) -> None:
    assert worker.hear(ForgetFunctions([0])) == [effects.ForgetFunctions([0])]
    (failed,) = worker.run(5)
    assert failed.status == "forsaken"


# -- libraries and their calls ---------------------------------------------------------------------------------------


def test_results_of_calls_wait_for_each_other_while_their_library_has_enough_to_do(worker: Worker) -> None:
    worker.library(slots=1)
    calls = worker.run(1, 2, 3, 4, 5, instance=7)
    assert [(call.instance, call.start.id, call.function) for call in calls] == [
        (7, id_, b"function") for id_ in range(1, 6)
    ]
    worker.protocol.on_call_ended(7, call_end(1), worker.now)
    assert worker.due() == []
    assert worker.protocol.next_deadline() == worker.now + HOLD_S
    worker.protocol.on_call_ended(7, call_end(2), worker.now)
    worker.now += HOLD_S
    (ended,) = worker.due()
    assert ended.ids == [1, 2]


def test_what_is_said_later_comes_later(worker: Worker) -> None:
    worker.library(slots=1)
    worker.run(1, 2, 3, instance=7)
    worker.protocol.on_call_ended(7, call_end(1, made=[("t", 1)]), worker.now)
    worker.protocol.on_file_came("f", 3, 0.1)
    assert [type(said) for said in worker.effects()] == [CacheUpdated, CallsEnded, CacheUpdated]


def test_a_call_that_died_or_lacks_an_output_has_no_result(worker: Worker) -> None:
    worker.library()
    worker.run(1, 2, instance=7)
    worker.protocol.on_call_ended(7, call_end(1, missing="it did not make x", spoilt=["f"]), worker.now)
    lost, failed = worker.effects()
    assert (lost.name, failed.id, failed.status, failed.reason) == ("f", 1, "output_missing", "it did not make x")
    worker.protocol.on_call_died(7, 2, -11, "SIGSEGV", [("t", 1)], [], worker.now)
    made, failed = worker.effects()
    assert (made.names, failed.id, failed.status, failed.exit_code) == (["t"], 2, "signal", -11)


def test_a_library_that_dies_takes_its_calls_along(worker: Worker) -> None:
    worker.library(slots=1)
    worker.run(1, 2, instance=7)
    worker.protocol.on_library_ended(7, "SIGKILL", worker.now)
    told = worker.effects()
    assert {each.id: each.status for each in told if isinstance(each, TaskFailed)} == {1: "library_exit", 2: "forsaken"}
    assert isinstance(told[-1], LibraryDown)
    # What comes later finds no library.
    (failed,) = worker.run(3, instance=7)
    assert (failed.id, failed.status) == (3, "forsaken")
    assert worker.protocol.waiting == []


def test_a_library_is_stopped(worker: Worker) -> None:
    worker.library()
    assert worker.hear(StopLibrary(7)) == [effects.KillLibrary(7)]


# -- files -----------------------------------------------------------------------------------------------------------


def test_files_come_and_go(worker: Worker) -> None:
    order = GetFile("f", "", "workflow", 3)
    assert worker.hear(order) == [effects.BringFile(order)]
    worker.protocol.ask_for_piece(SendFile("f", 0, 10))
    assert worker.effects() == [SendFile("f", 0, 10)]
    piece = FileChunk("f", 0, 3)
    assert worker.hear([encode_header(piece), b"abc"]) == [effects.TakePiece(piece, b"abc")]
    worker.protocol.on_file_came("f", 3, 0.5)
    assert worker.effects() == [CacheUpdated(["f"], [3], [0.5])]
    assert worker.hear(SendFile("f", 0, 10)) == [effects.ReadPiece(SendFile("f", 0, 10))]
    worker.protocol.on_piece_read(piece, b"abc")
    assert worker.effects() == [piece]
    assert worker.hear(Evict(["f"])) == [effects.RemoveFiles(["f"])]
    worker.protocol.on_file_missing("g", "peer:1", "it broke")
    assert worker.effects() == [CacheFailed("g", "peer:1", "it broke")]


# -- the manager -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b"garbage"],
        [encode_header(CacheFailed("f", "", "what a worker says"))],
        [encode_header(RunTasks([1], [0], [9], [ONE_CORE], [-1], [0])), b""],
        [encode_header(RunTasks([1], [0], [0], [], [-1], [0])), b""],
        [encode_header(RunTasks([1], [0], [0], [ONE_CORE], [-1], [9])), b"short"],
        [encode_header(RunTasks([1], [0], [0], [ONE_CORE], [-1], [0], {0: [("../../etc", "x")]})), b""],
        [encode_header(RunTasks([1], [0], [0], [ONE_CORE], [-1], [0], result_names={0: "a/b"})), b""],
        [encode_header(StartLibrary(LibrarySpec("lib"), 1, ONE_CORE, [], "", []))],
        [encode_header(StartLibrary(LibrarySpec("lib", context_function=9), 1, ONE_CORE, [], "", [0])), b""],
        [encode_header(StartLibrary(LibrarySpec("lib", slots=-1), 1, ONE_CORE, [], "", [0])), b""],
        [encode_header(DefineFunctions([1], [-2])), b"", b"two", b"frames"],
        [encode_header(DefineShapes([1], []))],
        [encode_header(GetFile("../f", "", "workflow", 1))],
        [encode_header(SendFile("", 0, 1))],
        [encode_header(Evict([".."]))],
    ],
)
def test_a_bad_message_of_the_manager_ends_the_worker_with_its_reason(worker: Worker, frames: list[bytes]) -> None:
    (leave,) = worker.hear(frames)
    assert isinstance(leave, effects.Leave)
    assert leave.exit.reason.startswith("the manager sent a bad message: ")
    worker.protocol.leave(leave.exit.reason)
    (last,) = worker.effects()
    assert isinstance(last, WorkerLeaving)
    assert worker.protocol.waiting == []


@pytest.mark.parametrize("message", [DismissManager("enough"), Refused("enough")])
def test_a_worker_that_is_dismissed_leaves(worker: Worker, message: Message) -> None:
    (leave,) = worker.hear(message)
    assert (leave.exit.reason, leave.exit.again) == ("dismissed: enough", False)
    assert worker.hear(SendFile("f", 0, 1)) == [effects.ReadPiece(SendFile("f", 0, 1))]
    assert worker.hear(DismissManager("again")) == []


def test_a_worker_whose_connection_broke_comes_back_as_another(worker: Worker) -> None:
    worker.run(5)
    worker.protocol.on_connection_lost(1.0)
    (leave,) = worker.effects()
    assert leave.exit.again
    worker.protocol.on_process_ended(5, end(), 1.0)  # it says no more of what it had
    assert worker.due() == []


def test_it_beats_and_leaves_when_the_manager_is_silent(worker: Worker) -> None:
    worker.now = worker.protocol.next_deadline()
    assert worker.now == 10.0
    assert worker.due() == [Heartbeat(), effects.LookAround()]
    assert worker.due() == []
    assert worker.hear(Heartbeat()) == []
    worker.now = 59.0
    told = worker.due()
    assert Heartbeat() in told
    worker.now = 75.0  # 60 s without a task, as the manager wants it
    (leave, *_) = worker.due()
    assert isinstance(leave, effects.Leave)
    assert "nothing to do" in leave.exit.reason


@pytest.mark.parametrize("seed", range(8))
def test_it_goes_on_or_leaves_whatever_comes(seed: int) -> None:
    worker = Worker()
    known = ["f1", "f2", "regular", "lib", "workflow"]
    frames = Frames(seed, ToVineWorker, range(20), lambda each: isinstance(each, DismissManager | Refused), known)
    for _ in range(300):
        told = worker.hear(list(frames.next()))
        if any(isinstance(each, effects.Leave) for each in told):
            worker = Worker()

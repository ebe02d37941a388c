"""A manager's protocol object, frame by frame: who is heard, what a bad message costs, what effects lead to."""

from __future__ import annotations

import io
from random import Random
from typing import Any

import pytest

from tests.fuzz.frames import Frames
from tests.simulation.vine_scenario import CLIENT, VineScenario, settings_of
from tests.unit.executors.taskvine.embedded.manager.managing import registration
from trellis.executors.taskvine.embedded.manager import effects
from trellis.executors.taskvine.embedded.manager.effects import Effect
from trellis.executors.taskvine.embedded.manager.file_registry import Named
from trellis.executors.taskvine.embedded.manager.protocol import VineManagerProtocol
from trellis.executors.taskvine.embedded.manager.state import VineManagerState
from trellis.executors.taskvine.embedded.manager.transactions import Transactions
from trellis.wire.codec import Decoder, Payload, encode_header, pack, unpack
from trellis.wire.measures import Sample, TaskSamples
from trellis.wire.messages import DefineFunctions, DismissManager, ForgetFunctions, Heartbeat, Message, Shutdown
from trellis.wire.vine import (
    CacheFailed,
    CacheUpdated,
    CallsEnded,
    CancelVineTasks,
    DeclareFiles,
    DefineShapes,
    FetchFile,
    FileChunk,
    FileFetched,
    FileSpec,
    FromVineClient,
    FromVineWorker,
    GetFile,
    InstallLibraries,
    LibrarySpec,
    Mount,
    Resources,
    RunTasks,
    SendFile,
    TaskShape,
    ToVineClient,
    ToVineWorker,
    VineResults,
    VineStatus,
    VineStatusRequest,
    VineTaskFailed,
    VineTasks,
    WelcomeWorker,
    WorkerJoined,
    WorkerLeaving,
    WorkerLeft,
)
from trellis.wire.vine_watching import SeenFile, VineFilesSeen, VineStandingRequest, VineTasksRunning

TO_CLIENT: Decoder[Any] = Decoder(ToVineClient)
TO_WORKER: Decoder[Any] = Decoder(ToVineWorker)
ONE_CORE = Resources(cores=1)


class Manager:
    """What it says is decoded; files are named "f" and their numbers when a test says so."""

    def __init__(self, **settings: Any) -> None:
        machine, told = settings_of(VineScenario())
        for name, value in settings.items():
            setattr(told, name, value)
        self.state = VineManagerState(machine, Random(1))
        self.log = io.StringIO()
        self.protocol = VineManagerProtocol(told, self.state, Transactions(self.log, lambda: 0.0))
        self.now = 0.0

    def _effects(self) -> list[Any]:
        self.protocol.check_invariants()
        return [_readable(effect) for effect in self.protocol.effects()]

    def client(self, message: Message | bytes, *payloads: Payload, peer: str = CLIENT) -> list[Any]:
        self.protocol.on_client_frames(peer.encode(), _frames(message, payloads), self.now)
        return self._effects()

    def worker(self, name: str, message: Message | bytes, *payloads: Payload, connection: int = 1) -> list[Any]:
        self.protocol.on_worker_frames(name.encode(), connection, _frames(message, payloads), self.now)
        return self._effects()

    def frames(self, name: str, frames: list[Any], connection: int = 1) -> list[Any]:
        self.protocol.on_worker_frames(name.encode(), connection, frames, self.now)
        return self._effects()

    def closed(self, *connections: int) -> list[Any]:
        self.protocol.on_closed_connections(list(connections), self.now)
        return self._effects()

    def named(self, *files: FileSpec) -> list[Any]:
        here = [file.kind == "buffer" for file in files]
        names = [Named(f"f{file.id}", 3, path="/x" if path else "") for file, path in zip(files, here, strict=True)]
        self.protocol.on_files_named(files, names, self.now)
        return self._effects()

    def declare(self, *files: FileSpec) -> list[Any]:
        assert self.client(DeclareFiles(list(files), []), *[b"abc" for _ in files])
        return self.named(*files)

    def join(self, name: str, connection: int = 1, **more: Any) -> list[Any]:
        return self.worker(name, registration(name, **more), connection=connection)

    def submit(self, *ids: int, **files: Any) -> list[Any]:
        """Tasks that ask for one core each, with arguments of their own."""
        count = len(ids)
        message = VineTasks(list(ids), [0] * count, [0] * count, [], **files)
        return self.client(message, *[f"arguments of {id_}".encode() for id_ in ids])


@pytest.fixture
def manager() -> Manager:
    it = Manager()
    it.client(VineStatusRequest(0))
    it.client(DefineFunctions([0], []), b"function")
    it.client(DefineShapes([0], [TaskShape("regular", "c", ONE_CORE)]))
    return it


def _frames(message: Message | bytes, payloads: tuple[Payload, ...]) -> list[Any]:
    if isinstance(message, bytes):
        return [message, *payloads]
    if not payloads and not getattr(message, "sizes", None):
        return [encode_header(message)]
    sizes, frames = pack(payloads)
    if not message.sizes:  # type: ignore[attr-defined]
        message.sizes = sizes  # type: ignore[attr-defined]
    return [encode_header(message), *frames]


def _readable(effect: Effect) -> Any:
    """Who is told what; other effects as they are."""
    match effect:
        case effects.ToWorker(peer, frames):
            return peer.decode(), TO_WORKER.decode(frames[0])
        case effects.ToClient(peer, frames):
            return peer.decode(), TO_CLIENT.decode(frames[0])
    return effect


def said(told: list[Any], whom: str) -> list[Any]:
    return [each[1] for each in told if type(each) is tuple and each[0] == whom]


def ended(*ids: int) -> CallsEnded:
    count = len(ids)
    return CallsEnded(list(ids), [], [1.0] * count, [0.5] * count, [])


def a_file(number: int, kind: str = "buffer", **more: Any) -> FileSpec:
    return FileSpec(number, kind, "", "workflow", **more)


# -- a task's way --------------------------------------------------------------------------------------------------


def test_a_task_goes_to_a_worker_and_its_result_to_the_submit_side(manager: Manager) -> None:
    joined = manager.join("w")
    assert [type(each) for each in said(joined, "w")] == [WelcomeWorker]
    assert [type(each) for each in said(joined, CLIENT)] == [WorkerJoined]
    manager.client(VineStatusRequest(1))
    assert [type(each) for each in said(manager.submit(5), "w")] == [DefineFunctions, DefineShapes, RunTasks]
    assert [type(each) for each in said(manager.submit(6), "w")] == [RunTasks]
    manager.protocol.on_worker_frames(b"w", 1, _frames(ended(6, 5), (b"six", b"five")), 1.0)
    (answer,) = manager.protocol.effects()
    assert isinstance(answer, effects.ToClient)
    results = TO_CLIENT.decode(answer.frames[0])
    assert isinstance(results, VineResults)
    assert dict(zip(results.ids, unpack(results.sizes, answer.frames[1:]), strict=True)) == {5: b"five", 6: b"six"}
    assert manager.protocol.kept == (0, 0)
    assert "TASK 6 DONE" in manager.log.getvalue() or manager.protocol._log._lines


def test_a_result_that_comes_twice_is_reported_once(manager: Manager) -> None:
    manager.join("w")
    manager.submit(5)
    assert len(said(manager.worker("w", ended(5), b"x"), CLIENT)) == 1
    assert manager.worker("w", ended(5), b"x") == []
    assert manager.protocol.kept == (0, 0)


# -- for people who watch ------------------------------------------------------------------------------------------

SAMPLE = Sample(7, 0.5, 1, 2.0, 3.0, 4, 5, 6, 7, "running", "3", 8, 9)


def test_what_runs_is_passed_on_as_far_as_it_is_known_to_be_there(manager: Manager) -> None:
    manager.join("w")
    manager.join("x", connection=2)
    manager.submit(5)
    at = manager.state.store.tasks[5].place.worker  # type: ignore[union-attr]
    other = "x" if at == "w" else "w"
    connection = {"w": 1, "x": 2}
    told = manager.worker(at, VineTasksRunning("", [5, 9], [1.0, 2.0]), connection=connection[at])
    assert said(told, CLIENT) == [VineTasksRunning(at, [5], [1.0])]
    sampled = manager.worker(at, TaskSamples("", [9, 5], [SAMPLE, SAMPLE], 3.0), connection=connection[at])
    assert said(sampled, CLIENT) == [TaskSamples(at, [5], [SAMPLE], 3.0)]
    assert manager.worker(other, VineTasksRunning("", [5], [1.0]), connection=connection[other]) == []


@pytest.mark.parametrize(
    "bad", [VineTasksRunning("w", [1, 2], [0.0]), TaskSamples("w", [1], [], 0.0)], ids=lambda bad: type(bad).__name__
)
def test_a_worker_whose_words_do_not_belong_together_is_given_up(manager: Manager, bad: Message) -> None:
    manager.join("w")
    assert [type(each) for each in said(manager.worker("w", bad), "w")] == [DismissManager]


def test_it_is_told_where_a_task_is_also_while_files_are_read(manager: Manager) -> None:
    manager.submit(5)
    (waits,) = said(manager.client(VineStandingRequest(3, 5)), CLIENT)
    assert (waits.request, waits.stage, waits.position) == (3, "queued", 0)
    manager.client(DeclareFiles([a_file(1)], []), b"abc")
    manager.submit(6)
    (unheard,) = said(manager.client(VineStandingRequest(4, 6)), CLIENT)
    assert unheard.text == "the manager has not come to it: it reads files that tasks have named"
    manager.named(a_file(1))
    (heard,) = said(manager.client(VineStandingRequest(5, 6)), CLIENT)
    assert heard.position == 1


def test_a_status_tells_what_keeps_tasks_waiting(manager: Manager) -> None:
    manager.client(InstallLibraries([LibrarySpec("lib")], []), b"")
    manager.client(DefineShapes([1], [TaskShape("serverless", "c", ONE_CORE, library="lib")]))
    manager.join("w")
    manager.client(VineTasks([5], [0], [1], []), b"x")
    (status,) = said(manager.client(VineStatusRequest(1)), CLIENT)
    assert status.notes == ["library lib is not ready: it is starting"]
    assert (status.workers[0].state, status.workers[0].assigned) == ("active", 0)


def test_files_and_libraries_are_told_of_when_the_run_is_recorded() -> None:
    manager = Manager(recorded=True)
    manager.client(VineStatusRequest(0))
    manager.client(DefineFunctions([0], []), b"function")
    manager.client(DefineShapes([0], [TaskShape("regular", "c", ONE_CORE)]))
    manager.join("w")
    manager.declare(a_file(1))
    manager.submit(5, inputs={0: [Mount(1, "in")]})
    manager.worker("w", CacheUpdated(["f1"], [3], [0.5]))
    assert manager.protocol.next_deadline() == 0.5
    manager.protocol.on_deadline(0.5)
    (news,) = [each for each in said(manager._effects(), CLIENT) if isinstance(each, VineFilesSeen)]
    assert news.files == [SeenFile("f1", "buffer", "w", "transferred", 3, "", 0.0, 0.5)]


# -- the submit side -----------------------------------------------------------------------------------------------


def test_nobody_but_the_client_is_heard_at_its_port(manager: Manager) -> None:
    assert manager.client(VineStatusRequest(7), peer="somebody") == []
    assert manager.client(Shutdown(), peer="somebody") == []
    ((whom, status),) = manager.client(VineStatusRequest(7))
    assert (whom, type(status), status.request) == (CLIENT, VineStatus, 7)


def test_without_a_name_whoever_speaks_is_the_client() -> None:
    manager = Manager(client_name="")
    assert said(manager.client(VineStatusRequest(7), peer="anybody"), "anybody")
    assert said(manager.join("w"), "anybody")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"garbage",
        encode_header(Heartbeat()),
        encode_header(DefineShapes([1, 2], [])),
        encode_header(DefineShapes([1], [TaskShape("regular", "c", ONE_CORE, environment=9)])),
        encode_header(DeclareFiles([a_file(1)], [])),
        encode_header(DeclareFiles([FileSpec(1, "thing", "", "workflow")], [0])),
        encode_header(DeclareFiles([FileSpec(1, "buffer", "", "always")], [0])),
        encode_header(InstallLibraries([LibrarySpec("lib", inputs=[Mount(9, "x")])], [0])),
        encode_header(InstallLibraries([LibrarySpec("lib")], [])),
        encode_header(InstallLibraries([LibrarySpec("lib", slots=-1)], [0])),
    ],
)
def test_a_bad_message_of_the_client_changes_nothing(manager: Manager, message: bytes) -> None:
    assert manager.client(message, b"") == []
    assert manager.submit(1) == []
    assert said(manager.join("w"), "w")


def test_only_what_makes_no_sense_itself_is_refused(manager: Manager) -> None:
    manager.join("w")
    message = VineTasks([1, 2], [0, 77], [0, 0], [])
    told = manager.client(message, b"one", b"two")
    (refused,) = said(told, CLIENT)
    assert (type(refused), refused.id) == (VineTaskFailed, 2)
    assert "it was refused: functions or shapes that were not declared: [77]" in refused.reason
    assert [each.ids for each in said(told, "w") if isinstance(each, RunTasks)] == [[1]]


def test_files_of_a_task_that_a_message_does_not_name(manager: Manager) -> None:
    manager.declare(a_file(3))
    (refused,) = said(manager.submit(1, inputs={4: [Mount(3, "x")]}), CLIENT)
    assert "files of a task that it does not name" in refused.reason


def test_what_is_said_after_a_declaration_waits_for_the_names(manager: Manager) -> None:
    manager.join("w")
    (asked,) = manager.client(DeclareFiles([a_file(3)], []), b"abc")
    assert asked == effects.NameFiles([a_file(3)], [b"abc"])
    assert manager.submit(1, inputs={0: [Mount(3, "x")]}) == []
    assert manager.client(DeclareFiles([a_file(4)], []), b"abc") == []
    assert manager.submit(2, inputs={0: [Mount(4, "x")]}) == []
    # It is not dead meanwhile, and can be told to end.
    assert said(manager.client(VineStatusRequest(9)), CLIENT)[0].request == 9
    told = manager.named(a_file(3))
    assert effects.NameFiles([a_file(4)], [b"abc"]) in told
    assert [each.name for each in said(told, "w") if isinstance(each, GetFile)] == ["f3"]
    assert [each.name for each in said(manager.named(a_file(4)), "w") if isinstance(each, GetFile)] == ["f4"]
    manager.client(DeclareFiles([a_file(5)], []), b"abc")
    assert manager.client(Shutdown()) == [effects.End()]


def test_a_function_that_is_forgotten_is_forgotten_by_who_has_it(manager: Manager) -> None:
    manager.join("w")
    manager.join("idle", connection=2)
    manager.submit(1)
    busy = next(name for name in ("w", "idle") if manager.state.store.workers[name].tasks)
    manager.worker(busy, ended(1), b"x", connection=1 if busy == "w" else 2)
    assert manager.client(ForgetFunctions([0])) == [(busy, ForgetFunctions([0]))]


# -- who is connected ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b"garbage"],
        [encode_header(ended(1))[:-1]],
        [encode_header(CallsEnded([1], [], [1.0], [1.0], [10]))],
        [encode_header(CallsEnded([1], [], [1.0], [1.0], [10])), b"short"],
        [encode_header(CallsEnded([1], [7], [1.0], [1.0], [0])), b""],
        [encode_header(CancelVineTasks([1]))],
        [encode_header(registration("another"))],
        [encode_header(registration(""))],
        [encode_header(SendFile("f", -5, 10))],
    ],
)
def test_a_bad_message_costs_a_worker_its_place_and_its_tasks_nothing(manager: Manager, frames: list[bytes]) -> None:
    manager.join("bad")
    manager.submit(1)
    manager.join("good", connection=2)
    told = manager.frames("bad", frames)
    (dismissed,) = said(told, "bad")
    assert isinstance(dismissed, DismissManager)
    assert "it sent a bad message" in dismissed.reason
    assert [type(each) for each in said(told, CLIENT)] == [WorkerLeft]
    assert [each.ids for each in said(told, "good") if isinstance(each, RunTasks)] == [[1]]
    # What it says later does not count, and it is told again when it has not understood.
    assert manager.worker("bad", ended(1), b"wrong") == []
    assert [type(each) for each in said(manager.worker("bad", Heartbeat()), "bad")] == [DismissManager]
    assert said(manager.worker("good", ended(1), b"right", connection=2), CLIENT)


def test_nobody_registers_in_the_name_of_another(manager: Manager) -> None:
    manager.join("w")
    told = manager.worker("thief", registration("w"), connection=2)
    assert [type(each) for each in said(told, "thief")] == [DismissManager]
    assert list(manager.state.store.workers) == ["w"]


def test_a_worker_whose_connection_ended_is_gone_at_once(manager: Manager) -> None:
    manager.join("w", connection=4)
    manager.submit(1)
    manager.join("other", connection=5)
    told = manager.closed(4)
    assert [type(each) for each in said(told, CLIENT)] == [WorkerLeft]
    assert effects.DropSource("w") in told
    assert [each.ids for each in said(told, "other") if isinstance(each, RunTasks)] == [[1]]
    assert manager.closed(4) == []


def test_a_name_on_a_new_connection_has_lost_what_was_under_way(manager: Manager) -> None:
    """There need be no news of the old connection's end: another message is enough."""
    manager.join("w", connection=4)
    manager.submit(1)
    assert manager.protocol.is_new(b"w", 5)
    told = manager.worker("w", ended(1), b"x", connection=5)
    assert [type(each) for each in said(told, CLIENT)] == [WorkerLeft]
    assert [type(each) for each in said(manager.worker("w", Heartbeat(), connection=5), "w")] == [DismissManager]
    assert manager.closed(4) == []
    welcome, *_, run = said(manager.join("w", connection=5), "w")
    assert (type(welcome), type(run)) == (WelcomeWorker, RunTasks)


def test_a_late_word_of_a_worker_that_is_gone_does_not_harm_who_has_its_connections_number(manager: Manager) -> None:
    manager.join("old", connection=4)
    manager.closed(4)
    manager.join("new", connection=4)
    assert manager.worker("old", ended(9), b"x", connection=4) == []
    assert manager.worker("old", WorkerLeaving("old", "why"), connection=4) == []
    assert not manager.protocol.is_new(b"new", 4)
    assert list(manager.state.store.workers) == ["new"]


def test_who_asks_for_the_status_is_no_worker(manager: Manager) -> None:
    manager.join("w")
    manager.protocol.on_worker_frames(b"somebody", 9, [encode_header(VineStatusRequest(3))], 0.0)
    (answer,) = manager.protocol.effects()
    assert isinstance(answer, effects.ToWorker)
    assert (answer.peer, TO_CLIENT.decode(answer.frames[0]).request) == (b"somebody", 3)
    assert list(manager.state.store.workers) == ["w"]


def test_a_worker_with_files_that_nobody_has_declared_is_in_the_status(manager: Manager) -> None:
    manager.join("w", cached=["file-of-another-run"], cached_sizes=[2_000_000])
    (status,) = said(manager.client(VineStatusRequest(1)), CLIENT)
    assert [(worker.files, worker.cached_mb) for worker in status.workers] == [(1, 2.0)]


def test_the_end_dismisses_everybody(manager: Manager) -> None:
    manager.join("v", connection=1)
    manager.join("w", connection=2)
    manager.protocol.dismiss_all()
    assert [(whom, type(message)) for whom, message in manager._effects()] == [
        ("v", DismissManager),
        ("w", DismissManager),
    ]


# -- files ---------------------------------------------------------------------------------------------------------


def test_a_piece_of_a_file_of_this_host_is_read_and_sent(manager: Manager) -> None:
    manager.declare(a_file(3))
    manager.join("w")
    request = SendFile("f3", 0, 10)
    assert manager.worker("w", request) == [effects.ReadPiece("w", request)]
    manager.protocol.on_piece_read("w", FileChunk("f3", 0, 3), b"abc")
    assert manager._effects() == [("w", FileChunk("f3", 0, 3))]
    (status,) = said(manager.client(VineStatusRequest(1)), CLIENT)
    assert status.sent_by_manager == 3


def test_a_file_that_only_workers_have_goes_through_the_manager(manager: Manager) -> None:
    manager.declare(a_file(3, "temp"))
    manager.join("has", connection=1)
    manager.join("wants", connection=2)
    manager.submit(1, result_files={0: 3})
    at = next(name for name in ("has", "wants") if manager.state.store.workers[name].tasks)
    other = "wants" if at == "has" else "has"
    numbers = {"has": 1, "wants": 2}
    manager.worker(at, CacheUpdated(["f3"], [3], [0.1]), connection=numbers[at])
    manager.worker(at, ended(1), b"", connection=numbers[at])
    request = SendFile("f3", 0, 10)
    assert manager.worker(other, request, connection=numbers[other]) == [(at, request)]
    chunk = FileChunk("f3", 0, 3)
    told = manager.frames(at, [encode_header(chunk), b"abc"], numbers[at])
    assert (other, chunk) in told


def test_a_content_is_brought_from_another_worker_when_the_first_is_gone(manager: Manager) -> None:
    manager.declare(a_file(3, "temp"))
    manager.join("w")
    manager.submit(1, result_files={0: 3})
    manager.worker("w", CacheUpdated(["f3"], [3], [0.1]))
    manager.worker("w", ended(1), b"")
    assert manager.client(FetchFile(8, 3)) == [effects.BringContent(8, "w", "f3")]
    manager.protocol.ask_for_piece("w", SendFile("f3", 0, 10))
    assert manager._effects() == [("w", SendFile("f3", 0, 10))]
    assert effects.DropSource("w") in manager.closed(1)
    manager.protocol.on_source_dropped([8], 1.0)
    manager._effects()
    # The task runs again for it, at the next worker.
    told = manager.join("v", connection=2)
    assert [each.ids for each in said(told, "v") if isinstance(each, RunTasks)] == [[1]]
    manager.worker("v", CacheUpdated(["f3"], [3], [0.1]), connection=2)
    told = manager.worker("v", ended(1), b"", connection=2)
    assert told == [] or effects.BringContent(8, "v", "f3") in told
    manager.protocol.on_content(8, "", b"abc")
    assert [(each.request, each.error) for each in said(manager._effects(), CLIENT)] == [(8, "")]


def test_a_fetch_of_what_nobody_knows_is_answered(manager: Manager) -> None:
    (answer,) = said(manager.client(FetchFile(8, 99)), CLIENT)
    assert isinstance(answer, FileFetched)
    assert answer.error


def test_a_task_is_done_when_its_output_is_home(manager: Manager) -> None:
    manager.declare(FileSpec(3, "file", "/home/f", "workflow", made=True))
    manager.join("w")
    manager.submit(1, outputs={0: [Mount(3, "out")]})
    manager.worker("w", CacheUpdated(["f3"], [3], [0.1]))
    assert manager.worker("w", ended(1), b"x") == [effects.BringHome("w", "f3")]
    piece = FileChunk("f3", 0, 3)
    assert manager.frames("w", [encode_header(piece), b"abc"]) == [effects.TakePiece("w", piece, b"abc")]
    manager.protocol.on_came_home("f3", "", True, 2.0)
    (results,) = said(manager._effects(), CLIENT)
    assert results.ids == [1]
    # From now on workers get it here.
    request = SendFile("f3", 0, 10)
    assert manager.worker("w", request) == [effects.ReadPiece("w", request)]


def test_a_file_that_a_worker_cannot_get_is_ordered_again(manager: Manager) -> None:
    manager.declare(a_file(3))
    manager.join("w")
    told = manager.submit(1, inputs={0: [Mount(3, "x")]})
    assert said(told, "w") == [GetFile("f3", "", "workflow", 3)]
    again = said(manager.worker("w", CacheFailed("f3", "", "no room")), "w")
    while not again:
        manager.now += 1.0
        manager.worker("w", Heartbeat())
        manager.protocol.on_deadline(manager.now)
        again = said(manager._effects(), "w")
    assert again == [GetFile("f3", "", "workflow", 3)]
    told = manager.worker("w", CacheUpdated(["f3"], [3], [0.1]))
    assert [each.ids for each in said(told, "w") if isinstance(each, RunTasks)] == [[1]]


# -- whatever comes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_it_goes_on_whatever_comes(seed: int) -> None:
    manager = Manager()
    known = ["w1", "w2", "f1", "f2", "regular", "file", "lib", "workflow"]
    from_worker = Frames(seed, FromVineWorker, range(20), names=known)
    from_client = Frames(seed, FromVineClient, range(20), lambda message: isinstance(message, Shutdown), known)
    chance = Random(seed)
    for step in range(400):
        manager.now += chance.choice([0.0, 0.1, 0.5])
        for number, name in enumerate(("w1", "w2")):
            if name not in manager.state.store.workers:
                manager.join(name, number, cached=["f1"], cached_sizes=[1])
        if step % 2:
            manager.protocol.on_client_frames(CLIENT.encode(), list(from_client.next()), manager.now)
        else:
            number = chance.randrange(2)
            manager.protocol.on_worker_frames(f"w{number + 1}".encode(), number, list(from_worker.next()), manager.now)
        _answer_all(manager)
        deadline = manager.protocol.next_deadline()
        if deadline is not None and manager.now >= deadline:
            manager.protocol.on_deadline(manager.now)
        manager.protocol.check_invariants()


def _answer_all(manager: Manager) -> None:
    while asked := manager.protocol.effects():
        for effect in asked:
            match effect:
                case effects.NameFiles(files):
                    named = [Named(f"f{file.id}", 1) for file in files]
                    manager.protocol.on_files_named(files, named, manager.now)
                case effects.BringHome(name=name):
                    manager.protocol.on_came_home(name, "", False, manager.now)
                case effects.BringContent(request):
                    manager.protocol.on_content(request, "", b"")

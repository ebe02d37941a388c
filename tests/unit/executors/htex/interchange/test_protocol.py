"""The interchange, frame by frame: who is heard, what bad messages cost, and what comes of broken connections."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import msgspec
import pytest

from tests.simulation.simulated_manager import registration
from trellis.executors.htex.interchange.manager_table import CLOSED_GRACE_S
from trellis.executors.htex.interchange.payload_store import MOST_REFUSALS
from trellis.executors.htex.interchange.protocol import (
    EndService,
    InterchangeProtocol,
    SendToClient,
    SendToManager,
    ServeManagers,
)
from trellis.executors.htex.interchange.state import InterchangeState
from trellis.executors.htex.settings import Settings
from trellis.wire.codec import Buffer, Decoder, Payload, encode_header, pack, payload_buffers, unpack
from trellis.wire.measures import Sample, TaskSamples, TaskUse
from trellis.wire.messages import (
    CancelTasks,
    CheckTasks,
    DefineFunctions,
    DismissManager,
    ForgetFunctions,
    Heartbeat,
    ManagerJoined,
    ManagerLoss,
    Message,
    Packages,
    PackagesRequest,
    Received,
    ReceivedUpTo,
    Register,
    RegisterAgain,
    Results,
    ResumeEnd,
    Shutdown,
    Tasks,
    TasksCancelled,
    TasksMissing,
    TasksRefused,
    TasksRunning,
    TasksStarted,
    ToManager,
    ToSubmitSide,
    Welcome,
    WitnessReport,
    WorkerLoss,
)
from trellis.wire.questions import StandingAtManager, StandingReply, StandingRequest, StatusReply, StatusRequest

CLIENT = b"the submit side"
PORT = ("127.0.0.1", (0, 0))


def settings(resuming: bool = False) -> Settings:
    return Settings(
        *PORT,
        *PORT,
        None,
        "",
        False,
        100.0,
        "random",
        ["/code"],
        "/shared",
        resuming=resuming,
        client_name="the submit side",
    )


def frames_of(message: Message, payloads: Sequence[Payload] = ()) -> list[Buffer]:
    return [encode_header(message), *(pack(payloads)[1] if payloads else ())]


def spoilt(message: Message, field: str, value: object = "?") -> list[Buffer]:
    """The message with a field that has a value of a wrong kind."""
    fields = msgspec.msgpack.decode(encode_header(message))
    fields[1 + message.__struct_fields__.index(field)] = value
    return [msgspec.msgpack.encode(fields)]


def brought(payload: Payload) -> Payload:
    """What is sent in place of a payload to those who cannot open files here."""
    return (b"brought", *payload_buffers(payload))


class Interchange:
    """An interchange in the hands of a test, which is everybody else."""

    def __init__(self, resuming: bool = False, memory: str = "") -> None:
        state = InterchangeState(100.0, "random", Random(1))
        self.protocol = InterchangeProtocol(settings(resuming), state, memory, brought if memory else lambda data: data)
        self.now = 0.0
        self.effects: list[object] = []  # beside messages
        self.sent: dict[str, list[tuple[Message, list[Buffer]]]] = {}  # to each peer, and not taken

    def take(self, peer: str) -> list[Message]:
        """What was sent to a peer since the last call."""
        return [message for message, _ in self.sent.pop(peer, [])]

    def client(self, message: Message | list[Buffer], payloads: Sequence[Payload] = (), peer: bytes = CLIENT) -> None:
        frames = message if isinstance(message, list) else frames_of(message, payloads)
        self.protocol.on_client_frames(peer, frames, self.now)
        self._perform()

    def manager(self, name: str, connection: int, message: Message | list[Buffer], *payloads: Payload) -> None:
        frames = message if isinstance(message, list) else frames_of(message, payloads)
        self.protocol.on_manager_frames(name.encode(), connection, frames, self.now)
        self._perform()

    def closed(self, *connections: int) -> None:
        self.protocol.on_closed_connections([*connections], self.now)
        self._perform()

    def wait(self, seconds: float) -> None:
        self.now += seconds
        while (deadline := self.protocol.next_deadline()) is not None and deadline <= self.now:
            self.protocol.on_deadline(self.now)
            self._perform()

    def _perform(self) -> None:
        decoders: tuple[Decoder[Message], Decoder[Message]] = Decoder(ToSubmitSide), Decoder(ToManager)
        for effect in self.protocol.effects():
            match effect:
                case SendToClient(peer, frames):
                    self.sent.setdefault(peer.decode(), []).append((decoders[0].decode(frames[0]), [*frames[1:]]))
                case SendToManager(peer, frames):
                    self.sent.setdefault(peer.decode(), []).append((decoders[1].decode(frames[0]), [*frames[1:]]))
                case _:
                    self.effects.append(effect)
        assert list(self.protocol.effects()) == []

    # -- usual things ------------------------------------------------------------------------------------------

    def join(self, name: str, connection: int, **changes: object) -> None:
        hello = registration(name, "0", workers=2, prefetch=2)
        self.manager(name, connection, msgspec.structs.replace(hello, **changes))

    def submit(self, *ids: int, function: int = 1) -> None:
        arguments = [b"arguments of %d" % id_ for id_ in ids]
        self.client(Tasks([*ids], [function] * len(ids), [len(data) for data in arguments]), arguments)


@pytest.fixture
def interchange() -> Interchange:
    """One with a client, a function, and manager m on connection 7."""
    it = Interchange()
    it.client(DefineFunctions([1], [8]), [b"function"])
    it.join("m", 7)
    it.sent.clear()
    return it


def results(*ids: int, sequence: int = 1, manager: str = "m", size: int = 1) -> Results:
    count = len(ids)
    return Results(manager, [*ids], [], [0] * count, [0.0] * count, [0.5] * count, [size] * count, sequence)


# -- who is heard ------------------------------------------------------------------------------------------------


def test_managers_are_served_when_the_submit_side_has_spoken() -> None:
    it = Interchange()
    it.client(StatusRequest(3), peer=b"somebody else")
    assert (it.effects, it.sent) == ([], {})
    it.client(StatusRequest(3))
    it.client(StatusRequest(4))
    assert it.effects == [ServeManagers()]
    assert it.take("the submit side") == [StatusReply(3, 0, 0, [], []), StatusReply(4, 0, 0, [], [])]


def test_nobody_but_the_submit_side_shuts_it_down(interchange: Interchange) -> None:
    interchange.effects.clear()
    interchange.client(Shutdown(), peer=b"somebody else")
    assert interchange.effects == []
    interchange.client(Shutdown())
    assert interchange.effects == [EndService()]
    interchange.protocol.dismiss_all()
    interchange._perform()
    assert interchange.take("m") == [DismissManager("the executor is shut down")]


def test_a_manager_is_told_what_it_needs_and_the_submit_side_of_it() -> None:
    it = Interchange(memory="mine")
    it.client(StatusRequest(0))
    it.sent.clear()
    it.join("near", 7, memory="mine")
    it.join("far", 8, memory="another")
    assert it.take("near") == [Welcome(["/code"], "/shared")]
    assert it.take("far") == [Welcome(["/code"], "")]
    assert it.take("the submit side") == [
        ManagerJoined(name, "0", f"host-{name}", 2, cpus=2) for name in ("near", "far")
    ]


def test_payloads_are_brought_to_those_who_cannot_open_files_here() -> None:
    it = Interchange(memory="mine")
    it.client(DefineFunctions([1], [8]), [b"function"])
    it.join("far", 8, memory="another")
    it.sent.clear()
    it.submit(1)
    _, (tasks, frames) = it.sent["far"]
    assert unpack(tasks.sizes, frames) == [(b"brought", b"arguments of 1")]  # type: ignore[attr-defined]


def test_who_is_not_known_is_asked_to_register_whatever_it_says(interchange: Interchange) -> None:
    interchange.manager("x", 8, Heartbeat())
    interchange.manager("x", 8, results(5, manager="x"), b"1")
    assert interchange.take("x") == [RegisterAgain(), RegisterAgain()]
    assert interchange.take("the submit side") == []


def test_nobody_speaks_for_another(interchange: Interchange) -> None:
    interchange.join("x", 8)
    interchange.submit(1)
    interchange.sent.clear()
    interchange.manager("x", 8, TasksStarted("m", [1]))
    (lost,) = interchange.take("the submit side")
    assert isinstance(lost, ManagerLoss)
    assert (lost.manager, lost.reason) == ("x", "it sent a bad message: it speaks as m")


def test_a_name_that_zmq_made_up_ends_no_connection(interchange: Interchange) -> None:
    interchange.manager("\0abcd", 7, Heartbeat())
    interchange.wait(2 * CLOSED_GRACE_S)
    assert interchange.take("the submit side") == []


# -- tasks -------------------------------------------------------------------------------------------------------


def test_functions_and_arguments_reach_the_manager_and_results_come_back_as_they_are(interchange: Interchange) -> None:
    interchange.submit(1, 2)
    (functions, _), (tasks, frames) = interchange.sent.pop("m")
    assert functions == DefineFunctions([1], [8])
    assert isinstance(tasks, Tasks)
    assert unpack(tasks.sizes, frames) == [b"arguments of 1", b"arguments of 2"]
    interchange.manager("m", 7, results(1, 2), b"a", b"b")
    assert interchange.sent.pop("the submit side") == [(results(1, 2), [b"ab"])]
    interchange.client(Received(["m"], [1]))
    assert interchange.take("m") == [ReceivedUpTo(1)]


def test_a_report_counts_for_the_tasks_that_its_manager_has(interchange: Interchange) -> None:
    interchange.submit(1)
    interchange.sent.clear()
    interchange.manager("m", 7, results(8, 1, 9), b"a", b"b", b"c")
    assert interchange.sent.pop("the submit side") == [(results(1), [b"b"])]
    interchange.manager("m", 7, WorkerLoss("m", 9, 0, "host", "it died", 2))
    assert interchange.take("the submit side") == [TasksCancelled([], "m", 2)]  # it need not be kept
    interchange.manager("m", 7, TasksCancelled([9], "m", 3))
    assert interchange.take("the submit side") == [TasksCancelled([9], "m", 3)]


def test_a_function_that_is_not_needed_is_forgotten_by_those_who_have_it(interchange: Interchange) -> None:
    interchange.join("x", 8)
    interchange.submit(1)
    owner = "m" if "m" in interchange.sent and len(interchange.sent["m"]) == 2 else "x"
    interchange.sent.clear()
    interchange.client(ForgetFunctions([1]))
    assert interchange.sent == {owner: [(ForgetFunctions([1]), [])]}


def test_questions_about_packages_are_passed_on(interchange: Interchange) -> None:
    interchange.client(PackagesRequest(5))
    assert interchange.take("m") == [PackagesRequest(5)]
    interchange.manager("m", 7, Packages("m", 5, ["numpy"], ["2"]))
    assert interchange.take("the submit side") == [Packages("m", 5, ["numpy"], ["2"])]


# -- bad messages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [[], [b""], [b"nonsense"], [encode_header(Welcome([]))]])
def test_a_manager_that_makes_no_sense_is_dropped_and_its_tasks_wait(
    interchange: Interchange, frames: list[Buffer]
) -> None:
    interchange.submit(1)
    interchange.sent.clear()
    interchange.manager("m", 7, frames)
    (lost,) = interchange.take("the submit side")
    assert isinstance(lost, ManagerLoss)
    assert (lost.manager, lost.ids, lost.requeued) == ("m", [], 1)
    interchange.manager("m", 7, Heartbeat())
    assert interchange.take("m") == [DismissManager(lost.reason)]


@pytest.mark.parametrize("frames", [[], [b"nonsense"], spoilt(CancelTasks([1]), "ids")])
def test_the_submit_side_is_heard_again_after_a_message_without_sense(
    interchange: Interchange, frames: list[Buffer]
) -> None:
    interchange.client(frames)
    assert interchange.sent == {}
    interchange.submit(1)
    assert "m" in interchange.sent


def test_tasks_that_make_no_sense_are_refused_by_name(interchange: Interchange) -> None:
    interchange.client(spoilt(Tasks([1, 2], [1, 1], [0, 0]), "priorities"))
    interchange.client(Tasks([3], [1], [5]), [b"1234"])
    interchange.submit(4, function=9)
    interchange.submit(5, 5)
    refused = interchange.take("the submit side")
    assert [message.ids for message in refused if isinstance(message, TasksRefused)] == [[1, 2], [3], [4], [5, 5]]
    assert interchange.take("m") == []
    interchange.submit(1, 2, 3, 4, 5)
    assert len(interchange.take("m")) == 2


@pytest.mark.parametrize(
    ("frames", "sequence"),
    [
        (spoilt(results(1, 9, sequence=4), "durations_s"), 4),
        (spoilt(results(1, sequence=4), "sequence"), 0),
        (spoilt(WorkerLoss("m", 1, 0, "host", "it died", 4), "reason", 5), 4),
    ],
)
def test_a_report_without_sense_costs_the_tasks_that_it_is_about(
    interchange: Interchange, frames: list[Buffer], sequence: int
) -> None:
    interchange.submit(1, 2)
    interchange.sent.clear()
    interchange.manager("m", 7, frames)
    (refused,) = interchange.take("the submit side")
    assert isinstance(refused, TasksRefused)
    assert (refused.ids, refused.manager, refused.sequence) == ([1], "m", sequence)
    interchange.manager("m", 7, results(2, sequence=5), b"2")
    assert interchange.take("the submit side") == [results(2, sequence=5)]


def test_what_a_manager_refuses_comes_again_with_its_functions_and_not_for_ever(interchange: Interchange) -> None:
    interchange.submit(1)
    assert [type(message) for message in interchange.take("m")] == [DefineFunctions, Tasks]
    for _ in range(MOST_REFUSALS - 1):
        interchange.manager("m", 7, TasksRefused([1, 8], "odd", "m"))
        assert [type(message) for message in interchange.take("m")] == [DefineFunctions, Tasks]
        assert interchange.take("the submit side") == []
    interchange.manager("m", 7, TasksRefused([1], "odd", "m"))
    assert interchange.take("m") == []
    assert interchange.take("the submit side") == [TasksRefused([1], "odd", "m")]


# -- connections -------------------------------------------------------------------------------------------------


def test_what_was_on_its_way_when_a_connection_broke_is_asked_for_and_sent_again(interchange: Interchange) -> None:
    interchange.submit(1, 2)
    interchange.sent.clear()
    interchange.closed(7)
    assert interchange.protocol.is_new(b"m", 8)
    interchange.join("m", 8, resumed=True, holding=[2])
    assert not interchange.protocol.is_new(b"m", 8)
    assert interchange.take("m") == [Welcome(["/code"]), CheckTasks([1])]
    interchange.manager("m", 8, TasksMissing("m", [1]))
    assert [type(message) for message in interchange.take("m")] == [DefineFunctions, Tasks]
    interchange.wait(2 * CLOSED_GRACE_S)
    assert interchange.protocol.state.managers.keys() == {"m"}


def test_a_report_that_comes_twice_is_passed_on_and_changes_nothing_else(interchange: Interchange) -> None:
    interchange.submit(1)
    interchange.manager("m", 7, results(1), b"1")
    interchange.sent.clear()
    interchange.join("m", 8, resumed=True)
    interchange.manager("m", 8, results(1), b"1")
    joined, again = interchange.take("the submit side")
    assert isinstance(joined, ManagerJoined)
    assert again == results()  # without the task: nobody has it any more; the number is what counts
    assert interchange.protocol.state.running == 0


def test_a_name_on_a_new_connection_leaves_the_old_one_behind(interchange: Interchange) -> None:
    interchange.submit(1)
    interchange.join("m", 8, resumed=True, holding=[1])
    interchange.closed(7)  # late news
    interchange.wait(2 * CLOSED_GRACE_S)
    assert interchange.protocol.state.managers.keys() == {"m"}
    interchange.closed(8)
    interchange.wait(2 * CLOSED_GRACE_S)
    assert interchange.protocol.state.managers.keys() == set()


def test_the_end_of_a_manager_is_noticed_on_a_descriptor_whose_last_words_came_late(interchange: Interchange) -> None:
    interchange.closed(7)
    interchange.manager("m", 7, Heartbeat())  # it was read after the news
    interchange.wait(2 * CLOSED_GRACE_S)
    interchange.join("x", 7)
    interchange.closed(7)
    interchange.wait(2 * CLOSED_GRACE_S)
    assert interchange.protocol.state.managers.keys() == set()


def test_last_words_do_not_end_who_has_the_descriptor_now(interchange: Interchange) -> None:
    interchange.closed(7)
    interchange.join("x", 7)
    interchange.manager("m", 7, Heartbeat())
    interchange.wait(2 * CLOSED_GRACE_S)
    assert interchange.protocol.state.managers.keys() == {"x"}


def test_a_witness_is_believed_under_its_own_name_only(interchange: Interchange) -> None:
    interchange.submit(1, 2)
    interchange.manager("m", 7, TasksStarted("m", [1, 2]))
    interchange.sent.clear()
    interchange.manager("x-witness", 9, WitnessReport("m", [], [1, 2]))
    assert interchange.sent == {}
    interchange.closed(7)
    interchange.manager("m-witness", 9, WitnessReport("m", [1], [2]))
    interchange.wait(2 * CLOSED_GRACE_S)
    (lost,) = interchange.take("the submit side")
    assert isinstance(lost, ManagerLoss)
    assert (lost.ids, lost.requeued) == ([1], 1)


# -- in the place of another -------------------------------------------------------------------------------------


def test_who_takes_the_place_of_another_hears_managers_after_all_tasks_have_come() -> None:
    it = Interchange(resuming=True)
    it.client(DefineFunctions([1], [8]), [b"function"])
    arguments = [b"1", b"2"]
    it.client(Tasks([1, 2], [1, 1], [1, 1], resumed=True), arguments)
    assert it.effects == []
    it.client(ResumeEnd(["m"], [], []))
    assert it.effects == [ServeManagers()]
    it.manager("m", 7, results(1, sequence=9), b"r")  # it reports before it registers
    assert it.take("the submit side") == [results(1, sequence=9)]
    assert it.take("m") == [RegisterAgain()]
    it.join("m", 7, resumed=True, holding=[2], started=[2])
    assert it.take("m") == [Welcome(["/code"])]
    assert it.protocol.state.running == 1


def test_a_registration_without_a_name_is_a_bad_message(interchange: Interchange) -> None:
    interchange.manager("", 9, Register(3, "", "0", "host", 1, 1, 1, "", "", 0.0, 1, 0, "/"))
    assert interchange.sent == {}


# -- what people ask -----------------------------------------------------------------------------------------------


def test_that_tasks_run_is_passed_on_of_those_that_the_manager_has(interchange: Interchange) -> None:
    interchange.submit(1, 2)
    interchange.sent.clear()
    interchange.manager("m", 7, TasksRunning("m", [1, 2], [0, 1], [5.0, 6.0]))
    interchange.manager("m", 7, TasksRunning("m", [1, 99], [0, 1], [5.0, 6.0]))
    assert interchange.take("the submit side") == [
        TasksRunning("m", [1, 2], [0, 1], [5.0, 6.0]),
        TasksRunning("m", [1], [0], [5.0]),
    ]
    assert interchange.protocol.state.managers["m"].started == {1, 2}


def test_samples_are_passed_on_of_the_tasks_that_the_manager_has(interchange: Interchange) -> None:
    interchange.submit(1, 2)
    interchange.sent.clear()
    first, second = (Sample(pid, 1.0, 0, 1.0, 0.0, 1, 1, 0, 0, "running", "0", 0, 0) for pid in (10, 11))
    interchange.manager("m", 7, TaskSamples("m", [1, 99], [first, second], 5.0, 3))
    assert interchange.take("the submit side") == [TaskSamples("m", [1], [first], 5.0, 3)]
    results = Results("m", [99, 1], [], [0, 0], [1.0, 1.0], [0.5, 0.5], [1, 1], 1, [None, TaskUse(1.0, 0.0, 7, 8, 9)])
    interchange.manager("m", 7, frames_of(results, [b"a", b"b"]))
    (report,) = interchange.take("the submit side")
    assert isinstance(report, Results)
    assert (report.ids, report.used) == ([1], [TaskUse(1.0, 0.0, 7, 8, 9)])


@pytest.mark.parametrize(("recorded", "every_s"), [(False, 0.0), (True, 2.5)])
def test_managers_are_told_whether_the_run_is_recorded(recorded: bool, every_s: float) -> None:
    interchange = Interchange()
    interchange.protocol._settings.recorded = recorded
    interchange.protocol._settings.sample_every_s = every_s
    interchange.client(StatusRequest(0))
    interchange.manager("m", 7, registration("m", "0", 2, 0))
    (welcome,) = [message for message in interchange.take("m") if isinstance(message, Welcome)]
    assert (welcome.recorded, welcome.sample_every_s) == (recorded, every_s)


def test_a_question_goes_on_to_the_manager_that_has_the_task(interchange: Interchange) -> None:
    interchange.submit(1)
    interchange.sent.clear()
    interchange.client(StandingRequest(8, 1))
    interchange.client(StandingRequest(9, 2))
    known, unknown = interchange.take("the submit side")
    assert isinstance(known, StandingReply)
    assert isinstance(unknown, StandingReply)
    assert [(reply.request, reply.stage, reply.manager) for reply in (known, unknown)] == [
        (8, "assigned", "m"),
        (9, "unknown", ""),
    ]
    assert interchange.take("m") == [StandingRequest(8, 1)]
    answer = StandingAtManager("m", 8, "running", "it runs", 0, 5.0)
    interchange.manager("m", 7, answer)
    assert interchange.take("the submit side") == [answer]


def test_nobody_answers_for_another_manager(interchange: Interchange) -> None:
    interchange.join("n", 8)
    interchange.sent.clear()
    interchange.manager("n", 8, StandingAtManager("m", 8, "running", "it runs", 0, 5.0))
    assert not [m for m in interchange.take("the submit side") if isinstance(m, StandingAtManager)]

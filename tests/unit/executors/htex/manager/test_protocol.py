"""A manager, frame by frame: what it is sent and says, what its workers ask for, and what a broken connection does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from tests.simulation.simulated_manager import registration
from trellis.executors.htex.manager import events
from trellis.executors.htex.manager.backlog import NodeSize
from trellis.executors.htex.manager.protocol import (
    Define,
    FindPackages,
    Forget,
    ManagerProtocol,
    SendArguments,
    SendToInterchange,
    TurnAway,
)
from trellis.executors.htex.manager.state import ManagerSettings, ManagerState
from trellis.wire import stream
from trellis.wire.codec import Buffer, Decoder, Payload, encode_header, pack, unpack
from trellis.wire.messages import (
    CancelTasks,
    CheckTasks,
    DefineFunctions,
    Demand,
    DismissManager,
    ForgetFunctions,
    FromManager,
    Goodbye,
    Heartbeat,
    Message,
    Packages,
    PackagesRequest,
    ReceivedUpTo,
    Refused,
    Register,
    RegisterAgain,
    Results,
    ReturnTasks,
    Tasks,
    TasksCancelled,
    TasksMissing,
    TasksRefused,
    TasksReturned,
    TasksStarted,
    Welcome,
    WorkerLoss,
)


def frames_of(message: Message, payloads: Sequence[Payload] = ()) -> list[Buffer]:
    return [encode_header(message), *(pack(payloads)[1] if payloads else ())]


def tasks(*ids: int, function: int = 1, **columns: Any) -> list[Buffer]:
    payloads = [b"arguments of %d" % id_ for id_ in ids]
    return frames_of(Tasks([*ids], [function] * len(ids), [len(data) for data in payloads], **columns), payloads)


def wrote(kind: int, id_: int = 0, *buffers: Buffer) -> stream.StreamFrame:
    return stream.StreamFrame(kind, id_, 0, 1.0, 0.5, [*buffers])


class Manager:
    """A manager in the hands of a test, which is everybody else."""

    def __init__(self, workers: int = 1) -> None:
        state = ManagerState(ManagerSettings(NodeSize(workers, workers, 0), 30.0, 120.0), 0.0)
        self.running: dict[int, tuple[int, float]] = {}  # what the board says
        self.queue: list[int] = []  # what no worker has taken
        self.protocol = ManagerProtocol(registration("m", "0", workers, 9), state, lambda: self.running, 0.0)
        self.now = 0.0
        self.said: list[Message] = []  # to the interchange, and not taken
        self.frames: list[Sequence[Buffer]] = []  # of all that
        self.done: list[object] = []  # other effects, not taken
        self._decoder: Decoder[Message] = Decoder(FromManager)

    def take(self) -> list[Message]:
        said, self.said = self.said, []
        return said

    def take_effects(self) -> list[object]:
        done, self.done = self.done, []
        return done

    def hear(self, message: Message | list[Buffer], payloads: Sequence[Payload] = ()) -> None:
        self.protocol.on_frames(message if isinstance(message, list) else frames_of(message, payloads), self.now)
        self.perform()

    def connection(self, *changes: bool) -> None:
        self.protocol.on_connection_changes(changes, self.now)
        self.perform()

    def worker(self, rank: int, *frames: stream.StreamFrame) -> None:
        self.protocol.on_worker_frames(rank, frames, self.now)
        self.perform()

    def end_turn(self) -> None:
        self.protocol.on_turn_end()
        self.perform()

    def perform(self) -> None:
        for effect in self.protocol.effects():
            match effect:
                case SendToInterchange(frames):
                    self._send(frames)
                case events.Offer(ids):
                    for send in self.protocol.announcement(ids):
                        self._send(send.frames)
                    self.queue += ids
                case events.TakeBack():
                    back, self.queue = self.queue, []
                    self.protocol.on_taken_back(back, self.now)
                case events.Interrupt(worker, task):
                    self.protocol.on_interrupted(worker, task, task in self.running, self.now)
            if not isinstance(effect, SendToInterchange):
                self.done.append(effect)
        self.protocol.state.check_invariants()

    def _send(self, frames: Sequence[Buffer]) -> None:
        self.said.append(self._decoder.decode(frames[0]))
        self.frames.append(frames)


@pytest.fixture
def manager() -> Manager:
    """One that is connected and welcome, with a worker that is ready."""
    it = Manager()
    it.connection(True)
    it.hear(Welcome(["/code"], "/shared"))
    it.hear(DefineFunctions([1], [8]), [b"function"])
    it.worker(0, wrote(stream.READY))
    it.take()
    it.take_effects()
    return it


# -- beginning and end -------------------------------------------------------------------------------------------


def test_it_introduces_itself_and_starts_its_workers_when_it_is_welcome() -> None:
    it = Manager(workers=2)
    it.connection(True)
    (hello,) = it.take()
    assert isinstance(hello, Register)
    assert (hello.resumed, hello.holding) == (False, [])
    assert not it.protocol.welcomed
    assert it.done == []
    it.hear(Welcome(["/code"], "/shared"))
    assert it.protocol.welcomed
    assert it.take_effects() == [events.StartWorker(0), events.StartWorker(1)]
    it.hear(Welcome(["/other"]))  # of a later connection
    assert it.protocol.welcome == Welcome(["/code"], "/shared")
    assert it.done == []


@pytest.mark.parametrize("message", [Refused("another protocol"), DismissManager("its block is to end")])
def test_it_is_turned_away(message: Refused | DismissManager) -> None:
    it = Manager()
    it.connection(True)
    it.hear(message)
    assert it.take_effects() == [TurnAway(message.reason)]


def test_one_that_is_stopped_before_it_is_welcome_starts_no_workers() -> None:
    it = Manager()
    it.connection(True)
    it.protocol.stop("it got SIGINT", it.now)
    it.perform()
    assert it.take_effects()[-1] == events.Exit("it got SIGINT", False)
    it.hear(Welcome([]))
    assert it.take_effects() == []


def test_one_that_is_dismissed_gives_back_what_has_not_started_and_says_goodbye(manager: Manager) -> None:
    manager.hear(tasks(1, 2, 3))
    manager.queue.remove(1)
    manager.running[1] = (0, 0.0)
    manager.take()
    manager.hear(DismissManager("enough"))
    *_, end = manager.take_effects()
    assert end == events.Exit("dismissed: enough", False)
    (returned,) = [message for message in manager.take() if isinstance(message, TasksReturned)]
    assert {2, 3} <= set(returned.ids)
    manager.protocol.say_goodbye("enough")
    manager.perform()
    assert manager.take() == [Goodbye("m", "enough")]


def test_who_stops_performing_gives_up_the_rest(manager: Manager) -> None:
    manager.protocol.on_frames(frames_of(RegisterAgain()), 0.0)
    for _ in manager.protocol.effects():
        break
    assert list(manager.protocol.effects()) == []


# -- tasks -------------------------------------------------------------------------------------------------------


def test_a_task_is_announced_before_a_worker_can_take_it_and_its_result_goes_out_at_the_end_of_the_turn(
    manager: Manager,
) -> None:
    manager.hear(tasks(1))
    assert manager.take() == [TasksStarted("m", [1])]
    assert (manager.queue, manager.take_effects()) == ([1], [events.Offer([1])])
    assert manager.protocol.calls == {1: (1, b"arguments of 1")}
    manager.queue.clear()
    manager.worker(0, wrote(stream.RESULT, 1, b"pickle", b"buffer"))
    assert (manager.take(), manager.protocol.calls) == ([], {})
    manager.end_turn()
    (results,) = manager.take()
    assert isinstance(results, Results)
    assert (results.ids, results.failed, results.workers, results.sequence) == ([1], [], [0], 1)
    assert unpack(results.sizes, manager.frames[-1][1:]) == [(b"pickle", b"buffer")]


def test_what_does_not_count_any_more_is_not_reported(manager: Manager) -> None:
    manager.worker(0, wrote(stream.RESULT, 8, b"8"), wrote(stream.ERROR, 9, b"9"))
    manager.end_turn()
    assert manager.take() == []


def test_tasks_that_come_a_second_time_are_taken_once(manager: Manager) -> None:
    manager.hear(tasks(1))
    manager.take()
    walltimes_s, demands = [1.0, 2.0], [None, Demand(cores=1)]
    manager.hear(tasks(1, 2, walltimes_s=walltimes_s, demands=demands))
    assert manager.protocol.calls.keys() == {1, 2}
    assert sorted(manager.protocol.state.holding) == [1, 2]


def test_what_never_came_is_missing_and_what_has_just_ended_is_not(manager: Manager) -> None:
    manager.hear(tasks(1, 2))
    manager.queue.clear()
    manager.worker(0, wrote(stream.RESULT, 1, b"1"))
    manager.take()
    manager.hear(CheckTasks([1, 2, 3]))
    results, missing = manager.take()
    assert isinstance(results, Results)
    assert missing == TasksMissing("m", [1, 3])


def test_what_waits_is_cancelled_and_given_back(manager: Manager) -> None:
    manager.hear(tasks(1, 2, 3, 4))
    manager.take()
    manager.hear(CancelTasks([3]))
    assert TasksCancelled([3], "m", 1) in manager.take()
    manager.hear(ReturnTasks(1))
    assert TasksReturned("m", [4]) in manager.take()
    assert manager.protocol.calls.keys() == {1, 2}


def test_a_gang_is_announced_before_it_runs() -> None:
    it = Manager(workers=2)
    it.connection(True)
    it.hear(Welcome([]))
    it.hear(DefineFunctions([1], [8]), [b"function"])
    for rank in range(2):
        it.worker(rank, wrote(stream.READY))
    it.take()
    it.hear(tasks(1, demands=[Demand(cores=2)]))
    assert it.take() == []
    it.worker(0, wrote(stream.PARKED))
    it.worker(1, wrote(stream.PARKED))
    assert it.take() == [TasksStarted("m", [1])]
    assert isinstance(it.take_effects()[-1], events.RunGang)


# -- workers -----------------------------------------------------------------------------------------------------


def test_workers_get_what_they_ask_for(manager: Manager) -> None:
    manager.hear(tasks(1))
    manager.take_effects()
    manager.worker(0, wrote(stream.NEED, 1), wrote(stream.FETCH, 1))
    assert manager.take_effects() == [Define(0, 1, b"function"), SendArguments(0, 1, (b"arguments of 1",))]
    manager.hear(ForgetFunctions([1]))
    assert manager.take_effects() == [Forget([1])]


@pytest.mark.parametrize("kind", [stream.NEED, stream.FETCH])
def test_a_worker_whose_question_has_no_answer_is_killed(manager: Manager, kind: int) -> None:
    manager.worker(0, wrote(kind, 9))
    assert manager.take_effects() == [events.KillWorker(0)]


def test_the_death_of_a_worker_is_reported_after_what_it_had_written(manager: Manager) -> None:
    manager.hear(tasks(1, 2))
    manager.queue.clear()
    manager.take()
    manager.worker(0, wrote(stream.RESULT, 1, b"1"))
    manager.protocol.on_worker_exit(0, 2, "killed by signal 9", manager.now)
    manager.perform()
    results, lost = [message for message in manager.take() if not isinstance(message, TasksStarted)]
    assert isinstance(results, Results)
    assert isinstance(lost, WorkerLoss)
    assert (results.sequence, lost.sequence, lost.id, lost.reason) == (1, 2, 2, "killed by signal 9")


def test_packages_are_looked_for_and_told(manager: Manager) -> None:
    manager.hear(PackagesRequest(5))
    assert manager.take_effects() == [FindPackages(5)]
    manager.protocol.on_packages(5, {"numpy": "2"}, manager.now)
    manager.perform()
    assert manager.take() == [Packages("m", 5, ["numpy"], ["2"])]


# -- bad messages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [[], [b""], [b"nonsense"], [encode_header(Goodbye("m", "enough"))]])
def test_a_message_without_sense_changes_nothing(manager: Manager, frames: list[Buffer]) -> None:
    manager.hear(frames)
    assert (manager.take(), manager.take_effects()) == ([], [])
    manager.hear(tasks(1))
    assert manager.take() == [TasksStarted("m", [1])]


def test_tasks_that_make_no_sense_are_refused_by_name_but_those_that_are_here(manager: Manager) -> None:
    manager.hear(tasks(1))
    manager.take()
    fields = msgspec.msgpack.decode(tasks(1, 2)[0])
    fields[1 + Tasks.__struct_fields__.index("demands")] = "?"
    manager.hear([msgspec.msgpack.encode(fields)])
    manager.hear(tasks(3, function=9))
    manager.hear([*tasks(4), b"and more"])
    manager.hear(frames_of(DefineFunctions([9], [-2]), [(b"in several", b"frames")]))
    refused = manager.take()
    assert [message.ids for message in refused if isinstance(message, TasksRefused)] == [[2], [3], [4]]
    assert {message.manager for message in refused if isinstance(message, TasksRefused)} == {"m"}
    assert manager.protocol.calls.keys() == {1}


# -- connections -------------------------------------------------------------------------------------------------


def test_after_a_break_reports_come_again_until_they_are_known_to_have_come(manager: Manager) -> None:
    manager.hear(tasks(1, 2, 3))
    manager.queue.clear()
    manager.worker(0, wrote(stream.RESULT, 1, b"1"))
    manager.end_turn()
    manager.take()
    manager.connection(False)
    manager.worker(0, wrote(stream.RESULT, 2, b"2"))
    manager.end_turn()
    assert manager.take() == []
    manager.connection(True)
    first, second, hello = manager.take()
    assert [(m.ids, m.sequence) for m in (first, second) if isinstance(m, Results)] == [([1], 1), ([2], 2)]
    assert isinstance(hello, Register)
    assert (hello.resumed, hello.holding) == (True, [3])
    manager.hear(ReceivedUpTo(1))
    manager.connection(False, True)
    again, hello = manager.take()
    assert isinstance(again, Results)
    assert again.sequence == 2


def test_nothing_starts_while_nobody_could_be_told(manager: Manager) -> None:
    manager.connection(False)
    manager.hear(tasks(1))  # it was on its way
    assert (manager.take(), manager.queue) == ([], [])
    manager.connection(True)
    assert manager.queue == []
    manager.hear(Welcome([]))
    assert manager.queue == [1]
    assert manager.take()[-1] == TasksStarted("m", [1])


def test_it_registers_again_once_for_all_that_it_had_said_before(manager: Manager) -> None:
    manager.hear(RegisterAgain())
    manager.hear(RegisterAgain())
    assert [type(message) for message in manager.take()] == [Register]
    manager.hear(Welcome([]))
    manager.hear(RegisterAgain())
    assert [type(message) for message in manager.take()] == [Register]


def test_it_says_that_it_lives_and_ends_when_nobody_answers(manager: Manager) -> None:
    manager.now = 30.0
    manager.protocol.on_deadline(manager.now)
    manager.perform()
    assert manager.take() == [Heartbeat()]
    manager.hear(Heartbeat())
    assert manager.protocol.next_deadline() == 60.0
    manager.now = 160.0
    manager.protocol.on_deadline(manager.now)
    manager.perform()
    assert manager.take_effects()[-1] == events.Exit("the interchange sent nothing for 130 s", True)

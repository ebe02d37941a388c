"""Where a task is at its manager, and which tasks it says to be running, and when."""

from __future__ import annotations

import msgspec
import pytest

from tests.simulation.simulated_manager import registration
from tests.unit.executors.htex.manager.house import House
from tests.unit.executors.htex.manager.test_protocol import Manager, tasks, wrote
from trellis.executors.htex.manager.backlog import NodeSize
from trellis.executors.htex.manager.events import (
    CancelRequested,
    Disconnected,
    Interrupt,
    SayRunning,
    TerminateRequested,
    Welcomed,
    WorkerReady,
)
from trellis.executors.htex.manager.protocol import ManagerProtocol
from trellis.executors.htex.manager.standing import TaskPlace
from trellis.executors.htex.manager.state import ManagerSettings, ManagerState
from trellis.wire import stream
from trellis.wire.messages import DefineFunctions, Demand, Message, TasksRunning, Welcome
from trellis.wire.questions import Obstacle, StandingAtManager, StandingRequest

ENDS = "when one of the tasks there has ended"


class TalkingHouse(House):
    """Its machine says which tasks have been running for a second."""

    def __init__(self, workers: int = 1) -> None:
        super().__init__(workers, ready=False)
        settings = ManagerSettings(NodeSize(workers), 30.0, 120.0, say_running_s=1.0)
        self.state = ManagerState(settings, self.now)
        for worker in range(workers):
            self(WorkerReady(worker))

    def said(self, seconds: float) -> list[dict[int, tuple[int, float]]]:
        """What is said to be running while so long a time passes."""
        until = self.now + seconds
        found = []
        while (deadline := self.state.next_deadline()) <= until:
            actions = self.wait(deadline - self.now)
            found += [action.tasks for action in actions if isinstance(action, SayRunning)]
        self.now = until
        return found


def place(house: House, task: int) -> TaskPlace:
    return house.state.place_of(task, dict(house.board), house.now)


# -- that tasks run ----------------------------------------------------------------------------------------------


def test_a_task_that_has_been_running_for_a_second_is_said_to_once() -> None:
    house = TalkingHouse()
    house.receive(1)
    house.now += 0.3
    house.run()
    began = house.now
    assert house.said(0.9) == []  # looked at a second after it was offered: it has run for 0.7 s
    assert house.said(5) == [{1: (0, began)}]


def test_nothing_is_said_of_short_tasks_and_nobody_looks_when_there_are_none() -> None:
    house = TalkingHouse()
    house.receive(1)
    house.run()
    house.now += 0.5
    house.finish(1)
    assert house.said(25) == []
    assert house.state.next_deadline() == 1000.0 + 30.0


def test_a_task_that_waits_for_a_worker_is_said_to_run_when_it_does() -> None:
    house = TalkingHouse(workers=2)
    house.receive(1, 2)
    house.run(0)
    assert [set(said) for said in house.said(3)] == [{1}]
    house.run(1)
    assert [set(said) for said in house.said(3)] == [{2}]


def test_on_a_new_connection_it_is_said_again() -> None:
    house = TalkingHouse()
    house.receive(1)
    house.run()
    assert len(house.said(3)) == 1
    house(Disconnected())
    house(Welcomed())
    assert len(house.said(3)) == 1


def test_a_task_that_has_ended_is_forgotten() -> None:
    house = TalkingHouse()
    house.receive(1)
    house.run()
    house.said(3)
    house.finish(1)  # invariants: what was said is of tasks that are here
    assert house.said(3) == []


# -- where one is ------------------------------------------------------------------------------------------------


def test_a_running_task() -> None:
    house = House(workers=2)
    house.receive(5)
    house.run(1)
    house.now += 12
    assert place(house, 5) == TaskPlace("running", "worker 1 has been running it for 12 s", 1, 1000.0)


def test_a_task_that_is_being_ended() -> None:
    house = House()
    house.receive(5)
    house.run()
    assert Interrupt(0, 5) in house.cancel(5)
    assert place(house, 5).text.endswith("and is being ended")


def test_a_task_in_the_workers_queue() -> None:
    house = House(short=True)
    house.receive(1, 2, 3)
    house.run()
    house.now += 4
    assert place(house, 3) == TaskPlace(
        "assigned",
        "it is in the queue that the workers of its node share, 1 task is before it",
        reason="its only worker has been running another one for 4 s",
        until=ENDS,
    )


def test_a_task_that_waits_at_the_manager() -> None:
    house = House(workers=2, short=False)
    house.receive(1, 2, 3, 4)
    house.run(0)
    house.run(1)
    found = place(house, 4)
    assert found.text == "it waits at its manager, 1 task is before it"
    assert found.reason == "2 of its 2 workers run tasks, the longest for 0 s"


def test_workers_that_have_not_started() -> None:
    house = House(workers=3, ready=False)
    house.receive(1)
    assert place(house, 1).reason == "3 of its 3 workers have not started yet"


def test_workers_that_are_about_to_take_it() -> None:
    house = House()
    house.receive(1)
    assert place(house, 1).reason == "its workers are about to take it"


def test_a_gang_that_is_not_complete() -> None:
    house = House(workers=2, cpus=2)
    house.receive(1)
    house.run(0)
    house.demand({2: Demand(cores=2)})
    house.finish(1)
    house.park(0)
    assert place(house, 2).text == "it takes 2 workers, and 1 of them have stood aside for it so far"


def test_nodes_that_are_not_free() -> None:
    house = House(workers=3, nodes=("x", "y"))
    house.demand({1: Demand(nodes=2), 2: Demand(nodes=2)})
    house.park(0)
    assert place(house, 2) == TaskPlace(
        "assigned",
        "it waits for 2 nodes of the block, of which 0 are free",
        reason="other tasks have the nodes",
        until="when one of these has ended",
    )


def test_a_manager_that_is_cut_off_starts_nothing() -> None:
    house = House()
    house(Disconnected())
    house.receive(1)
    assert place(house, 1).reason == "it has no connection to the interchange, and starts nothing"


def test_a_task_that_is_not_here() -> None:
    house = House()
    assert place(house, 4).stage == "unknown"
    house(CancelRequested([4], {}))
    house(TerminateRequested("now"))
    assert place(house, 4).stage == "unknown"


# -- as messages -------------------------------------------------------------------------------------------------


@pytest.fixture
def manager() -> Manager:
    it = Manager()
    hello = msgspec.structs.replace(registration("m", "0", 1, 9), start_time=5000.0)
    it.now = 100.0
    state = ManagerState(ManagerSettings(NodeSize(1), 30.0, 120.0, say_running_s=1.0), it.now)
    it.protocol = ManagerProtocol(hello, state, lambda: it.running, it.now)
    it.connection(True)
    it.hear(Welcome([]))
    it.hear(DefineFunctions([1], [8]), [b"function"])
    it.worker(0, wrote(stream.READY))
    it.hear(tasks(7, 8))
    it.running = {7: (0, 100.5)}
    it.take()
    return it


def test_times_of_start_count_from_the_registration(manager: Manager) -> None:
    manager.now = 102.0
    manager.protocol.on_deadline(manager.now)
    manager.perform()
    running = [message for message in manager.take() if isinstance(message, TasksRunning)]
    assert running == [TasksRunning("m", [7], [0], [5000.5])]


def test_a_question_is_answered(manager: Manager) -> None:
    def answer(task: int) -> list[Message]:
        manager.hear(StandingRequest(3, task))
        return manager.take()

    manager.now = 110.5
    here = "manager m on host-m"
    text = f"worker 0 has been running it for 10 s ({here})"
    assert answer(7) == [StandingAtManager("m", 3, "running", text, 0, 5000.5)]
    (waits,) = answer(8)
    assert isinstance(waits, StandingAtManager)
    assert (waits.stage, waits.obstacles) == (
        "assigned",
        [Obstacle(here, "its only worker has been running another one for 10 s", ENDS)],
    )
    (gone,) = answer(99)
    assert isinstance(gone, StandingAtManager)
    assert (gone.stage, gone.obstacles) == ("unknown", [])

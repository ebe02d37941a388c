"""Tasks that take several slots of a node: workers park for them, stand by, and are let go."""

from __future__ import annotations

from tests.unit.executors.htex.manager.house import THRESHOLD_S, House
from trellis.executors.common.heartbeat import WAKE_UP_S
from trellis.executors.htex.manager.events import (
    DeadlinePassed,
    Disconnected,
    GiveBack,
    InterchangeHeard,
    Interrupt,
    MeasureMemory,
    MemoryMeasured,
    Offer,
    Park,
    Release,
    ReportCancelled,
    ReportOverMemory,
    ReportWorkerLost,
    ReturnRequested,
    RunGang,
    SendHeartbeat,
    StartWorker,
    TakeBack,
    Welcomed,
    WorkerParked,
    WorkerReady,
)
from trellis.wire.messages import Demand

TWO = Demand(cores=2)
THREE = Demand(cores=3)
FOUR = Demand(cores=4)


def four() -> House:
    return House(workers=4, cpus=4, memory_bytes=4 * 2**30, gpus=4, short=False)


def running(house: House, task: int, demand: Demand, *workers: int) -> None:
    """Have a task run with these workers."""
    house.demand({task: demand})
    for worker in workers:
        house.park(worker)
    assert house.board[task][0] == workers[0]


def test_as_many_workers_park_as_it_takes_slots_and_are_let_go_at_its_end() -> None:
    house = four()
    assert house.demand({1: THREE}) == [Park(3)]
    assert house.park(2) == []
    assert house.park(0) == []
    assert house.state.started == []
    assert house.park(3) == [RunGang(1, [2, 0, 3], THREE)]
    assert house.state.started == [1]
    assert house.finish(1) == [Release([0, 3])]
    assert (house.state.tasks, house.state.holding) == (0, [])


def test_a_task_of_one_slot_that_asks_for_cores_or_gpus_is_told_which() -> None:
    house = four()
    demand = Demand(gpus=1)
    assert house.demand({1: demand}) == [Park(1)]
    assert house.park(2) == [RunGang(1, [2], demand)]
    assert house.finish(1) == []


def test_a_task_that_asks_for_a_slots_share_of_memory_is_like_any_other() -> None:
    house = four()
    assert house.demand({1: Demand(memory_mb=1000), 2: None}) == [Offer([1, 2])]
    assert house.demand({3: Demand(memory_mb=1025)}) == [Park(2)]


def test_wide_and_plain_tasks_keep_their_order_and_nothing_is_oversold() -> None:
    house = four()
    assert house.demand({1: None, 2: TWO, 3: None, 4: None}) == [Offer([1]), Park(2), Offer([3])]
    house.run(0)
    house.park(1)
    house.park(2)
    house.run(3)
    assert house.finish(3) == [Offer([4])]
    assert house.finish(1) == []
    assert house.finish(2) == [Release([2])]


def test_a_wide_task_is_not_starved_by_those_that_came_later() -> None:
    house = four()
    house.demand(dict.fromkeys(range(4)))
    for worker in range(4):
        house.run(worker)
    assert house.demand({10: FOUR, 11: None, 12: None}) == []
    assert house.finish(0) == [Park(4)]
    assert house.park(0) == []
    assert house.finish(1, 2) == []
    house.park(1)
    house.park(2)
    assert house.finish(3) == []
    assert house.park(3) == [RunGang(10, [0, 1, 2, 3], FOUR)]
    assert house.finish(10) == [Release([1, 2, 3]), Offer([11, 12])]


def test_a_task_that_could_never_fit_fails() -> None:
    house = four()
    why = "it asks for more than this node has: 4 cores, 4 GPUs, 4096 MB of memory"
    assert house.demand({1: Demand(cores=5), 2: None}) == [ReportWorkerLost(-1, 1, why), Offer([2])]
    assert house.state.holding == [2]


def test_two_gangs_are_filled_one_after_the_other() -> None:
    house = four()
    assert house.demand({1: TWO, 2: TWO, 3: TWO}) == [Park(2), Park(2)]
    house.park(3)
    assert house.park(1) == [RunGang(1, [3, 1], TWO)]
    house.park(0)
    assert house.park(2) == [RunGang(2, [0, 2], TWO)]
    assert house.finish(2) == [Release([2]), Park(2)]


# -- workers that die --------------------------------------------------------------------------------------------


def test_the_worker_that_runs_it_dies_and_the_others_are_let_go() -> None:
    house = four()
    running(house, 1, THREE, 0, 1, 2)
    assert house.die(0, "killed") == [ReportWorkerLost(0, 1, "killed"), Release([1, 2]), StartWorker(0)]
    assert house.state.tasks == 0


def test_it_may_die_before_it_has_begun() -> None:
    house = four()
    running(house, 1, TWO, 0, 1)
    del house.board[1]
    assert house.die(0, "killed") == [ReportWorkerLost(0, 1, "killed"), Release([1]), StartWorker(0)]


def test_the_slot_of_one_that_stands_by_and_dies_stays_the_tasks_until_its_end() -> None:
    house = four()
    running(house, 1, FOUR, 0, 1, 2, 3)
    house.demand({2: None})
    assert house.die(2) == []
    assert house.finish(1) == [Release([1, 3]), StartWorker(2), Offer([2])]
    assert house.die(2) == [StartWorker(2)]


def test_one_that_has_parked_and_dies_is_missed() -> None:
    house = four()
    house.demand({1: TWO})
    house.park(0)
    assert house.die(0) == [StartWorker(0)]
    assert house.to_deadline() == [TakeBack(), Park(2)]
    house.park(1)
    assert house.park(2) == [RunGang(1, [1, 2], TWO)]


def test_one_that_had_just_taken_a_token_and_dies_is_missed_too() -> None:
    house = four()
    house.demand({1: TWO})
    house.park(0)
    house.queue.pop(0)  # a token
    assert house.die(3) == [StartWorker(3)]
    assert house.to_deadline() == [TakeBack(), Park(1)]
    assert house.park(1) == [RunGang(1, [0, 1], TWO)]


def test_a_worker_too_many_is_let_go() -> None:
    house = four()
    assert house(WorkerParked(3)) == [Release([3])]


def test_nothing_gathers_while_the_interchange_may_have_given_this_manager_up() -> None:
    house = four()
    house.demand({1: TWO})
    house.park(0)
    house.now += THRESHOLD_S
    assert house(InterchangeHeard()) == [Release([0])]
    assert house.park(1) == [Release([1])]
    assert house(DeadlinePassed({})) == [SendHeartbeat()]
    assert house.wait(WAKE_UP_S) == [Park(2)]


def test_nothing_gathers_while_nobody_could_be_told() -> None:
    house = four()
    house.demand({1: TWO})
    house.park(0)
    assert house(Disconnected()) == [Release([0])]
    assert house.park(1) == [Release([1])]
    assert house(Welcomed()) == [Park(2)]


# -- cancelling, limits, giving back -----------------------------------------------------------------------------


def test_a_task_whose_workers_gather_is_cancelled_and_they_go_to_the_next() -> None:
    house = four()
    assert house.demand({1: THREE, 2: TWO, 3: TWO}) == [Park(3), Park(2)]
    house.park(0)
    house.park(1)
    assert house.cancel(1) == [ReportCancelled([1]), RunGang(2, [0, 1], TWO), Park(2)]
    assert house.park(2) == []
    assert house.park(3) == [RunGang(3, [2, 3], TWO)]  # by a token of the first
    assert house(WorkerReady(0)) == []


def test_a_running_wide_task_is_ended_with_its_worker_and_the_others_are_let_go() -> None:
    house = four()
    running(house, 1, TWO, 0, 1)
    assert house.cancel(1) == [Interrupt(0, 1)]
    assert house.die(0) == [ReportCancelled([1]), Release([1]), StartWorker(0)]


def test_more_memory_than_it_asked_for_ends_a_task() -> None:
    house = four()
    house.demand({1: Demand(memory_mb=500), 2: Demand(memory_mb=800)})
    house.run(0)
    assert house.to_deadline() == [MeasureMemory({1: (0, 500)})]  # the other does not run yet
    assert house(MemoryMeasured({1: (0, 500.0)})) == []
    house.run(1)
    assert house.to_deadline() == [MeasureMemory({1: (0, 500), 2: (1, 800)})]
    assert house(MemoryMeasured({1: (0, 500.5), 2: (1, 100.0), 7: (2, 1e9)})) == [Interrupt(0, 1)]
    assert house(MemoryMeasured({1: (0, 900.0)})) == []
    assert house.die(0) == [ReportOverMemory(1, 500, 500.5), StartWorker(0)]


def test_a_task_that_ends_as_it_is_found_too_large_has_ended() -> None:
    house = four()
    house.demand({1: Demand(memory_mb=500)})
    house.run(0)
    del house.board[1]
    assert house(MemoryMeasured({1: (0, 600.0)})) == [Interrupt(0, 1)]
    assert house.state.counts(1)
    assert house.finish(1) == []
    assert house.state.next_deadline() == 1030.0


def test_a_task_whose_workers_gather_can_be_given_back() -> None:
    house = four()
    house.demand({1: THREE, 2: TWO})
    house.park(0)
    assert house(ReturnRequested(1)) == [TakeBack(), GiveBack([2]), Park(3)]
    assert house.state.holding == [1]
    house.park(1)
    assert house.park(2) == [RunGang(1, [0, 1, 2], THREE)]
    assert house.park(3) == [Release([3])]  # it was missed no more


# -- tasks that spread over nodes --------------------------------------------------------------------------------


def nodes() -> House:
    return House(workers=2, cpus=2, nodes=("a", "b", "c"), short=False)


def test_a_task_gets_names_of_nodes_and_others_wait_for_them() -> None:
    house = nodes()
    demand = Demand(nodes=2, ranks=4)
    assert house.demand({1: demand, 2: demand}) == [Park(1)]
    assert house.park(0) == [RunGang(1, [0], demand, ("a", "b"))]
    assert house.state.holding == [2, 1]
    assert house.finish(1) == [Park(1)]
    assert house.park(1) == [RunGang(2, [1], demand, ("a", "b"))]


def test_a_small_one_goes_first_when_there_is_room_for_it_only() -> None:
    house = nodes()
    large, small = Demand(nodes=3), Demand(nodes=1)
    house.demand({1: small, 2: large, 3: small})
    assert house.park(0) == [RunGang(1, [0], small, ("a",))]
    assert house.park(1) == [RunGang(3, [1], small, ("b",))]
    assert house.finish(1) == []
    assert house.finish(3) == [Park(1)]
    assert house.park(1) == [RunGang(2, [1], large, ("a", "b", "c"))]


def test_one_that_waits_for_nodes_can_be_cancelled_and_given_back() -> None:
    house = nodes()
    large = Demand(nodes=3)
    house.demand({1: large, 2: large, 3: large})
    house.park(0)
    assert house.cancel(2) == [ReportCancelled([2])]
    assert house(ReturnRequested(5)) == [TakeBack(), GiveBack([3])]
    assert house.finish(1) == []
    assert house.demand({4: large}) == [Park(1)]


def test_the_nodes_of_a_task_whose_worker_dies_are_free_again() -> None:
    house = nodes()
    large = Demand(nodes=3)
    house.demand({1: large, 2: large})
    house.park(0)
    assert house.die(0) == [ReportWorkerLost(0, 1, "exit code 1"), StartWorker(0), Park(1)]


def test_more_nodes_than_the_block_has_fail() -> None:
    house = nodes()
    why = "it asks for 4 nodes, and this block has 3"
    assert house.demand({1: Demand(nodes=4)}) == [ReportWorkerLost(-1, 1, why)]

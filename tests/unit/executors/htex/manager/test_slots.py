"""Which cores and accelerators belong to whom, and the variables that say so."""

from __future__ import annotations

import pytest

from trellis.errors import ConfigurationError
from trellis.executors.htex.manager.slots import (
    Slot,
    check_affinity,
    count_accelerators,
    parse_cpu_list,
    plan_cpus,
    plan_slots,
    task_variables,
    worker_variables,
)

CPUS = [0, 1, 2, 3, 8, 9, 10, 11]  # as a batch system may hand them out


@pytest.mark.parametrize(("text", "cpus"), [("3", (3,)), ("0,2", (0, 2)), ("0,2-4,9", (0, 2, 3, 4, 9))])
def test_lists_of_cores(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpu_list(text) == cpus


@pytest.mark.parametrize(
    ("affinity", "workers", "expected"),
    [
        ("block", 4, [(0, 1), (2, 3), (8, 9), (10, 11)]),
        ("block", 3, [(0, 1), (2, 3), (8, 9)]),
        ("block-reverse", 4, [(10, 11), (8, 9), (2, 3), (0, 1)]),
        ("block-reverse", 3, [(10, 11), (8, 9), (2, 3)]),
        ("alternating", 4, [(0, 8), (1, 9), (2, 10), (3, 11)]),
        ("alternating", 3, [(0, 3, 10), (1, 8, 11), (2, 9)]),
        ("list:0,8:1-3:9", 2, [(0, 8), (1, 2, 3)]),
        ("none", 3, [(0, 1), (2, 3, 8), (9, 10, 11)]),
    ],
)
def test_each_worker_has_its_cores(affinity: str, workers: int, expected: list[tuple[int, ...]]) -> None:
    assert plan_cpus(affinity, CPUS, workers) == expected


@pytest.mark.parametrize("affinity", ["none", "block", "block-reverse", "alternating"])
def test_more_workers_than_cores_share_them(affinity: str) -> None:
    assert plan_cpus(affinity, [4, 5], 3) == [(4,), (5,), (4,)]


@pytest.mark.parametrize(
    ("affinity", "workers", "message"),
    [
        ("blocks", 1, "cpu_affinity='blocks' is none of 'none', 'block',"),
        ("list:", 1, "cpu_affinity='list:' is none of"),
        ("list:0:x", 1, "cpu_affinity='list:0:x' is none of"),
        ("list:0:1", 3, "has cores for 2 workers, and this node runs 3"),
        ("list:0:5,7", 2, r"names cores \[5, 7\], which may not be used here; those that may are \[0, 1, 2, 3, 8"),
    ],
)
def test_what_cannot_be_is_an_error(affinity: str, workers: int, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        plan_cpus(affinity, CPUS, workers)


@pytest.mark.parametrize("affinity", ["none", "block", "block-reverse", "alternating", "list:0,1:2-3", "list:7"])
def test_kinds_can_be_checked_without_a_node(affinity: str) -> None:
    check_affinity(affinity)


def test_a_worker_sees_the_accelerator_of_its_rank_and_no_cores_unless_it_is_bound() -> None:
    slots = plan_slots("none", [0, 1], ["A", "B"], 2)
    assert slots == [Slot((0,), ("A",)), Slot((1,), ("B",))]
    assert worker_variables(slots[1], "none") == {
        "CUDA_VISIBLE_DEVICES": "B",
        "ROCR_VISIBLE_DEVICES": "B",
        "HIP_VISIBLE_DEVICES": "0",
        "ZE_AFFINITY_MASK": "B",
        "ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1",
    }


def test_a_bound_worker_tells_openmp() -> None:
    assert worker_variables(Slot((4, 6)), "alternating") == {
        "TRELLIS_CPUS": "4,6",
        "OMP_NUM_THREADS": "2",
        "GOMP_CPU_AFFINITY": "4,6",
        "KMP_AFFINITY": "explicit,proclist=[4,6]",
    }


def test_several_for_one_worker_one_for_several_and_more_than_workers() -> None:
    assert [slot.accelerators for slot in plan_slots("none", [0], ["0,1", "2,3"], 2)] == [("0,1",), ("2,3",)]
    assert [slot.accelerators for slot in plan_slots("none", [0], ["0", "0"], 2)] == [("0",), ("0",)]
    assert [slot.accelerators for slot in plan_slots("none", [0], ["A", "B", "C"], 2)] == [("A", "C"), ("B",)]
    assert (count_accelerators(["0,1", "2,3"]), count_accelerators(["0", "0"]), count_accelerators([])) == (4, 2, 0)


def test_a_task_gets_what_its_slots_have_of_what_it_asks_for() -> None:
    slots = [Slot((2, 3), ("0,1",)), Slot((0, 1), ("1", "2"))]
    cores = task_variables(slots, "none", cores=3, gpus=0)
    assert cores["TRELLIS_CPUS"] == "0,1,2,3"
    assert cores["OMP_NUM_THREADS"] == "4"
    assert "CUDA_VISIBLE_DEVICES" not in cores
    gpus = task_variables(slots, "none", cores=0, gpus=2)
    assert gpus["CUDA_VISIBLE_DEVICES"] == "0,1,2"
    assert "TRELLIS_CPUS" not in gpus
    assert task_variables(slots, "none", cores=0, gpus=0) == {}
    assert "TRELLIS_CPUS" in task_variables(slots, "block", cores=0, gpus=1)  # else it had its worker's only

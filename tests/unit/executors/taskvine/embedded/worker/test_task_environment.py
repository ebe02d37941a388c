"""What tasks are told of what they are given."""

from __future__ import annotations

from pathlib import Path

from trellis.core.alias_path import ALIAS_PATH
from trellis.executors.common.accelerators import accelerator_variables
from trellis.executors.taskvine.embedded.worker.cache import Cache
from trellis.executors.taskvine.embedded.worker.task_environment import Devices, TaskEnvironments, resource_variables
from trellis.wire.vine import Resources


def test_amounts_and_threads_are_told() -> None:
    assert resource_variables(Resources(5, 1000.5, 20), None, 2, {"OMP_NUM_THREADS": "7"}) == {
        "CORES": "5",
        "OPENBLAS_NUM_THREADS": "2",
        "MKL_NUM_THREADS": "2",
        "NUMEXPR_NUM_THREADS": "2",
        "VECLIB_MAXIMUM_THREADS": "2",
        "MEMORY": "1000",
        "DISK": "20",
        "GPUS": "0",
    }


def test_who_gets_no_cores_is_told_so_and_has_one_thread() -> None:
    variables = resource_variables(Resources(cores=0), None, 1, {})
    assert (variables["CORES"], variables["OMP_NUM_THREADS"]) == ("0", "1")


def test_devices_are_told_and_those_of_others_hidden() -> None:
    shown = resource_variables(Resources(gpus=2), ("0", "3"), 1, {})
    assert shown == {"GPUS": "2", **accelerator_variables(["0", "3"])}
    assert resource_variables(Resources(), (), 1, {}) == {"GPUS": "0", **accelerator_variables([])}
    assert resource_variables(Resources(), None, 1, {}) == {"GPUS": "0"}


def test_each_owner_has_devices_of_its_own() -> None:
    it = Devices(3, ["GPU-a", "GPU-b", "GPU-c", "GPU-d"])
    assert it.take("x", 2) == ("GPU-a", "GPU-b")
    assert it.take("y", 1) == ("GPU-c",)
    it.give_back("x")
    it.give_back("nobody")
    assert it.take("z", 1) == ("GPU-a",)


def test_parts_of_a_gpu_share_one_when_they_must() -> None:
    it = Devices(2)
    assert [it.take(owner, 0.5) for owner in "abcd"] == [("0",), ("1",), ("0",), ("1",)]


def test_worker_without_devices_hides_none() -> None:
    assert Devices(0, ["0", "1"]).take("x", 0) is None
    assert Devices(1).take("x", 0) == ()


def test_environment_is_the_workers_with_what_the_user_says_and_the_task_is_given(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    it = TaskEnvironments({"BASE": "1", "CUDA_VISIBLE_DEVICES": "7"}, 1, cache)
    it.import_paths = ["/user", "/elsewhere/trellis/as_parsl/on_path"]
    found = it.begin(("task", 1), Resources(gpus=1), [("OWN", "2"), ("BASE", "3")], ["p", "q"])
    assert found == {
        "BASE": "3",
        "OWN": "2",
        "GPUS": "1",
        **accelerator_variables(["7"]),
        "TRELLIS_IMPORT_PATHS": f"/user:{ALIAS_PATH}",
        "TRELLIS_PACKS": f"{cache.path('p')}:{cache.path('q')}",
    }
    assert it.begin(("task", 2), Resources(gpus=1), (), ())["CUDA_VISIBLE_DEVICES"] == "7"  # shared if need be
    it.end(("task", 1))
    it.end(("task", 9))

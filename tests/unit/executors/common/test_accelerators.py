"""Which accelerators a process sees."""

from __future__ import annotations

import pytest

from trellis.executors.common.accelerators import accelerator_variables, visible_accelerators


def test_the_same_devices_for_each_maker() -> None:
    assert accelerator_variables(["2", "5,6"]) == {
        "CUDA_VISIBLE_DEVICES": "2,5,6",
        "ROCR_VISIBLE_DEVICES": "2,5,6",
        "HIP_VISIBLE_DEVICES": "0,1,2",  # of those that ROCR leaves
        "ZE_AFFINITY_MASK": "2,5,6",
        "ZE_ENABLE_PCI_ID_DEVICE_ORDER": "1",
    }


def test_no_devices_are_none_and_not_all() -> None:
    assert set(accelerator_variables([]).values()) == {"", "1"}


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({}, []),
        ({"CUDA_VISIBLE_DEVICES": ""}, []),
        ({"CUDA_VISIBLE_DEVICES": "GPU-a, GPU-b,"}, ["GPU-a", "GPU-b"]),
        ({"ROCR_VISIBLE_DEVICES": "2,3", "HIP_VISIBLE_DEVICES": "0,1"}, ["2", "3"]),
        ({"HIP_VISIBLE_DEVICES": "1"}, ["1"]),
        ({"ZE_AFFINITY_MASK": "0.1"}, ["0.1"]),
    ],
)
def test_devices_that_a_process_may_see(environ: dict[str, str], names: list[str]) -> None:
    assert visible_accelerators(environ) == names

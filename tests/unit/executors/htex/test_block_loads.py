"""What the block controller learns of blocks from the interchange's status."""

from __future__ import annotations

from trellis.core.interfaces import BlockLoad
from trellis.executors.htex.submit.manager_status import block_loads
from trellis.wire.questions import ManagerStatus, StatusReply


def manager(block: str, tasks: int, idle_s: float, *, active: bool = True) -> ManagerStatus:
    return ManagerStatus("m", block, "host", 4, 4, tasks, idle_s, active, False, 0.0, 0.0, "0.1", "3.11.0")


def test_a_block_is_the_sum_of_its_managers_and_as_idle_as_the_least_idle_of_them() -> None:
    managers = [manager("0", 2, 0.0), manager("0", 0, 9.0, active=False), manager("2", 0, 5.0), manager("2", 0, 3.0)]
    assert block_loads(StatusReply(1, 0, 2, managers, ["0", "1", "2"])) == {
        "0": BlockLoad(managers=2, tasks=2, idle_s=0.0, active=1),
        "1": BlockLoad(managers=0, tasks=0, idle_s=0.0, active=0),
        "2": BlockLoad(managers=2, tasks=0, idle_s=3.0, active=2),
    }

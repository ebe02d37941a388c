"""What is recorded of managers: that they come and go, and whether they take tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trellis.core.measurements import NodeSeen
from trellis.executors.htex.nodes_seen import NodesSeen
from trellis.wire.messages import ManagerJoined
from trellis.wire.questions import ManagerStatus


class Record:
    interval_s = 0.0

    def __init__(self) -> None:
        self.taken: list[Any] = []

    def take(self, batch: Sequence[Any]) -> None:
        self.taken += batch


JOINED = ManagerJoined("m", "3", "node1", 4, 8, 2**30, "3.12.1", 50.0)


def status(active: bool, name: str = "m") -> ManagerStatus:
    return ManagerStatus(name, "3", "node1", 4, 4, 0, 0.0, active, False, 2.0, 50.0, "", "3.12.1")


def test_a_manager_comes_is_held_and_goes() -> None:
    record = Record()
    nodes = NodesSeen("htex", record)
    nodes.joined(JOINED, 100.0)
    nodes.heard([status(active=True)], 105.0)
    nodes.heard([status(active=False), status(active=False, name="stranger")], 110.0)
    nodes.heard([status(active=False)], 115.0)
    nodes.lost("m", 120.0)
    nodes.lost("m", 125.0)
    nodes.heard([status(active=True)], 130.0)
    came = NodeSeen("htex", "m", "node1", "3", 8, 2**30, True, 4, "3.12.1", 50.0, 100.0)
    assert record.taken == [
        came,
        came._replace(active=False, last_heard=108.0),
        came._replace(active=False, last_heard=120.0),
    ]


def test_all_go_with_the_executor() -> None:
    record = Record()
    nodes = NodesSeen("htex", record)
    nodes.joined(JOINED, 100.0)
    nodes.lost("m", 110.0)
    nodes.joined(JOINED, 120.0)
    nodes.end(130.0)
    nodes.end(140.0)
    assert [(seen.active, seen.last_heard) for seen in record.taken] == [
        (True, 100.0),
        (False, 110.0),
        (True, 120.0),
        (False, 130.0),
    ]

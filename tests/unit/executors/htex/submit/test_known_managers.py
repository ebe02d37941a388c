"""Who is there, across restarts of the interchange."""

from __future__ import annotations

from trellis.executors.htex.interchange.unclaimed import RECOVERY_S
from trellis.executors.htex.submit.known_managers import Headcount
from trellis.wire.messages import ManagerJoined


def joined(manager: str, block: str) -> ManagerJoined:
    return ManagerJoined(manager, block, f"host-{manager}", 2)


def test_managers_come_and_go_and_their_places_are_remembered() -> None:
    count = Headcount()
    assert count.on_joined(joined("a", "0"))
    assert count.on_joined(joined("b", "1"))
    assert not count.on_joined(joined("a", "0"))
    count.on_lost("a")
    assert count.connected == {"b"}
    assert count.place_of("a") == ("host-a", "0")
    assert count.place_of("unknown") == ("", "")
    assert count.on_joined(joined("a", "0"))


def test_blocks_that_only_a_former_interchange_knew_are_not_forgotten() -> None:
    count = Headcount()
    count.on_joined(joined("a", "1"))
    count.on_joined(joined("b", "0"))
    assert count.all_blocks([]) == ["1", "0"]
    assert count.all_blocks(["0", "2"]) == ["1", "0", "2"]


def test_who_does_not_come_back_after_a_restart_is_lost() -> None:
    count = Headcount()
    for name in ("a", "b", "c"):
        count.on_joined(joined(name, "0"))
    assert count.next_deadline() is None
    count.on_restart(now=100.0)
    assert count.next_deadline() == 100.0 + RECOVERY_S
    count.on_joined(joined("a", "0"))
    count.on_lost("b")
    assert count.overdue(now=99.0 + RECOVERY_S) == []
    (lost,) = count.overdue(now=100.0 + RECOVERY_S)
    assert (lost.manager, lost.block, lost.hostname, lost.ids) == ("c", "0", "host-c", [])
    assert "did not come back" in lost.reason
    count.on_lost("c")
    assert count.next_deadline() is None
    assert count.overdue(now=1_000.0) == []


def test_when_all_have_come_back_nobody_is_waited_for() -> None:
    count = Headcount()
    count.on_joined(joined("a", "0"))
    count.on_restart(now=100.0)
    count.on_joined(joined("a", "0"))
    assert count.next_deadline() is None

"""Who is there, across restarts of the interchange."""

from __future__ import annotations

from trellis.executors.htex.settings import RECOVERY_S
from trellis.executors.htex.submit.known_managers import KnownManagers
from trellis.wire.messages import ManagerJoined


def joined(manager: str, block: str) -> ManagerJoined:
    return ManagerJoined(manager, block, f"host-{manager}", 2)


def test_managers_come_and_go_and_their_places_are_remembered() -> None:
    managers = KnownManagers()
    assert managers.on_joined(joined("a", "0"))
    assert managers.on_joined(joined("b", "1"))
    assert not managers.on_joined(joined("a", "0"))
    managers.on_lost("a")
    assert managers.connected == {"b"}
    assert managers.place_of("a") == ("host-a", "0")
    assert managers.place_of("unknown") == ("", "")
    assert managers.on_joined(joined("a", "0"))


def test_blocks_that_only_a_former_interchange_knew_are_not_forgotten() -> None:
    managers = KnownManagers()
    managers.on_joined(joined("a", "1"))
    managers.on_joined(joined("b", "0"))
    assert managers.all_blocks([]) == ["1", "0"]
    assert managers.all_blocks(["0", "2"]) == ["1", "0", "2"]


def test_who_does_not_come_back_after_a_restart_is_lost() -> None:
    managers = KnownManagers()
    for name in ("a", "b", "c"):
        managers.on_joined(joined(name, "0"))
    assert managers.next_deadline() is None
    managers.on_restart(now=100.0)
    assert managers.next_deadline() == 100.0 + RECOVERY_S
    managers.on_joined(joined("a", "0"))
    managers.on_lost("b")
    assert managers.overdue(now=99.0 + RECOVERY_S) == []
    (lost,) = managers.overdue(now=100.0 + RECOVERY_S)
    assert (lost.manager, lost.block, lost.hostname, lost.ids) == ("c", "0", "host-c", [])
    assert "did not come back" in lost.reason
    managers.on_lost("c")
    assert managers.next_deadline() is None
    assert managers.overdue(now=1_000.0) == []


def test_when_all_have_come_back_nobody_is_waited_for() -> None:
    managers = KnownManagers()
    managers.on_joined(joined("a", "0"))
    managers.on_restart(now=100.0)
    managers.on_joined(joined("a", "0"))
    assert managers.next_deadline() is None

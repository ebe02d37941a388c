"""The interchange's table of managers: what can be looked up is right after each change, and others only read it."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.simulation.simulated_manager import registration
from trellis.executors.common.lookahead import AHEAD_S
from trellis.executors.htex.interchange import manager_table
from trellis.executors.htex.interchange.demands import DemandOnNode
from trellis.executors.htex.interchange.manager_table import CLOSED_GRACE_S, ManagerEntry, ManagerTable

THRESHOLD_S = 60.0
PAIR = DemandOnNode(2)


class Table(ManagerTable):
    """A table that has been checked whenever it says where a manager belongs."""

    def sets_of(self, name: str) -> str:
        self.check_invariants()
        names = {"ready": self.ready, "eager": self.eager, "hungry": self.hungry, "loaded": self.loaded}
        return " ".join(
            [what for what, among in names.items() if name in among] + ["reserved"] * (name in self.reserved)
        )


@pytest.fixture
def table() -> Table:
    return Table(THRESHOLD_S, by_block=True)


def join(table: Table, name: str, workers: int = 2, prefetch: int = 1, block: str = "0") -> ManagerEntry:
    return table.add(registration(name, block, workers, prefetch), 0.0)


def test_a_manager_belongs_where_its_tasks_put_it(table: Table) -> None:
    a = join(table, "a")
    assert table.sets_of("a") == "ready hungry"
    table.assign(a, [1, 2], None)
    assert table.sets_of("a") == "ready"
    table.assign(a, [3], None)
    assert table.sets_of("a") == "loaded"
    table.remove_tasks(a, [1], 1.0, ran_s=AHEAD_S / 10)
    assert table.sets_of("a") == "ready"
    table.assign(a, [4], None)
    assert table.sets_of("a") == "eager loaded"
    table.ask_back(a)
    assert table.sets_of("a") == "eager"
    assert (dict(table.manager_of), set(a.tasks)) == (dict.fromkeys([2, 3, 4], "a"), {2, 3, 4})


CLOSED_DOORS: list[Callable[[Table, ManagerEntry], object]] = [
    lambda table, a: table.hold(["a"], []),
    lambda table, a: table.hold([], ["0"]),
    lambda table, a: table.drain(a),
    lambda table, a: table.drain_blocks(["0"]),
    lambda table, a: table.disconnect(a, 1.0),
    lambda table, a: table.hear_witness(a, [], [], 1.0),
    lambda table, a: table.note_deaths(a, 10),
    lambda table, a: table.remove(a, "gone"),
]


@pytest.mark.parametrize("change", CLOSED_DOORS)
def test_whatever_stops_a_manager_takes_it_from_those_that_are_sent_tasks(
    table: Table, change: Callable[[Table, ManagerEntry], object]
) -> None:
    a = join(table, "a")
    join(table, "b", block="1")
    change(table, a)
    assert (table.sets_of("a"), table.sets_of("b")) == ("", "ready hungry")


def test_a_slot_is_reserved_until_the_task_that_waits_for_it_starts_or_goes(table: Table) -> None:
    a = join(table, "a")
    ends: list[Callable[[ManagerEntry, list[int]], object]] = [
        table.mark_started,
        lambda manager, ids: table.remove_tasks(manager, ids, 1.0),
        lambda manager, ids: table.hear_witness(manager, ids, [], 1.0),
    ]
    for end in ends:
        table.assign(a, [1], None)
        table.assign(a, [2], PAIR, reserve=True)
        assert (table.sets_of("a"), table.reserved["a"]) == ("reserved", 2)
        table.disconnect(a, 1.0)
        end(a, [2])
        assert "reserved" not in table.sets_of("a")
        table.remove_tasks(a, [1, 2], 1.0)
        table.reconnect(a, a.registration, 2.0)
    table.assign(a, [2], PAIR, reserve=True)
    table.ask_back(a)  # what is not given back has begun
    assert "reserved" not in table.sets_of("a")


def test_a_manager_that_comes_back_is_sent_tasks_again_and_asked_what_never_came(table: Table) -> None:
    a = join(table, "a")
    table.assign(a, [1, 2], None)
    table.disconnect(a, 1.0)
    table.reconnect(a, msgspec.structs.replace(a.registration, holding=[1]), 1.1)
    assert table.sets_of("a") == "ready"
    assert table.ask_about(a, [1]) == [2]
    table.remove_tasks(a, [2], 1.2)
    assert a.asked_about == set()
    assert table.remove_silent(1.1 + CLOSED_GRACE_S) == []


def test_silent_managers_are_removed_each_in_its_time(table: Table) -> None:
    a, b, c = (join(table, name) for name in "abc")
    table.assign(a, [1], None)
    table.hear("b", 10.0)
    table.disconnect(c, 20.0)
    assert table.remove_silent(20.0 + CLOSED_GRACE_S) == [(c, "its connection closed: it ended or was killed")]
    assert table.remove_silent(THRESHOLD_S) == [(a, "it sent nothing for 60 s")]
    assert (a.tasks, dict(table.manager_of), list(table.entries)) == ({1}, {}, ["b"])
    assert table.next_deadline() == 10.0 + THRESHOLD_S
    assert dict(table.departed).keys() == {"a", "c"}
    assert b.last_heard == 10.0


def test_the_changes_that_others_go_by_are_counted(table: Table) -> None:
    def counts() -> tuple[int, int]:
        return table.arrivals, table.room_changes

    a = join(table, "a")
    table.assign(a, [1], PAIR)
    before = counts()
    table.hear("a", 1.0)
    table.mark_started(a, [1])
    assert counts() == before
    table.remove_tasks(a, [1], 1.0)
    assert counts() > before
    table.remove(a, "gone")
    assert table.arrivals == before[0] + 1


# -- checks ------------------------------------------------------------------------------------------------------


def break_sets(table: Table, a: ManagerEntry) -> None:
    table._ready.discard("a")


def break_slots(table: Table, a: ManagerEntry) -> None:
    a._extra_slots += 1


def break_holders(table: Table, a: ManagerEntry) -> None:
    table._manager_of[7] = "a"


def break_watch(table: Table, a: ManagerEntry) -> None:
    table._silence.clear()


def break_reservation(table: Table, a: ManagerEntry) -> None:
    table._reserved["a"] = 9


def break_idleness(table: Table, a: ManagerEntry) -> None:
    a._idle_since = 1.0


@pytest.mark.parametrize(
    "wreck", [break_sets, break_slots, break_holders, break_watch, break_reservation, break_idleness]
)
def test_the_check_finds_what_is_wrong(table: Table, wreck: Callable[[Table, ManagerEntry], None]) -> None:
    a = join(table, "a")
    table.assign(a, [1], PAIR)
    table.remove_tasks(a, [1], 1.0)
    table.assign(a, [2], None)
    table.check_invariants()
    wreck(table, a)
    with pytest.raises(AssertionError):
        table.check_invariants()


def test_nobody_else_writes_what_is_known_of_managers() -> None:
    """Neither a private attribute of another object is used, nor any attribute of one assigned to."""
    folder = Path(manager_table.__file__).parent
    owned = set(ManagerEntry.__slots__) - {"name"}
    found = []
    for path in sorted(folder.glob("*.py")):
        nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if path.name != "manager_table.py" else ()
        for node in nodes:
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) != "self":
                writes = not isinstance(node.ctx, ast.Load) and f"_{node.attr}" in owned
                if node.attr in owned or writes:
                    found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    assert found == []

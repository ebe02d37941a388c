"""Which tasks the real TaskVine has at which worker, by what it says of workers and writes into its log."""

from __future__ import annotations

from typing import Any

from trellis.executors.taskvine.ndcctools.placements import LibraryAtWorker, Placement, Placements

SENT = b"5000000 10 LIBRARY 9 SENT worker-a\n"
STARTED = b"7000000 10 LIBRARY 9 STARTED worker-a\n"
FAILURE = b"8000000 10 LIBRARY 9 FAILURE worker-a\n"


def row(address: str, *numbers: int) -> dict[str, Any]:
    return {"addrport": address, **{f"current_task_{n:03d}_id": number for n, number in enumerate(numbers)}}


def test_tasks_are_at_workers_since_they_were_seen_there() -> None:
    it = Placements()
    it.look([row("a", 1), row("b", 2)], 5.0)
    it.look([row("a", 1), row("b", 3)], 6.0)
    assert (it.of(1), it.of(2), it.of(3)) == (Placement("a", 5.0), None, Placement("b", 6.0))
    assert it.at("a") == [1]
    it.look([row("b", 1)], 7.0)  # it runs again elsewhere
    assert it.of(1) == Placement("b", 7.0)


def test_what_runs_is_told_once_and_again_when_it_runs_elsewhere() -> None:
    it = Placements()
    it.look([row("a", 1, 2)], 5.0)
    ours = {1: False}.get
    assert it.news(ours, 4.9) == {}
    assert it.news(ours, 5.0) == {1: 5.0}
    assert it.news(ours, 9.0) == {}
    it.look([row("b", 1)], 7.0)
    assert it.news(ours, 9.0) == {1: 7.0}


def test_a_call_runs_when_its_library_is_ready() -> None:
    it = Placements()
    it.look([row("a", 1, 9)], 5.0)
    it.read(SENT)
    assert it.libraries_at("a") == {9: LibraryAtWorker(5.0, None)}
    assert (it.begun(1, True), it.begun(1, False), it.begun(7, True)) == (None, 5.0, None)
    assert it.news({1: True}.get, 100.0) == {}
    it.read(STARTED)
    assert it.begun(1, True) == 7.0
    assert it.news({1: True}.get, 100.0) == {1: 7.0}
    it.read(FAILURE)
    assert it.libraries_at("a") == {}
    assert it.begun(1, True) is None


def test_instances_of_lost_workers_are_forgotten() -> None:
    it = Placements()
    it.look([row("a", 9)], 5.0)
    it.read(SENT + STARTED)
    it.look([], 30.0)
    it.read(b"")
    it.look([row("a", 9)], 31.0)
    assert it.libraries_at("a") == {}

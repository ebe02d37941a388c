"""What becomes of files and libraries, as it is gathered for the record of a run."""

from __future__ import annotations

import math

import pytest

from trellis.executors.taskvine.embedded.manager.file_watch import _MOST, FileWatch
from trellis.executors.taskvine.embedded.manager.replicas import CachedFile
from trellis.wire.vine_watching import SeenFile, VineFilesSeen


class Gathered:
    def __init__(self, recorded: bool = True) -> None:
        self.messages: list[list[SeenFile]] = []
        self.watch = FileWatch(recorded, 1_000.0, lambda name: (f"/{name}", "file"), self._take)

    def _take(self, message: VineFilesSeen) -> None:
        self.messages.append(list(message.files))

    def flushed(self) -> list[SeenFile]:
        self.watch.flush(math.inf)
        return self.messages.pop() if self.messages else []


@pytest.fixture
def it() -> Gathered:
    return Gathered()


def test_a_file_that_comes_says_from_whom_and_one_that_is_made_there_that_it_was(it: Gathered) -> None:
    it.watch.ordered("w", "a", "x")
    it.watch.cached("w", ["a", "b"], [7, -1], [0.5, 2.0], 5.0)
    assert it.flushed() == [
        SeenFile("/a", "file", "w", "transferred", 7, "x", 1_005.0, 0.5),
        SeenFile("/b", "file", "w", "cached", 0, "w", 1_005.0, 2.0),
    ]


def test_a_file_that_does_not_come_has_failed_and_one_that_was_there_is_lost(it: Gathered) -> None:
    it.watch.ordered("w", "a", "http://x")
    it.watch.failed("w", "a", 1.0)
    it.watch.failed("w", "a", 2.0)
    seen = [(each.event, each.source) for each in it.flushed()]
    assert seen == [("failed", "http://x"), ("lost", "")]


def test_files_are_removed_and_come_home(it: Gathered) -> None:
    it.watch.removed("w", ["a"], 1.0)
    it.watch.came_home("b", CachedFile("b", "file", "/b", "workflow", 9, True, ready={"w"}), 2.0)
    it.watch.came_home("c", None, 2.0)
    seen = [(each.name, each.worker, each.event, each.source, each.size) for each in it.flushed()]
    assert seen == [("/a", "w", "removed", "", 0), ("/b", "", "transferred", "w", 9)]


def test_libraries_start_and_fail(it: Gathered) -> None:
    it.watch.library_sent("sim", 3)
    it.watch.library("w", 3, "started", 1.0)
    it.watch.library("w", 3, "failed", 2.0)
    it.watch.library("w", 3, "failed", 3.0)  # nobody knows it any more
    seen = [(each.name, each.kind, each.event, each.at) for each in it.flushed()]
    assert seen == [("sim", "library", "started", 1_001.0), ("sim", "library", "failed", 1_002.0)]


def test_what_was_on_its_way_to_a_worker_that_is_gone_is_forgotten(it: Gathered) -> None:
    it.watch.ordered("w", "a", "x")
    it.watch.left("w")
    it.watch.cached("w", ["a"], [7], [0.5], 5.0)
    assert it.flushed()[0].event == "cached"


def test_it_is_said_together(it: Gathered) -> None:
    assert it.watch.due == math.inf
    it.watch.removed("w", ["a"], 10.0)
    it.watch.removed("w", ["b"], 10.2)
    assert it.watch.due == 10.5
    it.watch.flush(10.4)
    assert it.messages == []
    it.watch.flush(10.5)
    assert (len(it.messages[0]), it.watch.due) == (2, math.inf)
    it.watch.removed("w", [str(number) for number in range(_MOST)], 11.0)
    assert len(it.messages[1]) == _MOST


def test_nothing_is_gathered_of_a_run_that_nobody_records() -> None:
    it = Gathered(recorded=False)
    it.watch.ordered("w", "a", "")
    it.watch.cached("w", ["a"], [7], [0.5], 5.0)
    it.watch.failed("w", "a", 5.0)
    it.watch.removed("w", ["a"], 5.0)
    it.watch.came_home("a", CachedFile("a", "file", "/a", "workflow", 9, True), 5.0)
    it.watch.library_sent("sim", 3)
    it.watch.library("w", 3, "started", 1.0)
    assert it.flushed() == []

"""What is recorded of TaskVine's workers, tasks and files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from trellis.core.measurements import FileSeen, Measurement, NodeSeen, TaskSample
from trellis.executors.taskvine.recording import VineRecording
from trellis.wire.measures import Sample, TaskSamples
from trellis.wire.vine import Resources, WorkerJoined
from trellis.wire.vine_watching import SeenFile, VineFilesSeen

JOINED = WorkerJoined("w", "h", Resources(4, 2, 10, 0), "b", "3.12.1", 50.0)


class Record:
    interval_s = 1.0

    def __init__(self) -> None:
        self.taken: list[Measurement] = []

    def take(self, batch: Sequence[Measurement]) -> None:
        assert batch
        self.taken += batch


@pytest.fixture
def record() -> Record:
    return Record()


@pytest.fixture
def it(record: Record) -> VineRecording:
    return VineRecording("vine", record, lambda: 100.0)


def test_workers_come_and_go(it: VineRecording, record: Record) -> None:
    it.joined(JOINED)
    it.left("w")
    it.left("w")
    here = NodeSeen("vine", "w", "h", "b", 4, 2 * 2**20, True, 4, "3.12.1", 50.0, 100.0)
    assert record.taken == [here, here._replace(active=False)]


def test_workers_end_with_their_executor(it: VineRecording, record: Record) -> None:
    it.joined(JOINED)
    it.close()
    it.close()
    assert [node.active for node in record.taken if isinstance(node, NodeSeen)] == [True, False]


def test_what_a_worker_does_not_say_is_made_up_where_it_must_be(it: VineRecording, record: Record) -> None:
    it.joined(WorkerJoined("w", "h", Resources()))
    assert record.taken == [NodeSeen("vine", "w", "h", "", 1, 0, True, 1, "", 100.0, 100.0)]


def test_samples_are_of_attempts_that_have_not_ended(it: VineRecording, record: Record) -> None:
    sample = Sample(7, 0.5, 1, 2.0, 3.0, 4, 5, 6, 7, "running", "3", 8, 9)
    attempt: Any = object()
    it.sampled(TaskSamples("w", [1, 2], [sample, sample], 60.0), {2: attempt})
    it.sampled(TaskSamples("w", [1], [sample], 61.0), {})
    assert record.taken == [TaskSample(attempt, 60.0, 7, 0.5, 1, 2.0, 3.0, 4, 5, 6, 7, "running", "3", 8, 9)]


def test_files(it: VineRecording, record: Record) -> None:
    it.files(VineFilesSeen([SeenFile("/x", "file", "w", "transferred", 9, "", 60.0, 0.5)]))
    it.files(VineFilesSeen([]))
    assert record.taken == [FileSeen("vine", "/x", "file", "w", "transferred", 9, "", 60.0, 0.5)]

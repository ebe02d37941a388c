"""What a program puts into the journal, and what it leaves out when there is no room."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from trellis.core.measurements import BlockSeen, TaskSample
from trellis.monitoring import recording as module
from trellis.monitoring.hub import MonitoringHub
from trellis.monitoring.journal import JournalReader, JournalWriter
from trellis.monitoring.messages import BLOCK, DROPPED, SAMPLE
from trellis.monitoring.recording import Recording

BLOCK_SEEN = BlockSeen("htex", "0", "job", "RUNNING", 1.0)


class Told(list[str]):
    def __call__(self, text: str) -> None:
        self.append(text)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def recording(tmp_path: Path, told: Told) -> Any:
    kernel: Any = SimpleNamespace(run_dir=str(tmp_path), notify=told)
    made = Recording(kernel, MonitoringHub(resource_monitoring_interval=7))
    made._journal = JournalWriter(made.directory)
    yield made
    made._journal.close()


def written(recording: Recording) -> list[Any]:
    reader = JournalReader(recording.directory)
    found = [entry for frame in reader.read(10**9) for entry in msgspec.msgpack.decode(frame)]
    reader.close()
    return found


def sample(task: int = 3, **changes: Any) -> TaskSample:
    record = SimpleNamespace(id=task, try_id=1, outcome=None, attempt=None)
    attempt = SimpleNamespace(key=record)
    record.attempt = changes.pop("of", attempt)
    return TaskSample(attempt, 2.0, 9, 0.5, 0, 1.0, 1.0, 5, 6, 7, 8, "sleeping", "1", **changes)


def test_what_executors_measure(recording: Any) -> None:
    recording.take([sample(), BLOCK_SEEN])
    recording.take([sample(of=None)])  # it has ended, and is to be tried again
    recording._drain()
    rest = [2.0, 9, 0.5, 0, 1.0, 1.0, 5, 6, 7, 8, "sleeping", "1", 0, 0]
    assert written(recording) == [
        [SAMPLE, 3, 1, 7, *rest],
        [BLOCK, "htex", "0", "job", "RUNNING", 1.0, ""],
        [SAMPLE, 3, 0, 7, *rest],
    ]


def test_nothing_that_is_given_raises(recording: Any) -> None:
    recording.take([object(), None, TaskSample(object(), *([0] * 14))])
    recording._drain()
    assert written(recording) == []


def test_samples_are_dropped_first_and_counted(recording: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_MEASURED", 100)
    recording.take([sample()] * 150)
    recording.take([BLOCK_SEEN] * 3)
    recording._drain()
    found = written(recording)
    kept = [entry[0] for entry in found].count(SAMPLE)
    assert [entry[0] for entry in found].count(BLOCK) == 3
    assert 0 < kept < 100
    assert found[-1] == [DROPPED, 150 - kept, 0]


def test_a_full_journal_takes_no_measurements_and_then_nothing(recording: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recording._journal.append(b"x" * 100)
    monkeypatch.setattr(module, "_FULL_FOR_SAMPLES_BYTES", 50)
    recording.take([sample()])
    recording._notes.noted.append((3, 0, 1.0, None))
    recording._drain()
    monkeypatch.setattr(module, "_FULL_BYTES", 60)
    recording._notes.noted.append((3, 1, 1.0, None))
    recording._drain()
    assert (recording._dropped_samples, recording._dropped_events) == (1, 1)


def test_a_disk_that_is_full_is_told_once(recording: Any, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(frame: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recording._journal, "append", refuse)
    for _ in range(3):
        recording._notes.noted.append((3, 0, 1.0, None))
        recording._drain()
    assert len(told) == 1
    assert "No space left on device" in told[0]
    assert recording._dropped_events == 3


def test_a_value_that_cannot_be_encoded_harms_no_other(recording: Any) -> None:
    notes = recording._notes.noted
    notes.append((0, 0, 1.0, "app", "here", False, (10**30,)))
    notes.append((0, 1, 1.0, "a\udc80pp", "here", False, None))
    notes.append((0, 2, 1.0, "app", "here", False, (5,)))
    recording._drain()
    assert written(recording) == [
        [0, 0, 1.0, "app", "here", False, {"arguments": f"1{'0' * 30}"}],
        [0, 1, 1.0, "a?pp", "here", False, None],
        [0, 2, 1.0, "app", "here", False, [5]],
    ]


def test_many_threads_measure_at_once(recording: Any) -> None:
    threads = [threading.Thread(target=recording.take, args=([sample()] * 100,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    recording._drain()
    assert len(written(recording)) == 400

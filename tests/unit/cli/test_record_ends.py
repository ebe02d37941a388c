"""What reads the record of a run that is over waits for its rest, or says that it is not there."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from trellis.cli.record_ends import complete_record


@pytest.fixture
def unfinished(tmp_path: Path) -> Path:
    """Something that nobody has recorded yet."""
    (tmp_path / "monitoring").mkdir()
    notes = tmp_path / "monitoring" / "000001.notes"
    notes.touch()
    return notes


def test_a_complete_record_needs_no_waiting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert complete_record("trellis trace", str(tmp_path))
    assert capsys.readouterr().err == ""


def test_the_rest_is_waited_for(unfinished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def record_it() -> None:
        time.sleep(0.3)
        unfinished.unlink()

    thread = threading.Thread(target=record_it)
    thread.start()
    assert complete_record("trellis trace", str(tmp_path))
    thread.join()
    assert capsys.readouterr().err == ""


def test_one_that_stays_incomplete_is_told(
    unfinished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not complete_record("trellis trace", str(tmp_path), patience_s=0.1)
    said = capsys.readouterr().err
    assert said.startswith(f"trellis trace: the record of {tmp_path} is not complete yet, and lacks what happened last")

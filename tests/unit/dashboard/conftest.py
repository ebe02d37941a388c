"""Databases with runs that never ran."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.recorded.runs import MadeUpRun
from trellis.monitoring.queries.pages_runs import RecordedRun, run
from trellis.monitoring.queries.pages_source import RecordSource

LIVE = "11111111-0000-4000-8000-000000000002"


@pytest.fixture
def made(tmp_path: Path) -> MadeUpRun:
    """A run of 400 tasks that has ended; beside it there is one that has not."""
    MadeUpRun(tasks=100, finished=False, run_id=LIVE, name="live.py").write(tmp_path / "monitoring.db")
    return MadeUpRun(tasks=400).write(tmp_path / "monitoring.db")


@pytest.fixture
def source(made: MadeUpRun, tmp_path: Path) -> Iterator[RecordSource]:
    opened = RecordSource(tmp_path / "monitoring.db")
    yield opened
    opened.close()


@pytest.fixture
def ended(source: RecordSource, made: MadeUpRun) -> RecordedRun:
    found = run(source, made.run_id)
    assert found is not None
    return found


@pytest.fixture
def unfinished(source: RecordSource) -> RecordedRun:
    found = run(source, LIVE, alive=False)
    assert found is not None
    return found

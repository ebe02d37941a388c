"""Tests here run in a bed only (``make test-slurm`` …), which is known by its mark in the environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trellis
from tests.real.bed import MARK
from tests.real.programs import Load, Told
from trellis import Config, HighThroughputExecutor

collect_ignore_glob = [] if MARK in os.environ else ["*"]


@pytest.fixture
def _asks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Providers ask for their jobs every two seconds, not once a minute."""
    monkeypatch.setattr("trellis.providers.batch.POLL_S", 2.0)


@pytest.fixture
def load(provider_class: type, tmp_path: Path, _asks_often: None) -> Iterator[Load]:
    """Load a kernel with one executor, given ``htex=``, ``config=``, and what else its provider takes."""
    kernels = []

    def start(*, htex: dict[str, Any] | None = None, config: dict[str, Any] | None = None, **provider: Any) -> Any:
        executor = HighThroughputExecutor(label="htex", provider=provider_class(**provider), **(htex or {}))
        settings = {"strategy_period": 0.5, **(config or {})}
        settings.setdefault("run_dir", str(tmp_path / "runinfo"))
        kernels.append(trellis.load(Config(executors=[executor], **settings)))
        return executor

    yield start
    for kernel in kernels:
        kernel.cleanup()
        trellis.clear()


@pytest.fixture
def told(capfd: pytest.CaptureFixture[str]) -> Told:
    """Lines on the console that have this in them, so far."""
    lines: list[str] = []

    def look(text: str) -> list[str]:
        lines.extend(capfd.readouterr().err.splitlines())
        return [line for line in lines if text in line]

    return look


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """Where tasks note that they have started."""
    directory = tmp_path / "notes"
    directory.mkdir()
    return directory

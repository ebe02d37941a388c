"""The worker's process."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from trellis.executors.common import host
from trellis.executors.taskvine.embedded.worker import main as worker_main


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Handlers of signals and logs that it sets."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    root = logging.getLogger("trellis")
    handlers, level = root.handlers[:], root.level
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


def test_a_defect_is_in_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_main, "_serve", lambda *_: 1 // 0)
    monkeypatch.setattr(worker_main, "show_as", lambda _: None)
    monkeypatch.setattr(
        "sys.argv", ["worker", "127.0.0.1", "1", "--log", str(tmp_path / "log"), "--workspace", str(tmp_path / "w")]
    )
    assert worker_main.main() == 1
    assert "ZeroDivisionError" in (tmp_path / "log").read_text()


def test_a_variable_that_makes_no_sense_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worker_main, "show_as", lambda _: None)
    monkeypatch.setenv("PARSL_CORES", "many")
    assert worker_main.main(["127.0.0.1", "1", "--workspace", str(tmp_path / "w")]) == 1
    assert "PARSL_CORES must be a number of at least 1, not 'many'" in capsys.readouterr().err


def test_no_more_disk_is_offered_than_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_main.shutil, "disk_usage", lambda _: SimpleNamespace(free=900 * 2**20))
    usable = host.Usable([0], 1, 2**30, None)

    def disk(*words: str) -> float | None:
        return worker_main._offer(worker_main.parse_arguments(["h", "1", *words]), tmp_path, usable).disk

    assert (disk(), disk("--disk", "700"), disk("--disk", "1000")) == (450, 700, 900)

"""The server of ``Config(dashboard=True)``: tells its link, ends with the run, and with a program that is killed."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.recorded.runs import MadeUpRun
from trellis.dashboard import server_process
from trellis.dashboard.server_process import DashboardServer


def kernel(tmp_path: Path, run_id: str, told: list[str]) -> Any:
    config = SimpleNamespace(run_dir=str(tmp_path))
    return SimpleNamespace(run_dir=str(tmp_path), run_id=run_id, config=config, notify=told.append)


def wait_for(told: list[str]) -> str:
    deadline = time.monotonic() + 60
    while not told:
        assert time.monotonic() < deadline, "nothing is told"
        time.sleep(0.05)
    return told[0]


def test_the_link_is_told_and_works_until_the_run_ends(tmp_path: Path) -> None:
    made = MadeUpRun(tasks=30).write(tmp_path / "monitoring.db")
    told: list[str] = []
    server = DashboardServer(kernel(tmp_path, made.run_id, told), f"sqlite:///{tmp_path}/monitoring.db")
    server.begin()
    try:
        link = wait_for(told).split()[-1]
        with urllib.request.urlopen(link, timeout=30) as answer:
            assert b"galaxies.py" in answer.read()
        process = server._process
        assert process is not None
        assert str(tmp_path) not in " ".join(map(str, process.args))  # a URL may have a password
    finally:
        server.end()
    assert process.poll() is not None
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(link, timeout=5)
    server.end()  # once more harms nobody


def test_it_ends_when_nobody_holds_its_input_any_more(tmp_path: Path) -> None:
    made = MadeUpRun(tasks=30).write(tmp_path / "monitoring.db")
    told: list[str] = []
    server = DashboardServer(kernel(tmp_path, made.run_id, told), f"sqlite:///{tmp_path}/monitoring.db")
    server.begin()
    wait_for(told)
    process = server._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()  # as the system does for a program that is killed
    assert process.wait(30) == 0
    server.end()


def test_missing_packages_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_process, "_NEEDED", ("no_such_package",))
    told: list[str] = []
    server = DashboardServer(kernel(tmp_path, "run", told), "sqlite:///x")
    server.begin()
    server.end()
    assert "no_such_package" in told[0]
    assert "pip install 'trellis-parallel[dashboard]'" in told[0]
    assert not os.listdir(tmp_path)

"""``trellis report`` and ``trellis dashboard``: which database is meant, what is written, what is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recorded.runs import MadeUpRun
from trellis.cli import main as cli
from trellis.cli.dashboard import open_place, run_of
from trellis.dashboard.report import make_report
from trellis.errors import ConfigurationError
from trellis.monitoring.queries.pages_source import RecordSource


def test_a_report_has_all_inside(source: RecordSource, made: MadeUpRun) -> None:
    text = make_report(source, made.run_id)
    for words in ("galaxies.py", "ValueError", "negative pressure", "node02", "plotly.js"):
        assert words in text
    assert " src=" not in text.partition("<body>")[2]
    assert '<link rel="stylesheet"' not in text
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text


def test_a_report_of_the_latest_run_by_default(source: RecordSource, made: MadeUpRun, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    assert cli.main(["report", str(tmp_path), "-o", str(output)]) == 0
    assert "<!DOCTYPE html>" in output.read_text()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["monitoring.db", "report.html"]


def test_a_run_that_is_not_there_is_named(
    source: RecordSource, made: MadeUpRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "report.html"
    assert cli.main(["report", str(tmp_path), "--run", "nonsense", "-o", str(output)]) == 2
    assert made.run_id in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize("command", ["dashboard", "report"])
def test_without_a_record_it_is_said_how_to_get_one(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, str(tmp_path)]) == 2
    assert "Config(monitoring=MonitoringHub())" in capsys.readouterr().err


def test_the_directory_of_one_run_is_enough(tmp_path: Path) -> None:
    rundir = tmp_path / "003"
    rundir.mkdir()
    made = MadeUpRun(tasks=20, rundir=str(rundir)).write(tmp_path / "monitoring.db")
    opened, found = open_place(str(rundir))
    try:
        assert run_of(opened, found) == made.run_id
    finally:
        opened.close()


def test_a_port_that_is_taken_is_said(source: RecordSource, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert cli.main(["dashboard", str(tmp_path), "--port", port]) == 2
    assert "try another --port" in capsys.readouterr().err


@pytest.mark.parametrize("port", ["-1", "65536", "many"])
def test_a_wrong_port_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["dashboard", f"--port={port}"])
    assert "whole number from 0 to 65535" in capsys.readouterr().err


def test_a_run_without_tasks_has_a_report(tmp_path: Path) -> None:
    made = MadeUpRun(tasks=10).write(tmp_path / "monitoring.db")
    import sqlite3

    with sqlite3.connect(tmp_path / "monitoring.db") as database:
        for table in ("task", "try", "status", "node", "block", "resource"):
            database.execute(f'DELETE FROM "{table}"')
    database.close()
    opened = RecordSource(tmp_path / "monitoring.db")
    try:
        assert "of 0 tasks ended" in make_report(opened, made.run_id)
    finally:
        opened.close()
    with pytest.raises(ConfigurationError):
        RecordSource(tmp_path / "missing.db")

"""``trellis vine-worker`` and ``trellis vine-status``: what they are told, what they print, and how they fail."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from trellis.cli.main import main
from trellis.executors.taskvine import status as status_module
from trellis.executors.taskvine.embedded.worker import main as worker_main
from trellis.executors.taskvine.projects import DIRECTORY_VARIABLE, Project, announce
from trellis.wire.vine import Resources, VineStatus, WorkerStatus

WORKER = WorkerStatus(
    "w1",
    "host1",
    Resources(4, 8000, 9000, 1),
    Resources(2, 100, 200, 0),
    2,
    {"lib": 3},
    5,
    12.5,
    0.0,
    from_factory=True,
)
STATUS = VineStatus(0, 11, 2, 33, 1, [WORKER], 2_500_000, 7_000_000_000, 0, 30, 10)


@pytest.fixture(autouse=True)
def projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "projects"))


@pytest.fixture
def worker_words(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the worker is started with."""
    words: list[str] = []

    def run(argv: list[str]) -> int:
        words.extend(argv)
        return 0

    monkeypatch.setattr(worker_main, "main", run)
    return words


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_a_worker_gets_its_words_as_they_are(worker_words: list[str]) -> None:
    assert main(["vine-worker", "host", "99", "--password-file", "f", "--cores", "2"]) == 0
    assert worker_words == ["host", "99", "--password-file", "f", "--cores", "2"]


def test_a_worker_finds_a_project(worker_words: list[str]) -> None:
    announce("mine", Project(["10.0.0.1", "10.0.0.2"], 99, "/secret"))
    assert main(["vine-worker", "--project", "mine", "--cores", "2"]) == 0
    assert worker_words == ["10.0.0.1,10.0.0.2", "99", "--password-file", "/secret", "--cores", "2"]


def test_a_worker_may_have_the_password_elsewhere(worker_words: list[str]) -> None:
    announce("mine", Project(["10.0.0.1"], 99, "/secret"))
    assert main(["vine-worker", "--project", "mine", "--password-file", "here"]) == 0
    assert worker_words == ["10.0.0.1", "99", "--password-file", "here"]


def test_a_project_that_is_not_there(worker_words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    announce("other", Project(["10.0.0.1"], 99, "/secret"))
    assert main(["vine-worker", "--project", "mine"]) == 2
    assert worker_words == []
    assert "there is no project mine" in (said := capsys.readouterr().err)
    assert "other" in said


def test_the_help_names_both(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    said = capsys.readouterr().out
    assert "vine-worker" in said
    assert "vine-status" in said


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was asked; the answer is ``STATUS``."""
    questions: list[Any] = []

    def answer(*question: Any) -> VineStatus:
        questions.append(question)
        return STATUS

    monkeypatch.setattr(status_module, "manager_status", answer)
    monkeypatch.setenv("COLUMNS", "200")
    return questions


def test_a_status_is_a_table(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vine-status", "host", "99", "--password-file", "f", "--timeout", "3"]) == 0
    assert asked == [(["host"], 99, Path("f"), 3.0)]
    said = capsys.readouterr().out
    assert "11 waiting, 2 running, 33 done, 1 failed" in said
    assert "2.5 MB" in said
    assert "7.0 GB" in said
    assert "30 of 40, 75 %" in said
    (line,) = [line for line in said.splitlines() if "host1" in line]
    for word in ("w1", "2/4", "100/8000", "200/9000", "0/1", "12.5 MB", "lib: 3"):
        assert word in line


def test_the_status_of_a_project(asked: list[Any]) -> None:
    announce("mine", Project(["10.0.0.1"], 99, "/secret"))
    assert main(["vine-status", "--project", "mine"]) == 0
    assert asked == [(["10.0.0.1"], 99, Path("/secret"), 5.0)]


@pytest.mark.parametrize("words", [[], ["host"], ["host", "1", "--project", "mine"]])
def test_one_manager_must_be_named(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vine-status", *words]) == 2
    assert "HOST and PORT, or --project NAME" in capsys.readouterr().err


def test_a_manager_that_is_gone(capsys: pytest.CaptureFixture[str]) -> None:
    port = closed_port()
    assert main(["vine-status", "127.0.0.1", str(port), "--timeout", "0.1"]) == 1
    assert f"nobody listens at port {port} of 127.0.0.1" in capsys.readouterr().err


def test_a_project_whose_manager_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "secret").write_text("secret")
    announce("mine", Project(["127.0.0.1"], closed_port(), str(tmp_path / "secret"), 123))
    assert main(["vine-status", "--project", "mine", "--timeout", "0.1"]) == 1
    assert "project mine, announced by process 123: nobody listens" in capsys.readouterr().err


def test_a_password_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vine-status", "127.0.0.1", "1", "--password-file", "/nowhere/secret"]) == 1
    assert "cannot read the password file /nowhere/secret" in capsys.readouterr().err


def test_somebody_who_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert main(["vine-status", "127.0.0.1", str(port), "--timeout", "0.1"]) == 1
    assert "does not answer within 0.1 s (another password" in capsys.readouterr().err

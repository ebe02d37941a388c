from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.watching.played import Apps, Played, kernel_of, until
from trellis.dataflow.kernel import DataFlowKernel
from trellis.watching import run_file, run_socket, socket_place
from trellis.watching.ask import NoAnswer, QuestionRefused, ask
from trellis.watching.find_runs import FoundRun, judge
from trellis.watching.questions import AskCancel, AskExplain, AskFacts, AskStatus, AskTasks
from trellis.watching.snapshot import as_json


@pytest.fixture
def played() -> Played:
    return Played()


@pytest.fixture
def kernel(played: Played, tmp_path: Path) -> Iterator[DataFlowKernel]:
    kernel = kernel_of(played, tmp_path)
    yield kernel
    kernel.cleanup()


@pytest.fixture
def apps(kernel: DataFlowKernel) -> Apps:
    return Apps(kernel)


def run_of(kernel: DataFlowKernel) -> FoundRun:
    return judge(run_file.read(kernel.run_dir))


def raw(kernel: DataFlowKernel, line: bytes) -> Any:
    """The answer to bytes of any kind."""
    with socket_place.connect(run_of(kernel).file.socket_path, 10.0) as connection, connection.makefile("rwb") as file:
        file.write(line)
        file.flush()
        connection.shutdown(socket.SHUT_WR)
        hello, answer = file.readlines()
        assert json.loads(hello)["run_id"] == kernel.run_id
        return json.loads(answer)


def test_what_is_asked_is_what_the_program_would_be_told(kernel: DataFlowKernel, apps: Apps) -> None:
    future = apps.simulate(apps.simulate())
    run = run_of(kernel)
    assert ask(run, AskFacts()) == as_json(kernel.status().run)
    assert ask(run, AskStatus())["states"] == {"pending": 1, "launched": 1}
    assert ask(run, AskExplain(1))["text"] == future.explain().text
    assert [task["task_id"] for task in ask(run, AskTasks(states=["pending"]))["tasks"]] == [1]


def test_tasks_and_whole_apps_are_cancelled_dependents_first(
    kernel: DataFlowKernel, apps: Apps, played: Played
) -> None:
    first = apps.simulate()
    dependent = apps.simulate(first)
    done, kept, stubborn = apps.known(1), apps.known(2), apps.stubborn()
    played.end(done)
    done.result()
    assert ask(run_of(kernel), AskCancel([done.tid, stubborn.tid, 77], ["simulate"])) == {
        "cancelled": [0, 1],
        "running": [4],
        "final": [2],
        "unknown": [77],
    }
    assert (first.cancelled(), dependent.task_status(), kept.task_status()) == (True, "cancelled", "launched")


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (AskExplain(7), "there is no task 7"),
        (AskTasks(states=["done"]), "there is no state 'done'"),
        (AskCancel([], ["nothing"]), "no app nothing was called; apps that were: none yet"),
    ],
)
def test_what_cannot_be_answered_is_said(question: Any, words: str, kernel: DataFlowKernel) -> None:
    with pytest.raises(QuestionRefused, match=words):
        ask(run_of(kernel), question)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"nonsense\n",
        b"{}\n",
        b"[]\n",
        b"\xff\xfe\n",
        b'{"ask":"everything"}\n',
        b'{"ask":"explain"}\n',
        b'{"ask":"explain","task":"x"}\n',
        b'{"ask":"status","timeout_s":0}\n',
        b'{"ask":"status","timeout_s":1e9}\n',
        b'{"ask":"status","colour":1}\n',
        b'{"ask":"tasks","limit":-1}\n',
    ],
)
def test_what_is_no_question_is_refused_and_harms_nobody(line: bytes, kernel: DataFlowKernel) -> None:
    assert "does not understand the question" in raw(kernel, line)["error"]
    assert ask(run_of(kernel), AskFacts())


def test_a_part_that_fails_is_an_answer(kernel: DataFlowKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise OSError("no memory")

    monkeypatch.setattr("trellis.watching.answers.take_status", broken)
    with pytest.raises(QuestionRefused, match="the run cannot answer: OSError: no memory"):
        ask(run_of(kernel), AskStatus())


def test_who_is_silent_holds_nobody_up_and_too_many_are_told(
    kernel: DataFlowKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_socket, "_AT_A_TIME", 2)
    run = run_of(kernel)
    silent = socket_place.connect(run.file.socket_path, 5.0)
    until(lambda: any(thread.name == "trellis-run-answer" for thread in threading.enumerate()))
    assert ask(run, AskFacts())
    another = socket_place.connect(run.file.socket_path, 5.0)
    until(lambda: sum(thread.name == "trellis-run-answer" for thread in threading.enumerate()) == 2)
    with pytest.raises(QuestionRefused, match="2 others are being answered: try again"):
        ask(run, AskFacts())
    silent.close()
    another.close()


def test_another_user_is_refused(kernel: DataFlowKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(kernel)
    monkeypatch.setattr(os, "geteuid", lambda: 61001)  # the program's now; this test asks as who it is
    monkeypatch.setattr("trellis.watching.ask.judge", lambda file: run)
    with pytest.raises(QuestionRefused, match=rf"is of another user \(uid 61001, you are {os.getuid()}\)"):
        ask(run, AskFacts())


def test_at_the_end_the_file_says_how_it_went_and_the_socket_is_gone(played: Played, tmp_path: Path) -> None:
    kernel = kernel_of(played, tmp_path)
    apps = Apps(kernel)
    done, _ = apps.simulate(), apps.stubborn()
    played.end(done)
    done.result()
    kernel.cleanup()
    run = run_of(kernel)
    assert run.state == "ended"
    end = run.file.end
    assert end is not None
    assert (end.total, end.states, end.abandoned) == (2, {"exec_done": 1, "failed": 1}, 1)
    assert [app.app for app in end.apps] == ["simulate", "stubborn"]
    assert os.listdir(kernel.run_dir) == ["run.json"]
    with pytest.raises(NoAnswer) as refused:
        ask(run, AskStatus())
    assert refused.value.state == "ended"


def test_a_run_without_a_socket_says_why(played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(directory: str) -> None:
        raise OSError("no place takes one")

    monkeypatch.setattr(socket_place, "listen", refuse)
    kernel = kernel_of(played, tmp_path)
    with pytest.raises(NoAnswer, match="it has no socket: no place takes one"):
        ask(run_of(kernel), AskStatus())
    assert kernel.status().state == "live"
    kernel.cleanup()
    assert run_of(kernel).state == "ended"


def test_a_directory_that_was_removed_does_not_trouble_the_end(
    played: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kernel = kernel_of(played, tmp_path)
    for file in Path(kernel.run_dir).iterdir():
        file.unlink()
    Path(kernel.run_dir).rmdir()
    kernel.cleanup()
    assert capsys.readouterr().err == ""


def test_a_run_file_that_cannot_be_written_is_told_and_tasks_go_on(
    played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(file: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(run_file, "write", refuse)
    kernel = kernel_of(played, tmp_path)
    future = Apps(kernel).simulate()
    played.end(future, 5)
    assert future.result() == 5
    kernel.cleanup()
    assert "RunSocket failed (OSError: disk full); the tasks go on without it" in capsys.readouterr().err


def test_the_socket_of_another_run_is_not_believed(kernel: DataFlowKernel, tmp_path: Path) -> None:
    other = kernel_of(Played(), tmp_path)
    os.replace(os.path.join(kernel.run_dir, "run.sock"), os.path.join(other.run_dir, "run.sock"))
    with pytest.raises(NoAnswer, match="its socket is that of another run"):
        ask(run_of(other), AskFacts())
    with pytest.raises(NoAnswer, match=r"run\.sock is not there any more"):
        ask(run_of(kernel), AskFacts())
    other.cleanup()


def test_who_accepts_and_says_nothing_is_not_waited_for(kernel: DataFlowKernel) -> None:
    run = run_of(kernel)
    os.unlink(run.file.socket_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(run.file.socket_path)
        listener.listen()
        with pytest.raises(NoAnswer, match=r"has not answered within 0\.05 s.*py-spy dump") as refused:
            ask(run, AskFacts(), hello_s=0.05)
    assert refused.value.state == "silent"

"""A real manager, and those who connect to it: workers, strangers, people who ask."""

from __future__ import annotations

import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.integration.taskvine.vines import CALL, running, status_of, wait_for, worker_of
from trellis.cli.main import main
from trellis.executors.taskvine import TaskVineExecutor, TaskVineFile
from trellis.executors.taskvine.front.client import VineClient
from trellis.executors.taskvine.projects import DIRECTORY_VARIABLE
from trellis.executors.taskvine.status import manager_status
from trellis.transport.context import new_context
from trellis.transport.endpoint import ClientEndpoint
from trellis.transport.keys import keys_from_password
from trellis.wire.codec import Decoder, encode_header
from trellis.wire.messages import DismissManager, Message
from trellis.wire.vine import (
    VINE_PROTOCOL_VERSION,
    CacheUpdated,
    CallsEnded,
    FileChunk,
    RegisterWorker,
    Resources,
    SendFile,
    ToVineWorker,
    VineStatus,
    WelcomeWorker,
)

DECODER: Decoder[Message] = Decoder(ToVineWorker)


def password_file(executor: TaskVineExecutor) -> Path:
    return Path(executor.logdir) / "password"


def port_of(executor: TaskVineExecutor) -> int:
    words = executor.worker_command.split()
    return next(int(word) for word in words if word.isdigit())


class Puppet:
    """Says to a manager what a test wants it to say."""

    def __init__(self, endpoint: ClientEndpoint, name: str) -> None:
        self._endpoint = endpoint
        self.name = name

    def say(self, message: Message, *payload: bytes) -> None:
        self._endpoint.send([encode_header(message), *payload])

    def say_raw(self, *frames: bytes) -> None:
        self._endpoint.send(list(frames))

    def hear(self, kind: type[Any]) -> Any:
        while True:
            assert self._endpoint.wait(20), f"no {kind.__name__} came"
            message = DECODER.decode((self._endpoint.receive() or [b""])[0])
            if isinstance(message, kind):
                return message

    def register(self) -> None:
        self.say(
            RegisterWorker(
                VINE_PROTOCOL_VERSION, self.name, "h", 1, Resources(1, 1, 1, 0), [], "127.0.0.1:1", None, [], []
            )
        )
        self.hear(WelcomeWorker)


@contextmanager
def puppet(executor: TaskVineExecutor, name: str | None = None) -> Iterator[Puppet]:
    name = name or secrets.token_hex(4)
    context = new_context()
    keys = keys_from_password(password_file(executor).read_bytes().strip())[1]
    endpoint = ClientEndpoint(context, keys, name.encode())
    try:
        endpoint.connect(f"tcp://127.0.0.1:{port_of(executor)}")
        yield Puppet(endpoint, name)
    finally:
        endpoint.close(0)
        context.term()


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[TaskVineExecutor]:
    """Without workers, but for those that a test makes."""
    with running(tmp_path / "run", method="manual", manager={"address": "127.0.0.1"}) as executor:
        yield executor


def test_who_does_not_know_the_password_gets_nothing(executor: TaskVineExecutor, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_text("guessed")
    for wrong in (tmp_path / "wrong", None):
        with pytest.raises(ConnectionError, match="does not answer"):
            manager_status(["127.0.0.1"], port_of(executor), wrong, 0.5)
    assert manager_status(["127.0.0.1"], port_of(executor), password_file(executor)).workers == []


def test_people_can_ask(executor: TaskVineExecutor, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with worker_of(executor, "--cores", "2", log=tmp_path / "log"):
        assert executor.submit(abs, CALL, -1).result() == 1
        words = ["127.0.0.1", str(port_of(executor)), "--password-file", str(password_file(executor))]
        assert main(["vine-status", *words]) == 0
        assert "1 done" in capsys.readouterr().out


def test_a_project_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "projects"))
    options = {"address": "127.0.0.1", "project_name": "mine"}
    with running(tmp_path / "run", method="manual", manager=options) as executor:
        assert main(["vine-status", "--project", "mine"]) == 0
        command = [sys.executable, "-m", "trellis", "vine-worker", "--project", "mine", "--cores", "1"]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as worker:
            assert executor.submit(abs, CALL, -1).result() == 1
            worker.terminate()
    assert main(["vine-status", "--project", "mine"]) == 1
    assert "there is no project mine" in capsys.readouterr().err


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b"garbage"],
        [encode_header(CallsEnded([1], [], [1.0], [1.0], [10]))],
        [encode_header(CallsEnded([1], [7], [1.0], [1.0], [0])), b""],
        [encode_header(CacheUpdated(["f"], [1, 2], [0.0]))],
        [encode_header(SendFile("f", -5, 10))],
        [encode_header(FileChunk("f", 5, 2))],
    ],
    ids=["nothing", "garbage", "no payload", "no such task", "lengths", "offset", "chunk"],
)
def test_a_worker_that_says_nonsense_goes_and_the_others_stay(
    executor: TaskVineExecutor, tmp_path: Path, frames: list[bytes]
) -> None:
    with worker_of(executor, log=tmp_path / "log"), puppet(executor) as bad:
        wait_for(lambda: status_of(executor).workers)
        bad.register()
        bad.say_raw(*(frames or [b""]))
        assert "bad message" in bad.hear(DismissManager).reason
        assert executor.submit(abs, CALL, -1).result() == 1
        assert len(status_of(executor).workers) == 1


def test_what_a_worker_says_of_things_that_nobody_knows_changes_nothing(
    executor: TaskVineExecutor, tmp_path: Path
) -> None:
    with puppet(executor) as odd:
        odd.say(CallsEnded([99], [], [1.0], [1.0], [1]), b"x")  # before it has registered
        odd.register()
        odd.say(CallsEnded([99], [], [1.0], [1.0], [1]), b"x")
        odd.say(CacheUpdated(["nobody-knows"], [1], [1.0]))
        odd.say(FileChunk("nobody-asked", 0, 1), b"x")
        odd.say(SendFile("nobody-has", 0, 10))
        assert odd.hear(FileChunk).error
        assert [worker.worker for worker in status_of(executor).workers] == [odd.name]


def test_a_worker_that_registers_twice_is_one_worker(executor: TaskVineExecutor) -> None:
    with puppet(executor, "twice") as worker:
        worker.register()
        worker.register()
        assert len(status_of(executor).workers) == 1
    wait_for(lambda: not status_of(executor).workers)
    with puppet(executor, "twice") as worker:
        worker.register()
        assert len(status_of(executor).workers) == 1


class _SlowServer(BaseHTTPRequestHandler):
    go = threading.Event()

    def do_HEAD(self) -> None:
        self.go.wait(20)
        self.send_response(200)
        self.send_header("ETag", '"1"')
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"content")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def slow_url() -> Iterator[str]:
    _SlowServer.go.clear()
    server = HTTPServer(("127.0.0.1", 0), _SlowServer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/f"
    _SlowServer.go.set()
    server.shutdown()
    thread.join()
    server.server_close()


def read(file: Any) -> str:
    return Path(file).read_text()


def test_a_server_that_takes_its_time_does_not_hold_up_the_manager(
    executor: TaskVineExecutor, tmp_path: Path, slow_url: str
) -> None:
    with worker_of(executor, log=tmp_path / "log"):
        assert executor.submit(abs, CALL, -1).result() == 1
        future = executor.submit(read, CALL, TaskVineFile(slow_url, cache="forever"))
        assert manager_status(["127.0.0.1"], port_of(executor), password_file(executor)).done == 1
        assert not future.done()
        _SlowServer.go.set()
        assert future.result() == "content"
        assert status_of(executor).fetched_by_workers == len("content")


def test_a_manager_that_waits_for_names_of_files_does_not_count_as_hanging(
    tmp_path: Path, slow_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TaskVineExecutor, "_heartbeat_period_s", 0.5)
    monkeypatch.setattr(TaskVineExecutor, "_heartbeat_threshold_s", 2.0)
    beats: list[Message] = []
    hear = VineClient._on_message

    def note(client: VineClient, message: Message, frames: Any) -> None:
        if isinstance(message, VineStatus):
            beats.append(message)
        hear(client, message, frames)

    monkeypatch.setattr(VineClient, "_on_message", note)
    with running(tmp_path / "run") as executor:
        future = executor.submit(read, CALL, TaskVineFile(slow_url, cache="forever"))
        beats.clear()
        # For longer than the threshold; it hears no questions meanwhile.
        wait_for(lambda: len(beats) >= 8 or future.done())
        assert not future.done()
        _SlowServer.go.set()
        assert future.result() == "content"

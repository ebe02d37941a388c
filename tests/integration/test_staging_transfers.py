"""Downloads from servers on this machine."""

from __future__ import annotations

import functools
import http.server
import pathlib
import socketserver
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.staging.fakes import InlineKernel, make_manager
from trellis.staging import ftp
from trellis.staging import http as staging_http
from trellis.staging.base import Staging
from trellis.staging.files import File

CONTENT = bytes(range(256)) * 10_000


class HTTPHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None: ...

    def do_GET(self) -> None:
        if self.path != "/cut":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"too little")


class FTPHandler(socketserver.StreamRequestHandler):
    """Just enough of a server for one download."""

    served: pathlib.Path
    logins: list[str] = []
    cut = False  # says how long files are, and breaks off

    def handle(self) -> None:
        self.say("220 ready")
        directory = ""
        listener = socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        with listener:
            while line := self.rfile.readline().decode().strip():
                command, _, argument = line.partition(" ")
                match command:
                    case "USER":
                        self.logins.append(argument)
                        self.say("331 password")
                    case "PASS":
                        self.say("230 welcome")
                    case "CWD":
                        directory = argument
                        self.say("250 there")
                    case "TYPE":
                        self.say("200 binary")
                    case "EPSV" | "PASV":
                        port = listener.server_address[1]
                        self.say(f"227 passive (127,0,0,1,{port // 256},{port % 256})")
                    case "SIZE" if self.cut:
                        self.say("213 1000")
                    case "RETR":
                        self.send_file(listener, self.served / directory.strip("/") / argument)
                    case "QUIT":
                        self.say("221 bye")
                        return
                    case _:
                        self.say("502 unknown")

    def send_file(self, listener: socketserver.TCPServer, path: pathlib.Path) -> None:
        connection, _ = listener.get_request()
        with connection:
            if not path.exists():
                self.say("550 no such file")
                return
            self.say("150 here it comes")
            connection.sendall(path.read_bytes())
        self.say("226 that is all")

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@pytest.fixture
def served(tmp_path: pathlib.Path) -> pathlib.Path:
    directory = tmp_path / "served"
    (directory / "d").mkdir(parents=True)
    (directory / "d" / "data.bin").write_bytes(CONTENT)
    return directory


def serve(handler: Any) -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture
def http_port(served: pathlib.Path) -> Iterator[int]:
    yield from serve(functools.partial(HTTPHandler, directory=str(served)))


@pytest.fixture
def ftp_port(served: pathlib.Path) -> Iterator[int]:
    FTPHandler.served = served
    FTPHandler.logins.clear()
    yield from serve(FTPHandler)


def read(file: File) -> bytes:
    return pathlib.Path(file).read_bytes()


def fetch_in_task(staging: Staging, url: str, working_dir: pathlib.Path) -> bytes:
    file, func = make_manager([staging], str(working_dir)).optionally_stage_in(File(url), read, "e")
    content: bytes = func(file)
    return content


def fetch_separately(staging: Staging, url: str, working_dir: pathlib.Path) -> bytes:
    manager = make_manager([staging], str(working_dir))
    future, func = manager.optionally_stage_in(File(url), read, "e")
    assert func is read
    assert isinstance(manager.dfk, InlineKernel)
    assert manager.dfk.labels == [("_parsl_internal",)]
    return read(future.result(timeout=30))


def test_http(http_port: int, tmp_path: pathlib.Path) -> None:
    url = f"http://127.0.0.1:{http_port}/d/data.bin"
    assert fetch_in_task(staging_http.HTTPInTaskStaging(), url, tmp_path / "in") == CONTENT
    separate = staging_http.HTTPSeparateTaskStaging()
    assert fetch_separately(separate, url, tmp_path / "separate") == CONTENT
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["data.bin"]


@pytest.mark.parametrize(
    ("path", "complaint"),
    [("absent", "HTTP status 404"), ("cut", "the connection closed after 10 of 1000 bytes")],
)
def test_http_failures_name_the_url(path: str, complaint: str, http_port: int, tmp_path: pathlib.Path) -> None:
    url = f"http://127.0.0.1:{http_port}/{path}"
    with pytest.raises(OSError, match=f"cannot fetch {url}: .*{complaint}|cannot fetch {url}: {complaint}"):
        fetch_in_task(staging_http.HTTPInTaskStaging(), url, tmp_path / "in")
    assert not (tmp_path / "in").exists() or list((tmp_path / "in").iterdir()) == []


def test_ftp(ftp_port: int, tmp_path: pathlib.Path) -> None:
    url = f"ftp://127.0.0.1:{ftp_port}/d/data.bin"
    assert fetch_in_task(ftp.FTPInTaskStaging(), url, tmp_path / "in") == CONTENT
    named = url.replace("127", "me:pass%40word@127", 1)
    assert fetch_separately(ftp.FTPSeparateTaskStaging(), named, tmp_path / "out") == CONTENT
    assert FTPHandler.logins == ["anonymous", "me"]


def test_what_an_ftp_server_breaks_off_is_no_file(
    ftp_port: int, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FTPHandler, "cut", True)
    complaint = f"cannot fetch ftp://127.0.0.1/d/data.bin: .* after {len(CONTENT)} of 1000 bytes"
    with pytest.raises(OSError, match=complaint):
        fetch_in_task(ftp.FTPInTaskStaging(), f"ftp://127.0.0.1:{ftp_port}/d/data.bin", tmp_path / "in")
    assert list((tmp_path / "in").iterdir()) == []


def test_ftp_failures_name_the_url_without_the_password(ftp_port: int, tmp_path: pathlib.Path) -> None:
    with pytest.raises(OSError, match=r"cannot fetch ftp://127.0.0.1/d/absent: 550 no such file"):
        fetch_in_task(ftp.FTPInTaskStaging(), f"ftp://me:pw@127.0.0.1:{ftp_port}/d/absent", tmp_path / "in")


def test_a_server_that_is_not_there(tmp_path: pathlib.Path) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), HTTPHandler) as server:
        port = server.server_address[1]
    for scheme, staging in (("http", staging_http.HTTPInTaskStaging()), ("ftp", ftp.FTPInTaskStaging())):
        with pytest.raises(OSError, match=f"cannot fetch {scheme}://127.0.0.1"):
            fetch_in_task(staging, f"{scheme}://127.0.0.1:{port}/a", tmp_path)

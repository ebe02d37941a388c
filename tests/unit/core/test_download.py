"""Downloads: what a server breaks off, or changes meanwhile, is never a file."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from trellis.core.download import ask_version, read_url

CONTENT = b"x" * 1000
Reply = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """Answers as a test says."""

    def __init__(self) -> None:
        self.get: Reply = lambda request: None
        self.head: Reply = lambda request: answer(request, 405)
        own = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                own.get(self)
                self.close_connection = True

            def do_HEAD(self) -> None:
                own.head(self)
                self.close_connection = True

            def log_message(self, *words: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/f"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    it = Server()
    yield it
    it.close()


def answer(request: BaseHTTPRequestHandler, status: int = 200, body: bytes = b"", **headers: str) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body)


def read(server: Server, version: str = "") -> bytes:
    target = io.BytesIO()
    read_url(server.url, target, version)
    return target.getvalue()


def md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (CONTENT, {"Content_Length": "1000"}),
        (CONTENT, {}),  # until the connection closes: nobody can know more
        (b"3e8\r\n" + CONTENT + b"\r\n0\r\n\r\n", {"Transfer_Encoding": "chunked"}),
        (CONTENT, {"Content_Length": "1000", "Content_MD5": md5(CONTENT)}),
        (CONTENT, {"Content_Length": "1000", "ETag": '"1"'}),
    ],
)
def test_what_is_whole_is_taken(server: Server, body: bytes, headers: dict[str, str]) -> None:
    server.get = lambda request: answer(request, 200, body, **headers)
    assert read(server) == CONTENT


@pytest.mark.parametrize(
    ("status", "body", "headers", "words"),
    [
        (200, b"x" * 10, {"Content_Length": "1000"}, "after 10 of 1000 bytes"),
        (200, b"", {"Content_Length": "1000"}, "after 0 of 1000 bytes"),
        (200, b"3e8\r\nxxx", {"Transfer_Encoding": "chunked"}, "IncompleteRead"),
        (200, b"3\r\nxxx\r\n", {"Transfer_Encoding": "chunked"}, "IncompleteRead"),  # no last chunk
        (200, CONTENT, {"Transfer_Encoding": "gzip, chunked"}, "transfer encoding 'gzip, chunked'"),
        (200, CONTENT, {"Content_Length": "many"}, "many"),
        (206, b"x" * 10, {"Content_Length": "10", "Content_Range": "bytes 0-9/1000"}, "HTTP status 206"),
        (204, b"", {}, "HTTP status 204"),
        (404, b"", {"Content_Length": "0"}, "HTTP status 404"),
        (200, CONTENT, {"Content_Length": "1000", "Content_MD5": md5(b"other")}, "Content-MD5"),
    ],
)
def test_what_is_not_whole_is_an_error(
    server: Server, status: int, body: bytes, headers: dict[str, str], words: str
) -> None:
    server.get = lambda request: answer(request, status, body, **headers)
    with pytest.raises(OSError, match=f"cannot fetch {server.url}: .*{words}"):
        read(server)


@pytest.mark.parametrize("header", ["ETag", "Last_Modified"])
def test_a_file_that_changes_while_it_is_sent_is_an_error(server: Server, header: str) -> None:
    server.get = lambda request: answer(request, 200, CONTENT, Content_Length="1000", **{header: '"1"'})
    server.head = lambda request: answer(request, 200, **{header: 'W/"1"'})
    assert read(server) == CONTENT
    server.head = lambda request: answer(request, 200, **{header: '"2"'})
    with pytest.raises(OSError, match="changed while it was sent"):
        read(server)


def test_another_state_than_the_one_that_was_asked_for_is_refused(server: Server) -> None:
    server.head = lambda request: answer(request, 200, ETag='"1"')
    version = ask_version(server.url)
    assert version == 'ETag: "1"'
    server.get = lambda request: answer(request, 200, CONTENT, Content_Length="1000", ETag='"1"')
    assert read(server, version) == CONTENT
    server.get = lambda request: answer(request, 200, CONTENT, Content_Length="1000", ETag='"2"')
    with pytest.raises(OSError, match='its ETag was "1", and is "2"'):
        read(server, version)


def test_a_server_that_is_not_there(server: Server) -> None:
    server.close()
    with pytest.raises(OSError, match="cannot fetch"):
        read(server)
    server.close = lambda: None  # type: ignore[method-assign]

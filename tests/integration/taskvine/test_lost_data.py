"""Data that is lost, broken off or spoilt on its way: who waits for it gets all of it, or is told."""

from __future__ import annotations

import http.server
import os
import signal
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.taskvine.vines import CALL, running, status_of, wait_for, worker_of
from trellis import File
from trellis.errors import TaskVineTaskFailure
from trellis.executors.taskvine import TaskVineFile

WAIT_S = 60.0


@pytest.fixture(autouse=True)
def _program_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "program"
    directory.mkdir()
    monkeypatch.chdir(directory)


def read(*files: Any) -> list[str]:
    return [Path(file).read_text() for file in files]


def write(text: str, outputs: Any = ()) -> int:
    Path(outputs[0]).write_text(text)
    return os.getpid()


# -- downloads -----------------------------------------------------------------------------------------------------


class Flaky(http.server.BaseHTTPRequestHandler):
    """Breaks off the first answers."""

    broken = 0  # answers to come

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("ETag", '"v1"')
        self.send_header("Content-Length", "1000")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        kind = type(self)
        self.wfile.write(b"x" * (10 if kind.broken else 1000))
        kind.broken = max(0, kind.broken - 1)
        self.close_connection = True

    def log_message(self, *words: object) -> None: ...


@pytest.fixture
def url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Flaky) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/data"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("cache", ["workflow", "forever"])
def test_a_download_that_ends_early_is_made_again_and_never_a_file(tmp_path: Path, url: str, cache: str) -> None:
    options = ("--cores", "1", "--workspace", str(tmp_path / "workspace"))
    file = TaskVineFile(url, cache=cache)
    with (
        running(tmp_path / "run", method="manual") as executor,
        worker_of(executor, *options, log=tmp_path / "worker.log"),
    ):
        Flaky.broken = 1_000_000
        error = executor.submit(read, {}, file).exception(WAIT_S)
        assert isinstance(error, TaskVineTaskFailure)
        assert "after 10 of 1000 bytes" in str(error)
        assert not list((tmp_path / "workspace" / "cache").glob("url*"))
        Flaky.broken = 1
        assert executor.submit(read, {}, file).result(WAIT_S) == ["x" * 1000]


# -- what was kept -------------------------------------------------------------------------------------------------


def test_what_was_spoilt_in_a_workspace_is_sent_anew(tmp_path: Path) -> None:
    Path("kept").write_text("content")
    options = ("--cores", "1", "--workspace", str(tmp_path / "workspace"))
    for run in ("first", "second"):
        with (
            running(tmp_path / run, method="manual") as executor,
            worker_of(executor, *options, log=tmp_path / "worker.log"),
        ):
            assert executor.submit(read, {}, TaskVineFile("kept", cache="forever")).result(WAIT_S) == ["content"]
        (path,) = (tmp_path / "workspace" / "cache").glob("file-*[!n]")
        times = path.stat().st_mtime_ns
        path.chmod(0o644)
        path.write_text("CONTENT")
        os.utime(path, ns=(times, times))


def test_what_a_task_has_made_is_sent_from_home_when_its_worker_is_gone(tmp_path: Path) -> None:
    with running(tmp_path / "run") as executor:
        executor.submit(write, {}, "made", outputs=[File("out")]).result(WAIT_S)
        kill_workers()
        assert executor.submit(read, {}, File("out")).result(WAIT_S) == ["made"]


# -- temporary files -----------------------------------------------------------------------------------------------


def _is_worker(process: psutil.Process) -> bool:
    try:
        return " ".join(process.cmdline()).startswith("trellis: vine worker")
    except psutil.Error:  # it is just ending
        return False


def kill_workers() -> None:
    workers = [process for process in psutil.Process().children(recursive=True) if _is_worker(process)]
    assert workers
    for worker in workers:
        worker.send_signal(signal.SIGKILL)
    psutil.wait_procs(workers, WAIT_S)


@pytest.mark.parametrize("wish", [{}, CALL])
def test_a_result_that_stayed_at_a_worker_that_died_is_made_again(tmp_path: Path, wish: dict[str, Any]) -> None:
    with running(tmp_path / "run") as executor:
        kept = executor.submit(sorted, {**wish, "temp_output": True}, [2, 1]).result(WAIT_S)
        kill_workers()
        assert kept.fetch(WAIT_S) == [1, 2]


def once(mark: str) -> str:
    os.open(mark, os.O_CREAT | os.O_EXCL)
    return "made"


def test_a_result_that_cannot_be_made_again_is_told(tmp_path: Path) -> None:
    with running(tmp_path / "run") as executor:
        kept = executor.submit(once, {"temp_output": True}, str(tmp_path / "mark")).result(WAIT_S)
        kill_workers()
        with pytest.raises(TaskVineTaskFailure):
            kept.fetch(WAIT_S)


def fill_directory(text: str, outputs: Any = ()) -> int:
    os.mkdir(outputs[0])
    Path(outputs[0], "tool").write_text(text * 3_000_000)
    Path(outputs[0], "tool").chmod(0o755)
    return os.getpid()


def look(*directories: Any) -> list[tuple[int, int]]:
    found = [os.stat(os.path.join(directory, "tool")) for directory in directories]
    return [(status.st_size, stat.S_IMODE(status.st_mode) & 0o555) for status in found]


def test_temporary_files_and_directories_go_through_the_manager_where_workers_do_not_pass_them_on(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "run", workers=3, manager={"enable_peer_transfers": False}) as executor:
        files = [File(f"taskvinetemp://t{n}") for n in range(3)]
        futures = [executor.submit(fill_directory, {}, str(n), outputs=[files[n]]) for n in range(3)]
        for future in futures:
            future.result(WAIT_S)
        assert executor.submit(look, {}, *files).result(WAIT_S) == [(3_000_000, 0o555)] * 3
        status = status_of(executor)
        assert status.sent_by_workers == 0
        kill_workers()
        wait_for(lambda: len(status_of(executor).workers) == 3)
        assert executor.submit(look, {}, *files).result(WAIT_S) == [(3_000_000, 0o555)] * 3

"""How a real worker begins and ends, and what it keeps and leaves behind."""

from __future__ import annotations

import http.server
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import psutil
import pytest

from tests.integration.taskvine.worker_bed import Bed, bed, gone, wait_until
from trellis.wire.messages import DismissManager
from trellis.wire.vine import Evict, GetFile, WorkerLeaving


@pytest.fixture
def it() -> Iterator[Bed]:
    with bed() as made:
        yield made


def read(path: str) -> str:
    return Path(path).read_text()


# -- ends ----------------------------------------------------------------------------------------------------------


def test_sigterm_ends_tasks_and_says_so(it: Bed, tmp_path: Path) -> None:
    name, pid = it.start()

    def wait(path: str) -> None:
        Path(path).write_text(f"{os.getpid()}\n")
        time.sleep(60)

    it.run(wait, str(tmp_path / "pid"))
    wait_until(lambda: (tmp_path / "pid").exists() and read(str(tmp_path / "pid")).endswith("\n"))
    os.kill(pid, signal.SIGTERM)
    it.until(lambda: it.other)
    assert it.other == [WorkerLeaving(name, "it got SIGTERM")]
    assert it.wait_for_end(pid) == 0
    assert gone(int(read(str(tmp_path / "pid"))))
    assert not list(it.directory.glob("trellis-vine-worker-*"))


def test_sigterm_ends_a_worker_that_looks_for_its_manager() -> None:
    command = [sys.executable, "-P", "-m", "trellis.executors.taskvine.embedded.worker.main"]
    process = subprocess.Popen([*command, "127.0.0.1", "9", "--connect-timeout", "60"], stderr=subprocess.PIPE)
    with process:
        wait_until(lambda: "trellis: vine worker" in " ".join(psutil.Process(process.pid).cmdline()))
        time.sleep(0.3)
        process.terminate()
        assert process.stderr is not None
        assert b"SIGTERM" in process.stderr.read()
    assert process.returncode == 1


def test_idle_worker_ends_after_its_timeout(it: Bed) -> None:
    _, pid = it.start("--timeout", "0.5")
    assert it.wait_for_end(pid) == 0


def test_worker_whose_manager_is_silent_ends(it: Bed) -> None:
    _, pid = it.start("--heartbeat-threshold", "0.5")
    assert it.wait_for_end(pid) == 1
    assert "the manager sent nothing" in it.logs()


def test_dismissed_worker_ends_well(it: Bed) -> None:
    _, pid = it.start()
    it.send(DismissManager("enough"))
    assert it.wait_for_end(pid) == 0
    assert "dismissed: enough" in it.logs()


def test_worker_without_a_manager_says_so() -> None:
    command = [sys.executable, "-P", "-m", "trellis.executors.taskvine.embedded.worker.main"]
    done = subprocess.run([*command, "127.0.0.1", "9", "--connect-timeout", "0.3"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "trellis vine-worker on" in done.stderr
    assert "Traceback" not in done.stderr


def test_worker_whose_connection_breaks_comes_back_as_a_new_one_with_its_files(it: Bed, tmp_path: Path) -> None:
    first, pid = it.start()
    it.give("c1", b"content")

    def wait(path: str) -> None:
        Path(path).write_text(f"{os.getpid()}\n")
        time.sleep(60)

    it.run(wait, str(tmp_path / "pid"))
    wait_until(lambda: (tmp_path / "pid").exists() and read(str(tmp_path / "pid")).endswith("\n"))
    it.break_connections()
    it.until(lambda: len(it.workers) == 2)
    assert it.worker != first
    assert it.workers[it.worker].pid == pid
    assert it.workers[it.worker].cached == ["c1"]
    wait_until(lambda: gone(int(read(str(tmp_path / "pid")))))
    assert it.result(it.run(read, "f", inputs=[("c1", "f")])) == "content"


# -- what is left behind -------------------------------------------------------------------------------------------


def test_next_worker_removes_what_a_killed_one_left(it: Bed) -> None:
    _, pid = it.start()
    it.library()
    (workspace,) = it.directory.glob("trellis-vine-worker-*")
    (payloads,) = it.payload_directories()
    os.kill(pid, signal.SIGKILL)
    it.wait_for_end(pid)
    assert (workspace.exists(), payloads.exists()) == (True, True)
    it.start()
    assert not workspace.exists()
    assert not payloads.exists()


def test_two_workers_do_not_share_a_workspace(it: Bed, tmp_path: Path) -> None:
    it.start("--workspace", str(tmp_path))
    command = [sys.executable, "-P", "-m", "trellis.executors.taskvine.embedded.worker.main", "127.0.0.1", str(it.port)]
    done = subprocess.run([*command, "--workspace", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"another worker uses {tmp_path}" in done.stderr


def test_files_for_ever_are_there_for_the_next_worker_and_no_others(it: Bed, tmp_path: Path) -> None:
    _, pid = it.start("--workspace", str(tmp_path))
    it.give("ever", b"content", level="forever")
    it.give("run", b"content", level="workflow")
    it.send(DismissManager("enough"))
    it.wait_for_end(pid)
    it.start("--workspace", str(tmp_path))
    assert it.workers[it.worker].cached == ["ever"]
    assert it.workers[it.worker].cached_sizes == [7]
    assert it.result(it.run(read, "f", inputs=[("ever", "f")])) == "content"


# -- files ---------------------------------------------------------------------------------------------------------


def test_large_file_comes_in_pieces_and_goes_to_another_worker(it: Bed) -> None:
    content = os.urandom(5_000_001)
    first, _ = it.start()
    it.give("big", content)
    second, _ = it.start()
    it.get(GetFile("big", it.workers[first].transfer_address, "workflow", len(content)), worker=second)
    got = it.result(it.run(lambda: Path("f").read_bytes(), worker=second, inputs=[("big", "f")]))
    assert got == content


def test_directory_that_a_task_made_goes_to_another_worker(it: Bed) -> None:
    def make() -> None:
        os.makedirs("out/sub")
        Path("out/sub/f").write_text("deep")

    first, _ = it.start()
    it.result(it.run(make, outputs=[("d", "out", "workflow")]))
    second, _ = it.start()
    it.get(GetFile("d", it.workers[first].transfer_address, "workflow", -1), worker=second)
    assert it.result(it.run(read, "in/sub/f", worker=second, inputs=[("d", "in")])) == "deep"


def test_source_that_dies_or_has_no_such_file_is_told(it: Bed) -> None:
    first, pid = it.start()
    second, _ = it.start()
    address = it.workers[first].transfer_address
    it.send(GetFile("none", address, "workflow", -1), worker=second)
    it.until(lambda: it.not_cached)
    assert (it.not_cached[0].name, it.not_cached[0].source) == ("none", address)
    assert "No such file" in it.not_cached[0].reason
    os.kill(pid, signal.SIGSTOP)  # it accepts, and says nothing
    it.send(GetFile("more", address, "workflow", -1), worker=second)
    it.result(it.run(abs, -1, worker=second))
    os.kill(pid, signal.SIGKILL)
    # Without waiting for it: another source is tried.
    it.files["more"] = b"content"
    it.get(GetFile("more", "", "workflow", 7), worker=second)
    assert it.result(it.run(read, "f", worker=second, inputs=[("more", "f")])) == "content"


def test_what_comes_while_a_worker_sleeps_is_done_when_nobody_has_given_it_up(it: Bed) -> None:
    _, pid = it.start("--heartbeat-threshold", "1")
    os.kill(pid, signal.SIGSTOP)
    time.sleep(1.1)
    task = it.run(abs, -1)
    os.kill(pid, signal.SIGCONT)
    assert it.result(task) == 1


def test_url_is_fetched_by_the_worker(it: Bed, tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("from the web")
    it.start()
    with _web(tmp_path) as url:
        it.get(GetFile("u", f"{url}/data.txt", "workflow", -1))
        assert it.result(it.run(read, "f", inputs=[("u", "f")])) == "from the web"
        it.send(GetFile("v", f"{url}/none.txt", "workflow", -1))
        it.until(lambda: it.not_cached)
    assert "404" in it.not_cached[0].reason


class _web:
    """A directory on a web server."""

    def __init__(self, directory: Path) -> None:
        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: object) -> None:
                super().__init__(*args, directory=str(directory))  # type: ignore[arg-type]

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def test_archive_is_unpacked_once_and_an_archive_that_is_none_is_told(it: Bed) -> None:
    it.start()
    it.give("a", _tar({"sub/f": b"packed"}), unpack=True)
    assert it.result(it.run(read, "in/sub/f", inputs=[("a", "in")])) == "packed"
    it.files["b"] = b"no archive"
    it.send(GetFile("b", "", "workflow", 10, True))
    it.until(lambda: it.not_cached)
    assert it.not_cached[0].name == "b"


def _tar(files: dict[str, bytes], mode: int = 0o644) -> bytes:
    stream = BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            tar.addfile(info, BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize("environment", [True, False])
def test_archive_of_conda_pack_is_fitted_to_its_place_where_it_is_an_environment(it: Bed, environment: bool) -> None:
    it.start()
    script = b'#!/bin/sh\ncd "$(dirname "$0")/.." && pwd > place\n'
    python = b'#!/bin/sh\nexec /bin/sh "$@"\n'
    it.give("e", _tar({"bin/conda-unpack": script, "bin/python": python}, mode=0o755), True, fit=environment)
    place = it.result(it.run(read, "in/place", inputs=[("e", "in")]))
    if environment:
        assert place.strip().endswith("/cache/e.d")
        assert os.path.isdir(place.strip())
    else:
        assert isinstance(place, FileNotFoundError)


def test_evicted_file_is_gone(it: Bed) -> None:
    it.start()
    it.give("c1", b"content")
    it.send(Evict(["c1"]))
    assert it.result(it.run(read, "f", inputs=[("c1", "f")])).status == "forsaken"


def test_environment_and_imports_come_from_archives(it: Bed) -> None:
    it.start()
    python = f'#!/bin/sh\nFROM_ENVIRONMENT=yes exec {sys.executable} "$@"\n'.encode()
    it.give("e", _tar({"bin/python": python}, mode=0o755), unpack=True)
    it.give("p", _tar({"packed_module.py": b"WORD = 'packed'\n"}), unpack=True)

    def tell() -> tuple[str, str | None]:
        import packed_module  # type: ignore[import-not-found]

        return packed_module.WORD, os.environ.get("FROM_ENVIRONMENT")

    regular = it.run(tell, environments="e", inputs=[("p", "*")])
    assert it.result(regular) == ("packed", "yes")
    it.library(environment="e")
    assert it.result(it.call(tell, inputs=[("p", "*")])) == ("packed", "yes")

"""What stands between a worker of the real TaskVine and a task's runner."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from trellis.executors.taskvine.remote import guard, runner
from trellis.wire.payload import dump_call, dump_function, load_result


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    """With an input that it shares with a cache, alone and in a directory."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/a").write_text("given")
    (tmp_path / "cache/a").chmod(0o755)
    sandbox = tmp_path / "sandbox"
    (sandbox / "deep").mkdir(parents=True)
    for name in ("a", "deep/b"):
        os.link(tmp_path / "cache/a", sandbox / name)
    (sandbox / "own").write_text("own")
    return sandbox


def test_inputs_are_read_only_and_own_files_are_not(sandbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    guard.protect_inputs(str(sandbox))
    modes = {name: (sandbox / name).stat().st_mode & 0o777 for name in ("a", "deep/b")}
    assert modes == {"a": 0o555, "deep/b": 0o555}
    assert (sandbox / "own").stat().st_mode & 0o200
    assert (sandbox / "a").samefile(sandbox / "deep/b")


def test_the_superuser_has_copies(sandbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (sandbox / "link").symlink_to("a")
    os.mkfifo(sandbox / "fifo")
    guard.protect_inputs(str(sandbox))
    for name in ("a", "deep/b"):
        assert (sandbox / name).stat().st_mode & 0o777 == 0o755
        (sandbox / name).write_text("changed")
    assert (sandbox / "../cache/a").read_text() == "given"
    assert sorted(os.listdir(sandbox)) == ["a", "deep", "fifo", "link", "own"]


@pytest.mark.parametrize("name", ["x" * 255, "y" * 254 + "+", "+", "~"])
def test_copies_of_files_with_odd_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (tmp_path / "in").mkdir()
    (tmp_path / "there").write_text("x")
    os.link(tmp_path / "there", tmp_path / "in" / name)
    guard.protect_inputs(str(tmp_path / "in"))
    assert os.listdir(tmp_path / "in") == [name]
    assert not (tmp_path / "in" / name).samefile(tmp_path / "there")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a task has made something."""
    monkeypatch.chdir(tmp_path)
    Path("beside").write_text("content")
    Path("beside").chmod(0o755)
    return tmp_path


def test_what_a_link_leads_to_comes_home_in_its_place(made: Path) -> None:
    Path("out").symlink_to("beside")
    Path("deep").mkdir()
    Path("deep/a").write_text("a")
    Path("tree").symlink_to("deep")
    assert guard.settle_outputs(["out", "tree", "never"]) == ""
    assert (Path("out").read_text(), Path("out").stat().st_mode & 0o777) == ("content", 0o755)
    assert not Path("out").is_symlink()
    assert not Path("tree").is_symlink()
    assert Path("tree/a").read_text() == "a"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (os.mkfifo, "is a FIFO"),
        (lambda path: os.symlink("nowhere", path), "is a link that leads nowhere (to 'nowhere')"),
        (lambda path: os.mknod(path, stat.S_IFSOCK | 0o600), "is a socket"),
    ],
)
@pytest.mark.parametrize("path", ["out", "dir/deep/out"])
def test_what_is_no_file_is_named_and_the_rest_comes_home(made: Path, make: Any, words: str, path: str) -> None:
    Path("dir/deep").mkdir(parents=True)
    Path("dir/a").write_text("a")
    make(path)
    assert f"{path} {words}" in guard.settle_outputs(["dir", "out", "beside"])
    assert not os.path.lexists(path)
    assert Path("dir/a").read_text() == "a"


def test_names_that_taskvine_cannot_carry(made: Path) -> None:
    Path("dir").mkdir()
    Path("dir/a\nb").write_text("a")
    assert "'dir/a\\nb': TaskVine cannot bring home" in guard.settle_outputs(["dir"])
    assert not Path("dir/a\nb").exists()


def run(sandbox: Path, function: Any, *args: Any, **variables: str) -> subprocess.CompletedProcess[str]:
    """A task as its worker starts it."""
    own = sandbox / ".trellis"
    own.mkdir(exist_ok=True)
    shutil.copy(guard.__file__, own / "trellis_guard.py")
    shutil.copy(runner.__file__, own / "trellis_runner.py")
    runner.write_payload(str(own / "function"), runner.CALL, (dump_function(function),))
    runner.write_payload(str(own / "arguments"), runner.CALL, (dump_call(args, {}, "test"),))
    names = ("trellis_guard.py", "function", "arguments", "result")
    command = [sys.executable, *[f".trellis/{name}" for name in names], "out"]
    return subprocess.run(
        command,
        cwd=sandbox,
        env={**os.environ, **variables},
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def end(sandbox: Path) -> tuple[bytes, Any]:
    kind, buffers, *_ = runner.read_payload(str(sandbox / ".trellis/result"))
    return kind, load_result(buffers[0]) if kind == runner.RESULT else bytes(buffers[0]).decode()


def test_a_task_runs_and_sees_nothing_of_what_is_around_it(sandbox: Path) -> None:
    def look() -> Any:
        own = [name for name in sys.modules if name in ("guard", "runner", "function")]
        return own, [path for path in sys.path if path.endswith(".trellis")], os.environ.get("TRELLIS_MEMORY")

    assert run(sandbox, look, TRELLIS_MEMORY="1000").returncode == 0
    assert end(sandbox) == (runner.RESULT, ([], [], None))
    assert not (sandbox / ".trellis/__pycache__").exists()


def _go_and_make(path: str) -> int:
    os.chdir("/")
    os.mkfifo(path)
    return 5


def test_a_task_that_made_no_file_fails_wherever_it_went(sandbox: Path) -> None:
    run(sandbox, _go_and_make, str(sandbox / "out"))
    kind, words = end(sandbox)
    assert (kind, "out is a FIFO" in words) == (guard.NO_FILE, True)


def test_an_error_of_its_own_counts_more(sandbox: Path) -> None:
    run(sandbox, exec, "import os; os.mkfifo('out'); 1 // 0")
    assert runner.read_payload(str(sandbox / ".trellis/result"))[0] == runner.ERROR


def test_a_task_that_its_worker_could_not_end_does_not_start(sandbox: Path) -> None:
    done = run(sandbox, Path.touch, Path(sandbox / "note"), TRELLIS_GROUP=str(os.getpgrp()))
    assert done.stdout.strip() == guard.NO_GROUP
    assert not (sandbox / "note").exists()


def _fill(mb: int, note: str) -> None:
    """Takes memory, in a child of its own."""
    if not os.fork():
        keep = bytearray(mb * 2**20)
        Path(note).write_text(str(os.getpid()))
        while keep:
            time.sleep(1)
    os.wait()


def test_a_task_that_takes_more_memory_than_it_asked_for_is_ended_with_all_it_started(sandbox: Path) -> None:
    assert run(sandbox, _fill, 300, "note", TRELLIS_MEMORY="100").returncode == 0
    kind, words = end(sandbox)
    assert kind == guard.TOO_MUCH_MEMORY
    assert "was given the 100 MB that it asked for" in words
    if (sandbox / "note").exists():
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(int((sandbox / "note").read_text())).wait(30)


def _share(mb: int, children: int) -> int:
    """What forked children only read is there once."""
    keep = bytearray(mb * 2**20)
    for _ in range(children):
        if not os.fork():
            sum(keep[::4096])
            time.sleep(1.2)
            os._exit(0)
    for _ in range(children):
        os.wait()
    return len(keep)


def test_memory_that_processes_share_counts_once(sandbox: Path) -> None:
    run(sandbox, _share, 100, 4, TRELLIS_MEMORY="250")
    assert end(sandbox) == (runner.RESULT, 100 * 2**20)


@pytest.mark.parametrize(("code", "expected"), [("os._exit(7)", 7), ("os.kill(os.getpid(), 9)", -9)])
def test_a_task_with_a_limit_ends_as_it_ends(sandbox: Path, code: str, expected: int) -> None:
    assert run(sandbox, exec, f"import os; {code}", TRELLIS_MEMORY="1000").returncode == expected

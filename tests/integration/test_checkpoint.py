"""Results through the whole kernel: within a run, from one run to the next, and after a kill."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

import trellis
from trellis import Config, File, bash_app, python_app
from trellis.dataflow.memoization import BasicMemoizer
from trellis.executors.threads import ThreadPoolExecutor
from trellis.staging.zip import ZipFileStaging
from trellis.utils import get_all_checkpoints, get_last_checkpoint

PROGRAM = """
import os, sys
import trellis
from trellis import Config, python_app

@python_app(cache=True)
def square(n):
    with open("ran", "a") as log:
        log.write(f"{n} ")
    return n * n

with trellis.load(Config(checkpoint_mode="task_exit")):
    numbers = [int(word) for word in sys.argv[2:]]
    print(*[future.result() for future in [square(n) for n in numbers]], flush=True)
    if sys.argv[1] == "die":
        os.kill(os.getpid(), 9)
"""


@pytest.fixture(autouse=True)
def _in_empty_directory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    trellis.clear()


def run_program(*arguments: str) -> subprocess.CompletedProcess[str]:
    pathlib.Path("program.py").write_text(PROGRAM)
    return subprocess.run(
        [sys.executable, "program.py", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_killed_program_goes_on_where_it_was() -> None:
    killed = run_program("die", "1", "2", "3")
    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, "1 4 9\n")
    again = run_program("live", "1", "2", "3", "4")
    assert (again.returncode, again.stdout) == (0, "1 4 9 16\n")
    assert sorted(pathlib.Path("ran").read_text().split()) == ["1", "2", "3", "4"]


def ran(name: str) -> int:
    path = pathlib.Path(name)
    return len(path.read_text()) if path.exists() else 0


@python_app(cache=True)
def note(path: str, fail: bool = False) -> int:
    with open(path, "a") as log:
        log.write("x")
    if fail:
        raise ValueError("asked to")
    return os.path.getsize(path)


def test_the_last_checkpoint_serves_the_next_run() -> None:
    for _ in range(3):
        with trellis.load(Config(checkpoint_mode="dfk_exit", checkpoint_files=get_last_checkpoint())):
            assert note("log").result(timeout=30) == 1
        trellis.clear()
    assert ran("log") == 1
    assert len(get_all_checkpoints()) == 3


def test_one_config_with_its_memoizer_serves_many_runs() -> None:
    config = Config(memoizer=BasicMemoizer(checkpoint_mode="manual"))
    for _ in range(3):
        with trellis.load(config) as kernel:
            assert note("log").result(timeout=30) == 1
            assert kernel.checkpoint() == os.path.abspath(os.path.join(kernel.run_dir, "checkpoint"))
        trellis.clear()
    assert ran("log") == 1


def test_equal_calls_at_once_run_once() -> None:
    with trellis.load(Config(executors=[ThreadPoolExecutor(max_threads=4)])):
        futures = [note("log") for _ in range(20)]
        assert {future.result(timeout=30) for future in futures} == {1}
    assert ran("log") == 1


def test_failures_are_shared_by_calls_at_once_but_not_remembered() -> None:
    with trellis.load(Config()):
        for n in range(2):
            with pytest.raises(ValueError, match="asked to"):
                note("log", fail=True).result(timeout=30)
            assert ran("log") == n + 1


def test_retries_of_a_cached_app_run() -> None:
    with trellis.load(Config(retries=2)), pytest.raises(ValueError, match="asked to"):
        note("log", fail=True).result(timeout=30)
    assert ran("log") == 3


@bash_app(cache=True)
def count(inputs: list[File] = [], outputs: list[File] = []) -> str:  # noqa: B006
    return f"wc -c < {inputs[0]} > {outputs[0]}; echo x >> log"


def test_an_edited_input_file_makes_a_bash_app_run_again() -> None:
    with trellis.load(Config()):
        for content, runs in (("one", 1), ("one", 1), ("three", 2)):
            pathlib.Path("in").write_text(content)
            future = count(inputs=[File("in")], outputs=[File("out")])
            assert future.result(timeout=30) == 0
            assert int(pathlib.Path(future.outputs[0].result(timeout=30)).read_text()) == len(content)
            assert len(pathlib.Path("log").read_text().split()) == runs


@bash_app
def write(text: str, outputs: list[File] = []) -> str:  # noqa: B006
    return f"printf {text} > {outputs[0]}"


@python_app
def read(file: File) -> str:
    return pathlib.Path(file).read_text()


def test_a_file_goes_through_an_archive() -> None:
    executor = ThreadPoolExecutor(storage_access=[ZipFileStaging()], working_dir=os.path.abspath("work"))
    with trellis.load(Config(executors=[executor])):
        written = write("hello", outputs=[File(f"zip:{os.getcwd()}/a.zip/greeting")])
        assert read(written.outputs[0]).result(timeout=30) == "hello"
    assert os.path.exists("a.zip")

"""Mistakes that users typically make, each with what it says: what is wrong, with which of their things, what to try.

What a mistake says is the error that it raises, words and then notes, as a traceback shows them, or what the program
gives its user to read otherwise. The words that a row asks for must stand there in this order.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import trellis
from trellis import Config, DataFlowKernel, File, ThreadPoolExecutor, bash_app, join_app, python_app
from trellis.core.interfaces import Attempt
from trellis.dataflow.dflow import DataFlowKernelLoader
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.executors.htex.submit.outcomes import failure
from trellis.providers import LocalProvider, SlurmProvider
from trellis.wire.messages import TasksUnfit

TIMEOUT_S = 60
HOST = os.uname().nodename


class Mistake(NamedTuple):
    """A mistake, and words that must be said of it, which may name the ``{folder}``, ``{host}`` and ``{python}``."""

    name: str
    make: Callable[..., Any]
    words: tuple[str, ...]


def said(outcome: Any) -> str:
    if isinstance(outcome, BaseException):
        return "\n".join([f"{type(outcome).__name__}: {outcome}", *getattr(outcome, "__notes__", ())])
    return str(outcome)


def check(mistake: Mistake, *given: Any, **places: object) -> None:
    try:
        outcome = mistake.make(*given)
        outcome = outcome.result(TIMEOUT_S) if isinstance(outcome, Future) else outcome
    except Exception as error:
        outcome = error
    text, position = said(outcome), 0
    for words in mistake.words:
        expected = words.format(host=HOST, python=sys.executable, **places)
        found = text.find(expected, position)
        assert found >= 0, f"{expected!r} does not stand, or not in this order, in: {text}"
        position = found + len(expected)


def named(mistakes: tuple[Mistake, ...]) -> Any:
    return pytest.mark.parametrize("mistake", mistakes, ids=[mistake.name for mistake in mistakes])


def plain(value: Any = None, **_: Any) -> Any:
    return value


# -- in a configuration, and before there is one ---------------------------------------------------------------

_CONFIGURATION = (
    Mistake(
        "call before load",
        lambda folder: python_app(plain)(1),
        ("NoDataFlowKernelError: app plain cannot be called: no configuration is loaded", "call trellis.load() first"),
    ),
    Mistake(
        "an executor instead of a list",
        lambda folder: Config(executors=ThreadPoolExecutor()),  # type: ignore[arg-type]
        ("Config: executors must be a list of executors, not ThreadPoolExecutor", "write executors=[...]"),
    ),
    Mistake(
        "a label instead of executors",
        lambda folder: Config(executors="htex"),
        ("Config: executors must be a list of executors, not str", "write executors=[...]"),
    ),
    Mistake(
        "a text instead of a number",
        lambda folder: Config(retries="3"),  # type: ignore[arg-type]
        ("Config: retries must be a number of at least 0, not '3'", "write 3, without quotes"),
    ),
    Mistake(
        "a text instead of a number, or None",
        lambda folder: HighThroughputExecutor(max_workers_per_node="4"),  # type: ignore[arg-type]
        ("HighThroughputExecutor: max_workers_per_node must be a number", "write 4, without quotes"),
    ),
    Mistake(
        "a former parameter",
        lambda folder: HighThroughputExecutor(max_workers=3),  # type: ignore[call-arg]
        ("HighThroughputExecutor has no parameter max_workers any more", "it is max_workers_per_node"),
    ),
    Mistake(
        "a misspelt parameter",
        lambda folder: Config(retrys=3),  # type: ignore[call-arg]
        ("Config has no parameter retrys", "did you mean retries?"),
    ),
    Mistake(
        "half of a parameter's name",
        lambda folder: LocalProvider(nodes=3),  # type: ignore[call-arg]
        ("LocalProvider has no parameter nodes", "did you mean nodes_per_block?"),
    ),
    Mistake(
        "a parameter of something else",
        lambda folder: File("x", mode="r"),  # type: ignore[call-arg]
        ("File has no parameter mode", "there are url"),
    ),
    Mistake(
        "the class of a provider",
        lambda folder: HighThroughputExecutor(provider=LocalProvider),  # type: ignore[arg-type]
        (
            "HighThroughputExecutor: provider must be an ExecutionProvider object",
            "this is the class; write LocalProvider()",
        ),
    ),
    Mistake(
        "a walltime of a provider in words",
        lambda folder: SlurmProvider(walltime="30m"),
        ("SlurmProvider: walltime must be HH:MM:SS", "for example '01:30:00'", "not '30m'"),
    ),
    Mistake(
        "a misspelt choice",
        lambda folder: Config(strategy="smple"),
        ("Config: strategy must be one of 'simple', 'none', 'htex_auto_scale', not 'smple'",),
    ),
    Mistake(
        "an async function as an app",
        lambda folder: python_app(asyncio.sleep),
        (
            "function must be",
            "sleep",
            "an async function cannot be an app; write a plain one that calls asyncio.run(…)",
        ),
    ),
    Mistake(
        "a run directory that cannot be",
        lambda folder: DataFlowKernel(Config(run_dir="/proc/nope")),
        ("FileNotFoundError", "the run cannot start in /proc/nope: ", "choose a run_dir in Config that can be made"),
    ),
    Mistake(
        "a file as run directory",
        lambda folder: DataFlowKernel(Config(run_dir=str(_file(folder)))),
        ("FileExistsError", "the run cannot start in {folder}/file: ", "choose another run_dir in Config"),
    ),
)


def _file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file"


@named(_CONFIGURATION)
def test_mistakes_in_a_configuration(mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DataFlowKernelLoader, "_dfk", None)  # that of the tests below
    check(mistake, tmp_path, folder=tmp_path)


# -- in calls, on HighThroughputExecutor -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mistakes")


@pytest.fixture(scope="module")
def dfk(folder: Path) -> Iterator[DataFlowKernel]:
    htex = HighThroughputExecutor("htex", max_workers_per_node=2, provider=LocalProvider(init_blocks=1, max_blocks=1))
    with trellis.load(Config(executors=[htex], run_dir=str(folder / "runs"), report_failures=False)) as kernel:
        yield kernel


@python_app
def ident(value: Any = None, **_: Any) -> Any:
    return value


@python_app
def two(a: int, b: int) -> int:
    return a + b


@python_app
def breaks() -> None:
    raise KeyError("x")


@python_app(executors=["gpu"])
def gpu() -> None: ...


@python_app
def generates() -> Any:
    return (number for number in range(3))


@python_app
def imports() -> None:
    import onlyhere  # type: ignore[import-not-found]  # noqa: F401


@python_app
def reads(inputs: Any = ()) -> str:
    return Path(inputs[0]).read_text()


@python_app
def calls() -> Any:
    return ident(3).result()


@python_app
def crashes() -> None:
    os.kill(os.getpid(), 11)


@python_app
def leaves() -> None:
    os._exit(7)


class OddError(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a}/{b}")


@python_app
def raises_oddly() -> None:
    raise OddError(1, 2)


@bash_app
def command(line: Any, inputs: Any = (), outputs: Any = (), stderr: Any = None) -> Any:
    return line


@bash_app
def long_command() -> str:
    return f"echo {'x' * 3_000_000} > /dev/null"


@join_app
def joins_five() -> Any:
    return 5


def _unfit() -> BaseException:
    # The interchange waits half a minute for a larger node before it says so.
    attempt = Attempt(len, (), {}, name="ident", sink=None, resources={"cores": 9999})  # type: ignore[arg-type]
    reason = f"it asks for 9999 cores, and no manager has so much: the only manager, {HOST} has 2 cores"
    return failure(TasksUnfit([1], reason), attempt, "htex")


_CALLS = (
    Mistake(
        "load twice",
        lambda folder: trellis.load(Config()),
        ("a Config has already been loaded", "call trellis.dfk().cleanup() before the next load(), or use `with"),
    ),
    Mistake(
        "a label that no executor has",
        lambda folder: gpu(),
        ("task ", "(app gpu) asks for executor 'gpu', but the executors are 'htex'", "name one of these in executors="),
    ),
    Mistake(
        "a misspelt key of a specification",
        lambda folder: ident(1, parsl_resource_specification={"core": 1}),
        (
            "specification 'core'",
            "HighThroughputExecutor takes cores, memory",
            "did you mean cores for core?",
            "(app ident)",
        ),
    ),
    Mistake(
        "another name of a key of a specification",
        lambda folder: ident(1, parsl_resource_specification={"walltime": 1}),
        ("specification 'walltime'", "did you mean walltime_s for walltime?", "(app ident)"),
    ),
    Mistake(
        "a specification that is no dictionary",
        lambda folder: ident(1, parsl_resource_specification="cores"),
        ("ident: parsl_resource_specification must be a dict of what the task needs or None, not 'cores'",),
    ),
    Mistake(
        "more cores than there are",
        lambda folder: _unfit(),
        (
            "ident fits nowhere: it asks for 9999 cores",
            "{host} has ",
            "ask for less, or for larger nodes in the provider",
        ),
    ),
    Mistake(
        "a walltime of a call in words",
        lambda folder: ident(1, walltime="1m"),
        ("ident: walltime must be a number above 0 (seconds), a timedelta, or a text 'HH:MM:SS'", "not '1m'"),
    ),
    Mistake(
        "an argument too few",
        lambda folder: two(1),
        ("two() missing 1 required positional argument: 'b'", "Trellis: task ", "(app two), attempt 1, on host {host}"),
    ),
    Mistake(
        "an exception inside",
        lambda folder: breaks(),
        (
            "KeyError: 'x'",
            "Trellis: task ",
            "(app breaks), attempt 1, on host {host}, executor htex, block 0, manager ",
        ),
    ),
    Mistake(
        "an argument that cannot be pickled",
        lambda folder: ident({"a": [1, {"b": threading.Lock()}]}),
        ("argument 0 of ident (a dict)", "it is ['a'][1]['b'] in it, a lock", "make it in the app"),
    ),
    Mistake(
        "a result that cannot be pickled",
        lambda folder: generates(),
        ("the result of generates (a generator)", "make a list of it with list(…)", "(app generates)"),
    ),
    Mistake(
        "a module that workers do not have",
        lambda folder: imports(),
        ("No module named 'onlyhere'", "{python}, on host {host}: install the module for that", "(app imports)"),
    ),
    Mistake(
        "a bash app that gives a number",
        lambda folder: command(5),
        ("bash app command must return a command line, a str, not int",),
    ),
    Mistake(
        "a bash app that gives nothing",
        lambda folder: command(None),
        ("bash app command must return a command line, a str, not NoneType: has the function no return?",),
    ),
    Mistake(
        "a program that is not there",
        lambda folder: command("no-such-program -x"),
        (
            "bash app command ended with exit code 127",
            "on PATH",
            "(command: no-such-program -x)",
            "stderr=trellis.AUTO",
        ),
    ),
    Mistake(
        "a program that fails",
        lambda folder: command("echo no licence >&2; exit 3", stderr=str(folder / "why")),
        ("bash app command ended with exit code 3", "(command: ", "in {folder}/why, ends with: no licence"),
    ),
    Mistake(
        "an output that is not made",
        lambda folder: command("true", outputs=[File(str(folder / "never"))]),
        ("bash app command ended", "on host {host}", "let the command write to the paths of outputs", "{folder}/never"),
    ),
    Mistake(
        "an input of a python app that is not there",
        lambda folder: reads(inputs=[File(str(folder / "absent"))]),
        ("FileNotFoundError", "{folder}/absent", "on host {host} does not have it: make it there", "(app reads)"),
    ),
    Mistake(
        "an input of a bash app that is not there",
        lambda folder: command(f"cat {folder}/absent", inputs=[File(str(folder / "absent"))]),
        (
            "exit code 1",
            "of its inputs, {folder}/absent cannot be found (looked for in the directory ",
            "on host {host}",
        ),
    ),
    Mistake(
        "outputs that are texts",
        lambda folder: command("true", outputs=["x"]),
        ("command: outputs must be a list of File, and 'x' is none", "write File('x')"),
    ),
    Mistake(
        "a URL that nothing fetches",
        lambda folder: reads(inputs=[File("s3://bucket/x")]),
        (
            "Executor htex cannot stage file",
            "url=s3://bucket/x",
            "knows s3: URLs",
            "write File('/path')",
            "(app reads)",
        ),
    ),
    Mistake(
        "a call inside of a task",
        lambda folder: calls(),
        ("app ident cannot be called", "in an app that runs on a worker", "make this app a join_app", "(app calls)"),
    ),
    Mistake(
        "a join app that gives no future",
        lambda folder: joins_five(),
        ("join app joins_five must return a future or a list of futures, not a int", "without result()"),
    ),
    Mistake(
        "a loop over a future",
        lambda folder: list(ident(1)),
        ("an AppFuture cannot be iterated", "iterate over future.result(), or take the parts by future[0]"),
    ),
    Mistake(
        "a misspelt attribute of a future",
        lambda folder: ident(1).resutl,
        ("the result of the task, of type int, has no attribute 'resutl'", "of the future? Did you mean result?"),
    ),
    Mistake(
        "a future in a sum",
        lambda folder: ident(1) + 1,  # type: ignore[operator]
        ("+ cannot be applied to AppFuture, whose value is not there yet", "take future.result() first"),
    ),
    Mistake(
        "a future as a number",
        lambda folder: int(ident(1)),  # type: ignore[call-overload]
        ("int() cannot be applied to AppFuture", "or pass the future to an app"),
    ),
    Mistake(
        "a dependency that fails",
        lambda folder: ident(breaks()),
        ("DependencyError: dependencies of task ", "(app breaks), argument 0 of task ", "KeyError: 'x'"),
    ),
    Mistake(
        "a crash",
        lambda folder: crashes(),
        ("worker ", "on {host} died: killed by signal 11 (SIGSEGV)", "running crashes", "PYTHONFAULTHANDLER=1"),
    ),
    Mistake(
        "an end of the process",
        lambda folder: leaves(),
        ("worker ", "on {host} died: exit code 7", "it was running leaves", "does it call os._exit()"),
    ),
    Mistake(
        "an exception with a constructor of its own",
        lambda folder: raises_oddly(),
        ("OddError: 1/2", "(app raises_oddly)"),  # as itself: `except OddError` catches it
    ),
    Mistake("a command of 3 MB", lambda folder: long_command(), ("0",)),  # it runs
)


@pytest.mark.shared_kernel
@pytest.mark.usefixtures("dfk")
@named(_CALLS)
def test_mistakes_in_calls(mistake: Mistake, folder: Path) -> None:
    check(mistake, folder, folder=folder)


# -- in a run --------------------------------------------------------------------------------------------------


def _run(folder: Path, executor: Any, **settings: Any) -> DataFlowKernel:
    return DataFlowKernel(Config([executor], run_dir=str(folder / "runs"), report_failures=False, **settings))


def _future_of_an_earlier_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    with _run(folder, ThreadPoolExecutor()) as kernel:
        return python_app(plain, data_flow_kernel=kernel)(Future[int]())


def _no_batch_system(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("PATH", str(folder))
    provider = SlurmProvider(partition="long", init_blocks=1, max_blocks=1)
    with _run(folder, HighThroughputExecutor("htex", provider=provider, address="127.0.0.1")) as kernel:
        return python_app(plain, data_flow_kernel=kernel)(1).exception(TIMEOUT_S)


def _broken_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    provider = LocalProvider(worker_init="conda activate simulation || exit 1", init_blocks=1, max_blocks=1)
    with _run(folder, HighThroughputExecutor("htex", provider=provider)) as kernel:
        return python_app(plain, data_flow_kernel=kernel)(1).exception(TIMEOUT_S)


def _nested_calls(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    heard: list[str] = []
    with _run(folder, ThreadPoolExecutor("pool", max_threads=1), stall_warning_s=0.2) as kernel:
        monkeypatch.setattr(kernel, "notify", heard.append)
        inner = python_app(plain, data_flow_kernel=kernel)
        python_app(lambda: inner(1).result(), data_flow_kernel=kernel)()
        deadline = time.monotonic() + TIMEOUT_S
        while not heard and time.monotonic() < deadline:
            time.sleep(0.01)
    return "\n".join(heard)


def _full_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def full(path: str) -> str:
        (folder / "000").mkdir()
        (folder / "000" / "trellis.log").symlink_to("/dev/full")
        return str(folder / "000")

    heard: list[str] = []
    monkeypatch.setattr("trellis.dataflow.kernel.make_rundir", full)
    monkeypatch.setattr("builtins.print", lambda *words, **_: heard.extend(words))
    with _run(folder, ThreadPoolExecutor()) as kernel:
        heard.append(f"the result: {python_app(plain, data_flow_kernel=kernel)(5).result(TIMEOUT_S)}")
    return "\n".join(heard)


_TWO_PROGRAMS = """
import trellis
with trellis.load(trellis.Config(run_dir="runs")) as kernel:
    print(kernel.run_dir)
    input()
"""


def _two_programs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    command = [sys.executable, "-c", _TWO_PROGRAMS]
    pipe = subprocess.PIPE
    with (
        subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, text=True) as one,
        subprocess.Popen(command, cwd=folder, stdin=pipe, stdout=pipe, text=True) as two,
    ):
        assert one.stdout is not None
        assert two.stdout is not None
        places = [one.stdout.readline(), two.stdout.readline()]  # both run now
        one.communicate("\n", TIMEOUT_S)
        two.communicate("\n", TIMEOUT_S)
        return f"{sorted(places)} {one.returncode} {two.returncode}"


_RUNS = (
    Mistake(
        "a future of an earlier run",
        _future_of_an_earlier_run,
        (
            "(app plain) was still pending when its kernel was cleaned up",
            "wait for it before, with result() or Config(",
        ),
    ),
    Mistake(
        "a batch system that is not there",
        _no_batch_system,
        ("executor htex", "sbatch", "likely cause", "login node"),
    ),
    Mistake(
        "an environment that cannot be set up",
        _broken_environment,
        (
            "executor htex",
            "exit code 1",
            "conda: command not found",
            "likely cause",
            "have worker_init source the file",
        ),
    ),
    Mistake(
        "nested calls on a full pool",
        _nested_calls,
        (
            "nothing moves",
            "executor pool waits for other tasks that need a thread there",
            "let a join_app call the inner",
        ),
    ),
    Mistake(
        "a full disk",
        _full_disk,
        ("{folder}/000/trellis.log cannot be written: No space left on device", "goes on without", "the result: 5"),
    ),
    Mistake("two programs at once", _two_programs, ("/runs/000", "/runs/001", " 0 0")),  # each has a directory
)


@named(_RUNS)
def test_mistakes_in_a_run(mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(mistake, tmp_path, monkeypatch, folder=tmp_path)

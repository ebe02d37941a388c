"""What TaskVineExecutor promises, whichever engine it has and in whichever mode functions run."""

from __future__ import annotations

import contextlib
import functools
import http.server
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import psutil
import pytest

import trellis
from trellis import File, bash_app, join_app, python_app
from trellis.config import Config
from trellis.dataflow.kernel import DataFlowKernel
from trellis.errors import AppTimeout, BashExitFailure, InvalidResourceSpecification, TaskVineTaskFailure
from trellis.executors.taskvine import (
    Library,
    TaskVineExecutor,
    TaskVineFactoryConfig,
    TaskVineManagerConfig,
    load_variable_from_library,
)
from trellis.executors.taskvine.engine import is_installed

WAIT_S = 30
ENGINES = ["embedded", *(["ndcctools"] if is_installed() else [])]
MODES = {"regular": ("regular", None), "fork": ("serverless", "fork"), "direct": ("serverless", "direct")}


class House:
    """A running kernel with one executor of two cores, in a directory of its own."""

    def __init__(self, kernel: DataFlowKernel, executor: TaskVineExecutor, mode: str, directory: Path) -> None:
        self.kernel = kernel
        self.executor = executor
        self.mode = mode
        self.directory = directory

    def workers(self) -> list[psutil.Process]:
        """Of the embedded engine and of the real one."""
        found = []
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                words = " ".join(process.cmdline())
                if words.startswith("trellis: vine worker") or "vine_worker" in words.split(" ")[0]:
                    found.append(process)
        return found


def load_index(size: int) -> dict[str, Any]:
    return {"index": list(range(size)), "loaded_by": os.getpid()}


def break_down() -> dict[str, Any]:
    raise LookupError("no index here")


@pytest.fixture(scope="module", params=[f"{engine}-{mode}" for engine in ENGINES for mode in MODES])
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    engine, mode = request.param.split("-")
    exec_mode, library_mode = MODES[mode]
    directory = tmp_path_factory.mktemp(request.param)
    before = os.getcwd()
    os.chdir(directory)
    config: dict[str, Any] = {"cores": 1, "exec_mode": library_mode} if library_mode else {}
    if mode == "fork" and engine == "ndcctools":
        config["num_slots"] = 2  # one instance, see ``kinds_side_by_side``
    executor = TaskVineExecutor(
        label="vine",
        engine=engine,
        function_exec_mode=exec_mode,
        manager_config=TaskVineManagerConfig(port=0, env_vars={"COLOUR": "green"}, library_config=config or None),
        factory_config=TaskVineFactoryConfig(max_workers=1, cores=2),
        libraries=[
            Library("index", context=load_index, args=(1000,), cores=1, num_slots=2),
            Library("broken", context=break_down, cores=1),
        ],
    )
    try:
        with trellis.load(Config(executors=[executor], run_dir="runs", strategy="none")) as kernel:
            yield House(kernel, executor, mode, directory)
    finally:
        os.chdir(before)


@pytest.fixture
def kinds_side_by_side(house: House) -> None:
    """For tests that want regular tasks, or other libraries, at workers that have run calls."""
    if house.mode == "direct" and house.executor.engine == "ndcctools":
        # In direct mode there is no such thing as one instance with slots for all calls of a worker.
        pytest.skip(
            "the real TaskVine may lose what runs beside several instances of a library (docs/taskvine-real.md)"
        )


pytestmark = pytest.mark.shared_kernel


# -- results -------------------------------------------------------------------------------------------------------


@python_app
def add(a: int, b: int = 1) -> int:
    return a + b


@python_app
def fail(word: str) -> None:
    raise LookupError(word)


@python_app
def leave(code: int) -> None:
    raise SystemExit(code)


@python_app
def pid(parsl_resource_specification: Any = None) -> int:
    return os.getpid()


def test_results_and_dependencies(house: House) -> None:
    assert add(add(1, 2), add(3)).result(WAIT_S) == 7
    assert [future.result(WAIT_S) for future in [add(n) for n in range(20)]] == list(range(1, 21))


def test_large_arguments_and_results(house: House) -> None:
    data = os.urandom(3_000_000)
    assert house.executor.submit(bytes, {}, data).result(WAIT_S) == data


def test_an_exception_comes_back_as_itself_with_its_traceback(house: House) -> None:
    error = fail("on purpose").exception(WAIT_S)
    assert isinstance(error, LookupError)
    assert error.args == ("on purpose",)
    notes = "\n".join(getattr(error, "__notes__", []))
    assert "raise LookupError(word)" in notes + repr(error.__cause__)


def test_a_function_that_exits_ends_alone(house: House) -> None:
    assert isinstance(leave(3).exception(WAIT_S), BaseException)
    assert add(1).result(WAIT_S) == 2


def test_functions_run_elsewhere(house: House) -> None:
    pids = {pid().result(WAIT_S) for _ in range(5)}
    assert os.getpid() not in pids
    # Other tests may have left two instances of the library at the worker, or more on their way out.
    assert len(pids) < 5 if house.mode == "direct" else len(pids) == 5


@pytest.mark.usefixtures("kinds_side_by_side")
def test_the_mode_of_one_task(house: House) -> None:
    wish = {"exec_mode": "regular", "cores": 1}
    assert len({pid(parsl_resource_specification=wish).result(WAIT_S) for _ in range(2)}) == 2


def test_environment_variables(house: House) -> None:
    assert house.executor.submit(os.getenv, {}, "COLOUR").result(WAIT_S) == "green"


def test_bash_apps(house: House) -> None:
    @bash_app
    def shout(word: str, stdout: str = "shout.txt", stderr: str = "err/shout.err") -> str:
        return f"echo {word}; echo loud >&2"

    assert shout("hello").result(WAIT_S) == 0
    assert Path("shout.txt").read_text() == "hello\n"
    assert Path("err/shout.err").read_text().endswith("loud\n")  # below the command itself


def test_a_bash_app_that_fails(house: House) -> None:
    @bash_app
    def give_up() -> str:
        return "exit 7"

    error = give_up().exception(WAIT_S)
    assert isinstance(error, BashExitFailure)
    assert error.exitcode == 7


def test_standard_output_of_the_kernels_choice(house: House) -> None:
    @bash_app
    def say(stdout: Any = trellis.AUTO_LOGNAME) -> str:
        return "echo said"

    future = say()
    assert future.result(WAIT_S) == 0
    assert Path(future.stdout).read_text() == "said\n"


def test_a_bash_app_that_fails_tells_why_and_what_it_wrote(house: House) -> None:
    @bash_app
    def give_up(stdout: str = "given-up.txt", outputs: Any = ()) -> str:
        return "echo so far; exit 7"

    error = give_up(outputs=[File("never-made.txt")]).exception(WAIT_S)
    assert isinstance(error, BashExitFailure)
    assert Path("given-up.txt").read_text() == "so far\n"


def test_standard_output_is_added_to_a_file(house: House) -> None:
    @bash_app
    def say(word: str, code: int, stdout: Any, stderr: Any) -> str:
        return f"echo {word}; echo {word} >&2; exit {code}"

    log = {"stdout": ("logs/added.txt", "a"), "stderr": ("logs/added.err", "a+")}
    for word, code in (("one", 0), ("two", 7), ("three", 0)):  # what fails wrote something, too
        assert isinstance(say(word, code, **log).exception(WAIT_S), BashExitFailure) == bool(code)
    assert Path("logs/added.txt").read_text() == "one\ntwo\nthree\n"
    errors = Path("logs/added.err").read_text().splitlines()
    assert [line for line in errors if line in ("one", "two", "three")] == ["one", "two", "three"]
    assert say("four", 0, stdout=("logs/added.txt", "w"), stderr=None).result(WAIT_S) == 0
    assert Path("logs/added.txt").read_text() == "four\n"


def test_standard_output_that_cannot_be_added_fails_its_task(house: House) -> None:
    @bash_app
    def say(stdout: Any) -> str:
        return "echo said"

    Path("no-file").mkdir()
    error = say(stdout=("no-file", "a")).exception(WAIT_S)
    assert isinstance(error, TaskVineTaskFailure)
    assert error.result == "output_transfer_error"


def test_a_function_adds_to_a_file(house: House) -> None:
    @python_app
    def note(word: str, stdout: Any) -> None:
        with open(*stdout) as stream:
            stream.write(f"{word}\n")

    Path("noted.txt").write_text("before\n")
    for word in ("one", "two"):
        note(word, stdout=("noted.txt", "a")).result(WAIT_S)
    assert Path("noted.txt").read_text() == "before\none\ntwo\n"


def test_join_apps(house: House) -> None:
    @join_app
    def twice(a: int) -> Any:
        return add(a, a)

    assert twice(21).result(WAIT_S) == 42


# -- files ---------------------------------------------------------------------------------------------------------


@python_app
def copy(source: Any, outputs: Any = ()) -> int:
    text = Path(source).read_text()
    Path(outputs[0]).write_text(text * 2)
    return len(text)


@python_app
def read(source: Any) -> str:
    return Path(source).read_text()


def test_files_go_and_come(house: House) -> None:
    Path("in").mkdir(exist_ok=True)
    Path("in/a.txt").write_text("abc")
    future = copy(File("in/a.txt"), outputs=[File("made/here/b.txt")])
    assert future.result(WAIT_S) == 3
    assert Path("made/here/b.txt").read_text() == "abcabc"
    assert read(future.outputs[0]).result(WAIT_S) == "abcabc"


def test_directories_go_and_come(house: House) -> None:
    @python_app
    def mirror(source: Any, outputs: Any = ()) -> list[str]:
        target = Path(outputs[0])
        for path in sorted(Path(source).rglob("*")):
            if path.is_file():
                place = target / path.relative_to(source)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(path.read_text().upper())
        return sorted(path.name for path in target.rglob("*"))

    Path("tree/deep").mkdir(parents=True, exist_ok=True)
    Path("tree/a").write_text("a")
    Path("tree/deep/b").write_text("b")
    assert mirror(File("tree"), outputs=[File("mirrored")]).result(WAIT_S) == ["a", "b", "deep"]
    assert Path("mirrored/deep/b").read_text() == "B"


def test_an_output_that_was_not_made(house: House) -> None:
    @python_app
    def idle(outputs: Any = ()) -> None: ...

    error = idle(outputs=[File("never.txt")]).exception(WAIT_S)
    assert isinstance(error, TaskVineTaskFailure)
    assert error.result == "output_missing"
    assert "never.txt" in str(error)


def test_an_input_that_is_not_there(house: House) -> None:
    error = read(File("nowhere.txt")).exception(WAIT_S)
    assert isinstance(error, FileNotFoundError)
    assert "nowhere.txt" in str(error)


def test_temporary_files_feed_other_tasks_and_never_come_home(house: House) -> None:
    Path("start.txt").write_text("x")
    first = copy(File("start.txt"), outputs=[File("taskvinetemp://step1")])
    second = copy(first.outputs[0], outputs=[File("taskvinetemp://step2")])
    assert second.result(WAIT_S) == 2
    assert read(second.outputs[0]).result(WAIT_S) == "xxxx"
    assert not list(house.directory.rglob("*step1*"))


def test_a_result_that_stays_at_the_workers(house: House) -> None:
    wish = {"temp_output": True}
    kept = house.executor.submit(sorted, wish, [3, 1, 2]).result(WAIT_S)
    assert kept.fetch(WAIT_S) == [1, 2, 3]
    assert house.executor.submit(sum, {}, kept).result(WAIT_S) == 6


@pytest.fixture
def url(house: House) -> Iterator[str]:
    (house.directory / "served").mkdir(exist_ok=True)
    (house.directory / "served" / "remote.txt").write_text("from afar")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None: ...

    handler = functools.partial(Quiet, directory=str(house.directory / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/remote.txt"
        server.shutdown()
        thread.join()


def test_urls_are_fetched_by_workers(house: House, url: str) -> None:
    assert read(File(url)).result(WAIT_S) == "from afar"
    assert not (house.directory / "remote.txt").exists()


def test_a_url_that_is_not_there(house: House, url: str) -> None:
    error = read(File(url + ".missing")).exception(WAIT_S)
    assert isinstance(error, TaskVineTaskFailure)
    assert error.result == "input_missing"
    assert "404" in str(error)


# -- resources and ends --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("kinds_side_by_side")
def test_a_task_is_told_what_it_was_given(house: House) -> None:
    wish = {"exec_mode": "regular", "cores": 1, "memory": 50, "category": "small", "priority": 5}
    assert house.executor.submit(os.getenv, wish, "CORES").result(WAIT_S) == "1"
    assert house.executor.submit(os.getenv, wish, "MEMORY").result(WAIT_S) == "50"


def test_a_wish_that_nobody_knows(house: House) -> None:
    with pytest.raises(InvalidResourceSpecification, match="cpus"):
        house.executor.submit(abs, {"cpus": 1}, -1)


def _note_and_wait(name: str, seconds: float) -> str:
    Path(name).write_text("")
    time.sleep(seconds)
    return name


@pytest.mark.usefixtures("kinds_side_by_side")
def test_higher_priority_is_sooner(house: House) -> None:
    # Whole workers, so one after the other; the first one gives the others time to be there.
    ends: list[str] = []
    futures = []
    wishes = [("first", 9), ("low", 0), ("high", 5)]
    for name, priority in wishes:
        future = house.executor.submit(_wait, {"exec_mode": "regular", "priority": priority}, name, 0.5)
        future.add_done_callback(lambda done: ends.append(done.result()))
        futures.append(future)
    for future in futures:
        future.result(WAIT_S)
    assert sorted(ends) == ["first", "high", "low"]
    if house.executor.engine == "embedded":  # TaskVine itself is told, and takes turns all the same
        assert ends == ["first", "high", "low"]


def _wait(name: str, seconds: float) -> str:
    time.sleep(seconds)
    return name


@pytest.mark.usefixtures("kinds_side_by_side")
def test_cancel(house: House, tmp_path: Path) -> None:
    started = str(tmp_path / "started")
    future = house.executor.submit(_note_and_wait, {"exec_mode": "regular", "cores": 1}, started, 600)
    _until(lambda: os.path.exists(started))
    assert future.cancel()
    assert future.cancelled()
    with pytest.raises(CancelledError):
        future.result(WAIT_S)
    assert add(1).result(WAIT_S) == 2


def test_walltime(house: House) -> None:
    @python_app
    def endless(parsl_resource_specification: Any = None, walltime: float = 1) -> None:
        time.sleep(600)

    assert isinstance(endless().exception(WAIT_S), AppTimeout)


@pytest.mark.usefixtures("kinds_side_by_side")
def test_a_time_that_the_specification_sets(house: House) -> None:
    wish = {"exec_mode": "regular", "running_time_max": 1}
    error = house.executor.submit(time.sleep, wish, 600).exception(WAIT_S)
    assert isinstance(error, TaskVineTaskFailure)
    assert error.result == "max_wall_time"


# -- libraries -----------------------------------------------------------------------------------------------------


def _look_up(position: int) -> tuple[int, int]:
    index: list[int] = load_variable_from_library("index")
    return index[position], load_variable_from_library("loaded_by")


@pytest.mark.usefixtures("kinds_side_by_side")
def test_a_context_is_loaded_once(house: House) -> None:
    found = [house.executor.submit(_look_up, {"library": "index"}, n).result(WAIT_S) for n in range(5)]
    assert [value for value, _ in found] == list(range(5))
    assert len({loaded_by for _, loaded_by in found}) == 1


@pytest.mark.usefixtures("kinds_side_by_side")
def test_a_library_that_does_not_start_says_why_at_once(house: House) -> None:
    error = house.executor.submit(abs, {"library": "broken"}, -1).exception(WAIT_S)
    assert isinstance(error, TaskVineTaskFailure)
    assert error.result in ("missing_library", "library_exit")
    assert "LookupError: no index here" in str(error)


def test_a_library_that_there_is_not(house: House) -> None:
    error = house.executor.submit(abs, {"library": "nothing"}, -1).exception(WAIT_S)
    assert isinstance(error, TaskVineTaskFailure)
    assert error.result == "missing_library"


# -- losses --------------------------------------------------------------------------------------------------------


def test_a_lost_worker_costs_nothing(house: House, tmp_path: Path) -> None:
    Path("origin.txt").write_text("x")
    temp = copy(File("origin.txt"), outputs=[File("taskvinetemp://lost")])
    temp.result(WAIT_S)
    started = str(tmp_path / "started")
    running = house.executor.submit(_note_and_wait, {}, started, 1)
    _until(lambda: os.path.exists(started))
    for worker in house.workers():
        worker.send_signal(signal.SIGKILL)
    # TaskVine's own factory looks after its workers every 30 s only.
    assert running.result(3 * WAIT_S) == started
    assert read(temp.outputs[0]).result(WAIT_S) == "xx"  # made again


def _until(condition: Any) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)

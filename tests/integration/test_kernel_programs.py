"""Programs that users write, on threads."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, wait
from pathlib import Path
from typing import Any

import pytest

import trellis
from trellis import AUTO_LOGNAME, Config, DataFlowKernel, File, ThreadPoolExecutor, bash_app, join_app, python_app
from trellis.dataflow.dependency_resolvers import SHALLOW_DEPENDENCY_RESOLVER
from trellis.dataflow.states import States
from trellis.errors import (
    AppTimeout,
    BadStdStreamFile,
    BashAppNoReturn,
    BashExitFailure,
    DependencyError,
    InvalidResourceSpecification,
    JoinError,
    MissingOutputs,
)

TIMEOUT_S = 30


@python_app
def add(a: int, b: int = 0) -> int:
    return a + b


@python_app
def fail(message: str) -> None:
    raise ValueError(message)


@python_app
def total(inputs: list[int]) -> int:
    return sum(inputs)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(executors=[ThreadPoolExecutor(max_threads=4)], run_dir=str(tmp_path / "runs"))


@pytest.fixture
def dfk(config: Config) -> Iterator[DataFlowKernel]:
    with trellis.load(config) as kernel:
        yield kernel


pytestmark = pytest.mark.usefixtures("dfk")


def test_hello_world() -> None:
    @python_app
    def hello(name: str = "world") -> str:
        return f"hello {name}"

    assert hello().result(TIMEOUT_S) == "hello world"
    assert hello("you").result(TIMEOUT_S) == "hello you"


def test_monte_carlo_pi_with_map_and_reduce() -> None:
    @python_app
    def inside(n: int, seed: int) -> int:
        rng = random.Random(seed)
        return sum(rng.random() ** 2 + rng.random() ** 2 < 1 for _ in range(n))

    @python_app
    def mean(counts: list[int], n: int) -> float:
        return 4 * sum(counts) / (n * len(counts))

    pi = mean([inside(5_000, seed) for seed in range(8)], 5_000)
    assert pi.result(TIMEOUT_S) == pytest.approx(3.14, abs=0.1)


def test_a_pipeline_of_commands_with_files(tmp_path: Path) -> None:
    @bash_app
    def write(word: str, outputs: list[File]) -> str:
        return f"echo {word} > {outputs[0]}"

    @bash_app
    def join(inputs: list[File], outputs: list[File]) -> str:
        return f"cat {' '.join(map(str, inputs))} > {outputs[0]}"

    @python_app
    def read(inputs: list[File]) -> str:
        return Path(inputs[0]).read_text()

    parts = [write(w, outputs=[File(str(tmp_path / f"{w}.txt"))]) for w in ("one", "two", "three")]
    whole = join(inputs=[part.outputs[0] for part in parts], outputs=[File(str(tmp_path / "all.txt"))])
    assert read(inputs=[whole.outputs[0]]).result(TIMEOUT_S) == "one\ntwo\nthree\n"
    assert whole.outputs[0].result().filepath == str(tmp_path / "all.txt")


def test_fibonacci_with_a_join_app() -> None:
    @join_app
    def fibonacci(n: int) -> Future[int]:
        return add(n) if n < 2 else add(fibonacci(n - 1), fibonacci(n - 2))

    assert fibonacci(10).result(TIMEOUT_S) == 55


def test_a_join_app_may_give_a_list_of_futures() -> None:
    @join_app
    def several(n: int) -> list[Future[int]]:
        return [add(i, 1) for i in range(n)]

    assert several(3).result(TIMEOUT_S) == [1, 2, 3]
    assert several(0).result(TIMEOUT_S) == []


def test_a_join_app_fails_with_its_futures_and_with_other_results() -> None:
    @join_app
    def give(value: Any) -> Any:
        return fail("inner") if value == "fail" else value

    with pytest.raises(JoinError, match=r"task \d+ \(app fail\): ValueError: inner"):
        give("fail").result(TIMEOUT_S)
    with pytest.raises(TypeError, match="not a int"):
        give(3).result(TIMEOUT_S)


def test_futures_are_found_in_containers() -> None:
    @python_app
    def show(x: Any, y: Any = None) -> str:
        return f"{x} {y}"

    text = show([add(1), (add(2), {3})], y={"a": add(4), add(5): 6}).result(TIMEOUT_S)
    assert text == "[1, (2, {3})] {'a': 4, 5: 6}"


def test_futures_of_other_libraries_are_dependencies_too() -> None:
    other: Future[int] = Future()
    sums = [add(other, i) for i in range(3)]
    assert [future.task_status() for future in sums] == ["pending"] * 3
    other.set_result(10)
    assert [future.result(TIMEOUT_S) for future in sums] == [10, 11, 12]


def test_parts_of_results_that_are_not_there_yet() -> None:
    @python_app
    def make() -> dict[str, complex]:
        return {"z": 3 + 4j}

    assert make()["z"].imag.result(TIMEOUT_S) == 4
    with pytest.raises(KeyError):
        make()["q"].result(TIMEOUT_S)
    with pytest.raises(AttributeError, match="of type dict, has no attribute 'reslt'"):
        make().reslt.result(TIMEOUT_S)


def test_failures_run_down_a_chain_and_name_the_root() -> None:
    future: Any = fail("the root")
    for _ in range(1_000):
        future = add(future)
    with pytest.raises(
        DependencyError, match=r"because of task \d+ \(app fail\), argument 0 of task \d+: ValueError: the root$"
    ):
        future.result(TIMEOUT_S)
    assert future.task_status() == "dep_fail"


def test_a_long_chain_and_a_wide_fan_in() -> None:
    chain = add(0)
    for _ in range(1_000):
        chain = add(chain, 1)
    assert chain.result(TIMEOUT_S) == 1_000
    assert total(inputs=[add(1) for _ in range(20_000)]).result(60) == 20_000


def test_a_pending_task_can_be_cancelled_and_its_dependents_fail(dfk: DataFlowKernel) -> None:
    gate: Future[int] = Future()
    waiting = add(gate)
    dependent = add(waiting)
    assert waiting.cancel()
    assert waiting.cancelled()
    assert waiting.task_status() == "cancelled"
    with pytest.raises(CancelledError):
        waiting.result(TIMEOUT_S)
    with pytest.raises(DependencyError, match="cancelled"):
        dependent.result(TIMEOUT_S)
    assert wait([waiting, dependent], TIMEOUT_S).not_done == set()
    gate.set_result(1)
    assert add(gate).result(TIMEOUT_S) == 1
    assert dfk.task_state_counts[States.cancelled] == 1


def test_cancelling_at_any_moment_leaves_nobody_behind() -> None:
    ran: set[int] = set()

    @python_app
    def note(i: int, *needs: Any) -> int:
        ran.add(i)
        return i

    rng = random.Random(7)
    futures: list[Any] = []
    cancelled: list[int] = []

    def cancel_some() -> None:
        for _ in range(1_000):
            i = rng.randrange(1_000)
            while len(futures) <= i:
                pass
            if futures[i].cancel():
                cancelled.append(i)

    thread = threading.Thread(target=cancel_some)
    thread.start()
    gate: Future[int] = Future()
    for i in range(1_000):
        futures.append(note(i, gate if i % 3 else None, *futures[max(0, i - 2) : i]))
        if i == 500:
            gate.set_result(0)
    thread.join()
    assert wait(futures, TIMEOUT_S).not_done == set()
    assert cancelled
    for i, future in enumerate(futures):
        assert future.task_status() in ("exec_done", "dep_fail", "cancelled")
        assert (i in ran) == (future.task_status() == "exec_done")
        assert (i in cancelled) == future.cancelled()


def test_results_can_be_awaited() -> None:
    async def program() -> list[int]:
        return [await add(1, 2), *await asyncio.gather(add(3), add(4))]

    assert asyncio.run(program()) == [3, 3, 4]


def test_many_calls_at_once_with_back_pressure() -> None:
    assert [future.result() for future in add.map(range(200), max_outstanding=7)] == list(range(200))
    futures = trellis.as_completed(add.map(range(200), max_outstanding=7), timeout=TIMEOUT_S)
    assert sorted(future.result() for future in futures) == list(range(200))


def test_special_arguments_need_not_be_declared() -> None:
    assert add(1, walltime=5, label="x", inputs=[add(2)]).result(TIMEOUT_S) == 1


def test_a_python_app_has_a_walltime() -> None:
    @python_app
    def spin(walltime: float = 0.05) -> None:
        while True:
            pass

    with pytest.raises(AppTimeout, match=r"spin ran for longer than its walltime of 0\.05 s"):
        spin().result(TIMEOUT_S)


def test_threads_refuse_resource_specifications() -> None:
    with pytest.raises(InvalidResourceSpecification):
        add(1, parsl_resource_specification={"cores": 2}).result(TIMEOUT_S)


def test_an_unknown_executor_is_the_futures_failure() -> None:
    @python_app(executors=["elsewhere"])
    def f() -> None: ...

    with pytest.raises(ValueError, match="'elsewhere', but the executors are"):
        f().result(TIMEOUT_S)


def test_a_callback_that_raises_harms_nobody() -> None:
    def bad_callback(_: Any) -> None:
        raise SystemExit

    gate: Future[int] = Future()
    future = add(gate)
    future.add_done_callback(bad_callback)
    gate.set_result(1)
    assert add(future).result(TIMEOUT_S) == 1


def test_records_of_final_tasks_are_dropped(dfk: DataFlowKernel) -> None:
    futures = [add(i) for i in range(10)]
    trellis.wait_for_current_tasks()
    assert all(future.done() for future in futures)
    assert dfk.task_count == 10
    assert dfk.task_state_counts[States.exec_done] == 10
    assert add(1).result(TIMEOUT_S) == 1
    trellis.wait_for_current_tasks()


def test_a_task_tells_where_it_ran() -> None:
    future = add(1)
    future.result(TIMEOUT_S)
    assert future.run_info is not None
    assert future.run_info.manager_id.startswith("trellis-threads")


class TestBashApps:
    def test_output_goes_to_files(self, tmp_path: Path) -> None:
        @bash_app
        def speak(text: str, stdout: Any = None, stderr: Any = None) -> str:
            return f"echo {text}; echo {text} >&2"

        out, err = tmp_path / "new" / "out.txt", tmp_path / "err.txt"
        future = speak("hi", stdout=str(out), stderr=(str(err), "w"))
        assert future.result(TIMEOUT_S) == 0
        assert future.stdout == str(out)
        assert speak("again", stdout=str(out), stderr=(str(err), "w")).result(TIMEOUT_S) == 0
        assert out.read_text() == "hi\nagain\n"
        assert err.read_text() == (
            "--> executable follows <--\necho again; echo again >&2\n--> end executable <--\nagain\n"
        )

    def test_automatic_names(self, dfk: DataFlowKernel) -> None:
        @bash_app
        def speak() -> str:
            return "echo hi"

        future = speak(stdout=AUTO_LOGNAME, label="mine")
        future.result(TIMEOUT_S)
        assert future.stdout == f"{dfk.run_dir}/task_logs/0000/task_0000_speak_mine.stdout"
        assert Path(future.stdout).read_text() == "hi\n"

    def test_a_file_for_output_becomes_a_data_future(self, tmp_path: Path) -> None:
        @bash_app
        def speak(stdout: Any) -> str:
            return "echo hi"

        future = speak(stdout=File(str(tmp_path / "o")))
        assert Path(future.stdout.result(TIMEOUT_S)).read_text() == "hi\n"

    def test_what_can_go_wrong(self, tmp_path: Path) -> None:
        @bash_app
        def run(command: Any, stdout: Any = None, outputs: Any = (), walltime: Any = None) -> str:
            return command.strip() if command is None else command  # type: ignore[no-any-return]

        with pytest.raises(BashExitFailure, match="run ended with exit code 3"):
            run("exit 3").result(TIMEOUT_S)
        with pytest.raises(BashAppNoReturn):
            run(None).result(TIMEOUT_S)
        with pytest.raises(ValueError, match="must return a command line, a str, not int"):
            run(3).result(TIMEOUT_S)
        with pytest.raises(BadStdStreamFile, match="stdout"):
            run("true", stdout=str(tmp_path)).result(TIMEOUT_S)
        with pytest.raises(MissingOutputs, match=r"never\.txt"):
            run("true", outputs=[File(str(tmp_path / "never.txt"))]).result(TIMEOUT_S)
        with pytest.raises(AppTimeout, match=r"walltime of 0\.2 s"):
            run("sleep 1000 | sleep 1000", walltime=0.2).result(TIMEOUT_S)  # the leak check sees surviving children

    def test_outputs_must_be_files(self) -> None:
        with pytest.raises(TypeError, match=r"File\('a'\)"):
            add(1, outputs=["a"]).result(TIMEOUT_S)


def test_retries_and_a_handler_that_moves_the_task(tmp_path: Path) -> None:
    seen: list[Any] = []

    def handler(exception: Exception, record: Any) -> float:
        seen.append((str(exception), record["func_name"], record["executor"], record["fail_count"]))
        record["executor"] = "b"
        return 0.5

    trellis.dfk().cleanup()
    executors = [ThreadPoolExecutor("a"), ThreadPoolExecutor("b")]
    config = Config(executors=executors, retries=1, retry_handler=handler, run_dir=str(tmp_path / "r"))
    with trellis.load(config):

        @python_app(executors=["a"])
        def where(fail_on: str) -> str:
            import threading

            name = threading.current_thread().name
            if fail_on in name:
                raise RuntimeError("not here")
            return name

        assert where("trellis-a").result(TIMEOUT_S).startswith("trellis-b")
        assert seen == [("not here", "where", "a", 1)]
        with pytest.raises(RuntimeError, match="not here"):
            where("trellis").result(TIMEOUT_S)
        assert len(seen) == 1 + 3


def test_a_retry_handler_that_raises_decides_the_failure(tmp_path: Path) -> None:
    def handler(exception: Exception, record: Any) -> float:
        raise LookupError("handler")

    trellis.dfk().cleanup()
    with (
        trellis.load(Config(retries=9, retry_handler=handler, run_dir=str(tmp_path / "r"))),
        pytest.raises(LookupError, match="handler"),
    ):
        fail("x").result(TIMEOUT_S)


def test_the_shallow_resolver_on_request(tmp_path: Path) -> None:
    trellis.dfk().cleanup()
    with trellis.load(Config(dependency_resolver=SHALLOW_DEPENDENCY_RESOLVER, run_dir=str(tmp_path / "r"))):

        @python_app
        def kind(x: Any) -> str:
            return type(x[0]).__name__

        assert kind([add(1)]).result(TIMEOUT_S) == "AppFuture"
        assert total(inputs=[add(1), add(2)]).result(TIMEOUT_S) == 3


RUNS: list[int] = []


def test_cached_apps_run_once() -> None:
    @python_app(cache=True)
    def count(x: int) -> int:
        RUNS.append(x)
        return x

    first = [count(1) for _ in range(5)]
    assert [future.result(TIMEOUT_S) for future in first] == [1] * 5
    again = count(1)
    again.result(TIMEOUT_S)
    assert RUNS == [1]
    assert again.task_status() == "memo_done"

"""Every special argument of a call and every key of a specification, given anything, beside a hundred innocent tasks.

A call ends as it should, or is refused at once with an error that names the argument; all others end, whatever it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import trellis
from tests.properties.odd_values import MADE, ODD, name_of, odd
from trellis.dataflow.spec import SPECIAL
from trellis.errors import (
    AppTimeout,
    DeserializationError,
    InvalidResourceSpecification,
    SerializationError,
    TaskVineTaskFailure,
    TrellisError,
)
from trellis.executors import HighThroughputExecutor, TaskVineExecutor, TaskVineFactoryConfig, TaskVineManagerConfig
from trellis.executors.base import TrellisExecutor
from trellis.executors.htex.resources import HTEX_KINDS
from trellis.executors.taskvine.front.specification import KEYS

INNOCENT = 100
WAIT_S = 60


def double(x: int) -> int:
    return 2 * x


def one() -> int:
    return 1


def command() -> str:
    return "true"


def _vine() -> TrellisExecutor:
    return TaskVineExecutor(
        function_exec_mode="serverless",
        manager_config=TaskVineManagerConfig(port=0, library_config={"cores": 2}),
        factory_config=TaskVineFactoryConfig(cores=2),
        engine="embedded",
    )


class House(NamedTuple):
    """A kernel with one executor, and what can be said in a specification for it."""

    executor: TrellisExecutor
    keys: tuple[str, ...]


MAKERS: dict[str, tuple[Callable[[], TrellisExecutor], tuple[str, ...]]] = {
    "threads": (lambda: trellis.ThreadPoolExecutor(max_threads=2), ("cores",)),
    "htex": (lambda: HighThroughputExecutor(max_workers_per_node=2), (*HTEX_KINDS, "unknown")),
    "taskvine": (_vine, (*KEYS, "unknown")),
}


@pytest.fixture(scope="module", params=MAKERS)
def house(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    make, keys = MAKERS[request.param]
    directory = tmp_path_factory.mktemp(request.param)
    executor = make()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)  # files that calls name are made there: managers start in the program's directory
        with trellis.load(trellis.Config(executors=[executor], run_dir=str(directory), initialize_logging=False)):
            assert trellis.python_app(double)(1).result(WAIT_S) == 2
            yield House(executor, keys)


class Odd(NamedTuple):
    """A call with one odd value."""

    app: Callable[..., Any]
    name: str  # of the special argument, or of the key
    in_specification: bool
    value: Any

    def start(self) -> Future[Any]:
        argument = {self.name: self.value}
        return self.app(**({"parsl_resource_specification": argument} if self.in_specification else argument))  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"{self.name}={name_of(self.value)} of {self.app.__name__}"


PYTHON, BASH = trellis.python_app(one), trellis.bash_app(command)


def calls_with(house: House, value: Any) -> Iterator[Odd]:
    """One for each argument and key. Streams are for bash apps; the others are quicker without a shell."""
    for name in sorted(SPECIAL):
        yield Odd(BASH if name in ("stdout", "stderr", "walltime") else PYTHON, name, False, value)
    for key in house.keys:
        yield Odd(PYTHON, key, True, value)


def check(house: House, odd_calls: list[Odd]) -> None:
    """Calls among innocent ones."""
    innocent: list[Future[int]] = []
    started: list[tuple[Odd, Future[Any]]] = []
    for n, call in enumerate(odd_calls):
        # As many before as behind it, whatever its place.
        while len(innocent) * len(odd_calls) <= n * INNOCENT:
            innocent.append(INNOCENT_APP(n))
        started.append((call, call.start()))
    innocent += [INNOCENT_APP(n) for n in range(INNOCENT - len(innocent) + 1)]
    done, _ = wait(innocent, WAIT_S)
    assert len(done) == len(innocent), f"{len(innocent) - len(done)} innocent tasks are not done"
    assert [future.exception() for future in innocent] == [None] * len(innocent)
    for call, future in started:
        judge(call, future)
    assert INNOCENT_APP(21).result(WAIT_S) == 42


INNOCENT_APP = trellis.python_app(double)
# What was taken and fits nowhere here waits for a larger worker to come: that is no fault of the value.
MAY_WAIT = ("cores", "memory", "disk", "gpus", "features", "running_time_min", "running_time_max")


def judge(call: Odd, future: Future[Any]) -> None:
    if not future.done() and call.name in MAY_WAIT and call.in_specification:
        future.cancel()
        return
    error = future.exception(WAIT_S)
    match error:
        case None:
            return
        case AppTimeout() | TaskVineTaskFailure(result="max_wall_time"):  # a walltime of next to nothing
            assert call.name in ("walltime", "walltime_s", "running_time_max")
        case TaskVineTaskFailure(result="missing_library"):
            assert call.name == "library"
        case OSError():  # a file that is not there, or whose name the engine cannot send
            assert call.name in ("inputs", "label", "stdout", "stderr")
        case SerializationError() | DeserializationError():  # what cannot travel, in a list that may hold anything
            assert call.name in ("inputs", "label")
        case _:
            text = str(error)
            name = call.name
            if name == "parsl_resource_specification" and isinstance(error, InvalidResourceSpecification):
                name = "resource specification"  # the key in it is told
            assert isinstance(error, TrellisError), f"{call}: {error!r}"
            assert isinstance(error, TypeError | ValueError), f"{call}: {error!r}"
            assert name in text, f"{call} is not named: {error!r}"


@pytest.mark.shared_kernel
def test_whatever_an_argument_is_the_call_ends_and_all_others_do(house: House) -> None:
    values = [*ODD, *[make() for make in MADE.values()]]
    check(house, [call for value in values for call in calls_with(house, value)])


@pytest.mark.shared_kernel
@settings(
    max_examples=max(1, settings().max_examples // 50), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_generated_arguments_too(house: House, data: st.DataObject) -> None:
    drawn = data.draw(st.lists(st.tuples(odd, st.integers(0, 100)), min_size=20, max_size=40))
    check(house, [calls[n % len(calls)] for value, n in drawn for calls in [list(calls_with(house, value))]])


@pytest.mark.shared_kernel
def test_a_bare_submit_refuses_at_once(house: House) -> None:
    for value in ODD:
        for arguments, name in (((value, {}), "func"), ((double, value), "resource_specification")):
            try:
                future = house.executor.submit(*arguments, 1)
            except TrellisError as error:
                refusal: Exception | None = error
            else:
                refusal = None
                future.exception(WAIT_S)
            if refusal is not None:
                assert isinstance(refusal, TypeError | ValueError)
                assert name in str(refusal) or "resource specification" in str(refusal)
    assert house.executor.submit(double, {}, 21).result(WAIT_S) == 42


def nap(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:  # a thread hears of its end between two steps of the interpreter only
        time.sleep(0.01)


def long_nap(seconds: float) -> str:
    return f"sleep {seconds}"


@pytest.mark.shared_kernel
def test_a_walltime_means_the_same_everywhere(house: House) -> None:
    apps = [trellis.python_app(nap), trellis.bash_app(long_nap)]
    for limit in (np.float64(0.2), timedelta(seconds=0.2)):
        assert [type(app(30, walltime=limit).exception(WAIT_S)) for app in apps] == [AppTimeout] * 2
    for app in apps:
        assert app(0, walltime="00:10:00").exception(WAIT_S) is None
        error = app(0, walltime=0).exception(WAIT_S)
        assert isinstance(error, ValueError)
        assert "walltime must be a number above 0" in str(error)

"""Every parameter of every public constructor and decorator, given anything: taken and of use, or refused by name.

What there is to be called is found by looking, so a new class or parameter is tested when it is there.
"""

from __future__ import annotations

import importlib
import inspect
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trellis
from tests.properties.odd_values import MADE, ODD, name_of, odd
from trellis.errors import NotInTrellis, TrellisError
from trellis.executors.htex.launch import interchange_settings
from trellis.launchers import Launcher
from trellis.launchers.base import block_script
from trellis.providers import BatchProvider, ExecutionProvider
from trellis.providers.script import JobRequest
from trellis.testing import FakeProvider

PLACES = (
    "trellis",
    "trellis.executors",
    "trellis.executors.taskvine",
    "trellis.providers",
    "trellis.launchers",
    "trellis.data_provider.files",
    "trellis.data_provider.file_noop",
    "trellis.data_provider.ftp",
    "trellis.data_provider.http",
    "trellis.data_provider.rsync",
    "trellis.data_provider.zip",
    "trellis.dataflow.memoization",
    "trellis.executors.high_throughput.manager_selector",
    "trellis.testing",
)
# What cannot be left out, for those that need anything.
NEEDED: dict[str, dict[str, Any]] = {
    "File": {"url": "x"},
    "Library": {"name": "x"},
    "RSyncStaging": {"hostname": "x"},
    "TaskVineFile": {"url": "x"},
    "WrappedLauncher": {"prepend": "nice"},
}
# Made by Trellis itself; or tested by what goes before and after (they take no values but a Config).
NOT_BY_USERS = {"AppFuture", "DataFuture", "TempResult", "DataFlowKernel", "DataFlowKernelLoader", "ParslPoolExecutor"}
DECORATORS = ("python_app", "bash_app", "join_app")


class Parameter(NamedTuple):
    target: Callable[..., Any]
    name: str

    def __repr__(self) -> str:
        return f"{self.target.__name__}({self.name}=)"


def _public() -> Iterator[Callable[..., Any]]:
    seen: set[Any] = set()
    for place in PLACES:
        module = importlib.import_module(place)
        for name in getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]:
            found = getattr(module, name)
            if not inspect.isclass(found) or issubclass(found, BaseException) or inspect.isabstract(found):
                continue
            ours = found.__module__.startswith("trellis") and not found.__module__.startswith("trellis.core")
            if ours and name not in NOT_BY_USERS and found not in seen:
                seen.add(found)
                yield found
    for name in DECORATORS:
        yield getattr(trellis, name)


def _parameters() -> Iterator[Parameter]:
    for target in _public():
        try:
            signature = inspect.signature(target)
        except ValueError:  # a class that is built in, such as a record
            continue
        for name, parameter in signature.parameters.items():
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                yield Parameter(target, name)


PARAMETERS = list(_parameters())


def test_all_that_users_make_is_found() -> None:
    found = {parameter.target.__name__ for parameter in PARAMETERS}
    assert found >= {
        *(
            "Config",
            "File",
            "HighThroughputExecutor",
            "MPIExecutor",
            "ThreadPoolExecutor",
            "TaskVineExecutor",
            "Library",
        ),
        *(
            "Library",
            "TaskVineFile",
            "TaskVineManagerConfig",
            "TaskVineFactoryConfig",
            "LocalProvider",
            "SlurmProvider",
        ),
        *("CondorProvider", "SrunLauncher", "WrappedLauncher", "RSyncStaging", "BasicMemoizer"),
        *("python_app", "bash_app", "join_app"),
    }
    for parameter in PARAMETERS:
        for name, about in inspect.signature(parameter.target).parameters.items():
            if about.default is about.empty and about.kind is not about.VAR_POSITIONAL:
                assert name in NEEDED.get(parameter.target.__name__, {}), f"say in NEEDED what {parameter} takes"


def attempt(parameter: Parameter, value: Any) -> None:
    """Make it, and use what was made; or it is refused as it should be."""
    arguments = {**NEEDED.get(parameter.target.__name__, {}), parameter.name: value}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = parameter.target(**arguments)
        except TrellisError as error:
            refusal: Exception | None = error
        else:
            refusal = None
            use(made, parameter.name)
    if refusal is not None:
        assert isinstance(refusal, TypeError | ValueError | NotInTrellis), f"{parameter!r}: {type(refusal)} is neither"
        assert parameter.name in str(refusal), f"{parameter!r} is not named: {refusal}"


def use(made: Any, name: str) -> None:
    """All that can be done with it without starting anything, or asking the network for the name of a host."""
    match made:
        case Launcher():
            _check_script(made("run", 2, 3, "/scripts"))
        case BatchProvider():
            request = JobRequest("name", block_script(made.launcher, "run", 1, 1, "/scripts"), 1, "/scripts/name.sh")
            for text in made.render_files(request).values():
                text.encode()
                assert "\0" not in text
            for words in (made.submit_argv("/x"), made.cancel_argv(["1"])):
                assert all(isinstance(word, str) for word in words)
            made.parse_job_id("Submitted batch job 12\n")
            assert made.walltime_s + made.cmd_timeout > 0
        case trellis.HighThroughputExecutor():
            command = made.launch_command("0")
            assert "\0" not in command
            os.fsencode(command)
            if name != "address":
                msgspec.json.encode(interchange_settings(made.options))
        case trellis.File():
            assert isinstance(made.cleancopy().filename, str)
            if made.scheme == "file":
                assert not os.path.exists(os.path.join("/no such directory", made.filepath.lstrip("/")))
    if isinstance(made, ExecutionProvider) and not isinstance(made, FakeProvider):
        assert made.min_blocks <= made.max_blocks
        _check_script(block_script(made.launcher, "run", 1, made.nodes_per_block))  # type: ignore[attr-defined]


def _check_script(text: str) -> None:
    assert "\0" not in text
    text.encode()


@pytest.mark.parametrize("parameter", PARAMETERS, ids=repr)
def test_any_odd_value_is_taken_or_refused_by_name(parameter: Parameter) -> None:
    for value in [*ODD, *[make() for make in MADE.values()]]:
        try:
            attempt(parameter, value)
        except BaseException as error:
            error.add_note(f"{parameter!r} was given {name_of(value)}")
            raise


# As many as that take a second; "explore" makes twenty times as many.
@settings(max_examples=10 * settings().max_examples)
@given(st.sampled_from(PARAMETERS), odd)
def test_any_other_value_is_taken_or_refused_by_name(parameter: Parameter, value: Any) -> None:
    attempt(parameter, value)

"""What functions take along to workers, on each executor that has some: values, modules, paths, and what they raise."""

from __future__ import annotations

import importlib
import os
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import trellis
from trellis import Config, HighThroughputExecutor, bash_app, python_app
from trellis.errors import NoDataFlowKernelError, TaskExited
from trellis.executors.taskvine import TaskVineExecutor, TaskVineFactoryConfig, TaskVineManagerConfig

TIMEOUT_S = 60


def vine(mode: str, **library: Any) -> Any:
    return TaskVineExecutor(
        function_exec_mode=mode,
        manager_config=TaskVineManagerConfig(port=0, library_config={"cores": 1, **library}),
        factory_config=TaskVineFactoryConfig(cores=1),
        engine="embedded",
    )


EXECUTORS: dict[str, Callable[[], Any]] = {
    "htex": lambda: HighThroughputExecutor(max_workers_per_node=1),
    "taskvine": lambda: vine("regular"),
    "taskvine, serverless": lambda: vine("serverless"),
    "taskvine, direct": lambda: vine("serverless", exec_mode="direct"),
}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """On ``sys.path``; what is imported from there is forgotten."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def script(source: str) -> dict[str, Any]:
    """What a program's own file defines."""
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(source, space)
    return space


def a_global_that_has_changed_in_place_is_seen(directory: Path) -> None:
    space = script("tariffs = {'night': 1}\ndef price(): return tariffs['night']")
    app: Any = python_app(space["price"])
    assert app().result(TIMEOUT_S) == 1
    space["tariffs"]["night"] = 2
    assert app().result(TIMEOUT_S) == 2


def modules_in_added_directories_and_archives_are_found(directory: Path) -> None:
    name = f"found_{os.urandom(4).hex()}"
    (directory / f"{name}.py").write_text("def twice(x):\n    return 2 * x\n")
    with zipfile.ZipFile(directory / "packed.zip", "w") as archive:
        archive.writestr(f"{name}_packed.py", "def thrice(x):\n    return 3 * x\n")
    sys.path.append(str(directory / "packed.zip"))
    importlib.invalidate_caches()
    twice: Any = python_app(importlib.import_module(name).twice)
    thrice: Any = python_app(importlib.import_module(f"{name}_packed").thrice)
    assert twice(4).result(TIMEOUT_S) == 8
    assert thrice(4).result(TIMEOUT_S) == 12


def a_module_that_was_reloaded_is_what_runs(directory: Path) -> None:
    name = f"edited_{os.urandom(4).hex()}"
    (directory / f"{name}.py").write_text("def answer():\n    return 1\n")
    (directory / f"{name}_user.py").write_text(f"import {name}\ndef answer():\n    return {name}.answer()\n")
    importlib.invalidate_caches()
    module, user = importlib.import_module(name), importlib.import_module(f"{name}_user")
    for answer in (module.answer, user.answer):
        app: Any = python_app(answer)
        assert app().result(TIMEOUT_S) == 1
    (directory / f"{name}.py").write_text("def answer():\n    return 2  # another length\n")
    importlib.reload(module)
    for answer in (user.answer, module.answer):
        app = python_app(answer)
        assert app().result(TIMEOUT_S) == 2


def what_would_end_the_program_is_an_exception(directory: Path) -> None:
    for raised in ("SystemExit(0)", "KeyboardInterrupt()", "GeneratorExit()"):
        app: Any = python_app(script(f"def leaves(): raise {raised}")["leaves"])
        with pytest.raises(TaskExited, match=r"^task \d+ \(app leaves\) ended with"):
            app().result(TIMEOUT_S)


def an_app_that_is_called_on_a_worker_says_what_to_do(directory: Path) -> None:
    space = script("import trellis\n@trellis.python_app\ndef inner(): pass\ndef outer(): return inner().result()")
    app: Any = python_app(space["outer"])
    with pytest.raises(NoDataFlowKernelError, match="make this app a join_app"):
        app().result(TIMEOUT_S)


def a_command_may_have_any_length(directory: Path) -> None:
    app: Any = bash_app(script("def long(stdout=None): return 'set -- ' + 'word ' * 50_000 + '; echo $#'")["long"])
    assert app(stdout=str(directory / "out")).result(TIMEOUT_S) == 0
    assert (directory / "out").read_text() == "50000\n"


def a_function_may_have_a_parameter_named_self(directory: Path) -> None:
    app: Any = python_app(script("def size(self, factor=1): return len(self) * factor")["size"])
    assert app(self="abc", factor=2).result(TIMEOUT_S) == 6


STORIES: list[Callable[[Path], None]] = [
    a_global_that_has_changed_in_place_is_seen,
    modules_in_added_directories_and_archives_are_found,
    a_module_that_was_reloaded_is_what_runs,
    what_would_end_the_program_is_an_exception,
    an_app_that_is_called_on_a_worker_says_what_to_do,
    a_command_may_have_any_length,
    a_function_may_have_a_parameter_named_self,
]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_what_travels(executor: str, directory: Path) -> None:
    with trellis.load(Config(executors=[EXECUTORS[executor]()], run_dir=str(directory / "runs"))):
        for story in STORIES:
            story(directory)

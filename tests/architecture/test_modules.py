"""Every file opens with its duty, is short enough to be read in one go, and is reachable as a public name says."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib import import_module

import pytest

from tests.architecture.source import ROOT, modules, tree

MAX_LINES = 500
# Files that may be longer, with the length they may have: the list gets shorter, not longer.
LONGER = {
    "trellis.errors": 600,  # every exception, one tree
    "trellis.executors.taskvine.remote.runner": 520,  # sent to workers as one file, which needs no other
}

# Where Parsl's programs import from.
PUBLIC_MODULES = [
    "trellis",
    "trellis.addresses",
    "trellis.app.app",
    "trellis.app.bash",
    "trellis.app.errors",
    "trellis.app.futures",
    "trellis.app.python",
    "trellis.concurrent",
    "trellis.config",
    "trellis.data_provider.data_manager",
    "trellis.data_provider.files",
    "trellis.data_provider.staging",
    "trellis.dataflow.dependency_resolvers",
    "trellis.dataflow.dflow",
    "trellis.dataflow.errors",
    "trellis.dataflow.futures",
    "trellis.dataflow.memoization",
    "trellis.dataflow.rundirs",
    "trellis.dataflow.states",
    "trellis.dataflow.taskrecord",
    "trellis.errors",
    "trellis.executors",
    "trellis.executors.base",
    "trellis.executors.errors",
    "trellis.executors.high_throughput.errors",
    "trellis.executors.high_throughput.executor",
    "trellis.executors.high_throughput.manager_selector",
    "trellis.executors.high_throughput.mpi_executor",
    "trellis.executors.status_handling",
    "trellis.executors.taskvine",
    "trellis.executors.taskvine.errors",
    "trellis.executors.taskvine.executor",
    "trellis.executors.taskvine.factory_config",
    "trellis.executors.taskvine.manager_config",
    "trellis.executors.threads",
    "trellis.jobs.error_handlers",
    "trellis.jobs.errors",
    "trellis.jobs.states",
    "trellis.launchers",
    "trellis.launchers.base",
    "trellis.launchers.errors",
    "trellis.launchers.launchers",
    "trellis.log_utils",
    "trellis.providers",
    "trellis.providers.base",
    "trellis.providers.condor.condor",
    "trellis.providers.errors",
    "trellis.providers.grid_engine.grid_engine",
    "trellis.providers.local.local",
    "trellis.providers.lsf.lsf",
    "trellis.providers.pbspro.pbspro",
    "trellis.providers.slurm.slurm",
    "trellis.providers.torque.torque",
    "trellis.serialize",
    "trellis.serialize.errors",
    "trellis.serialize.facade",
    "trellis.utils",
    "trellis.version",
]

PUBLIC_NAMES = {
    "AUTO_LOGNAME",
    "Config",
    "DataFlowKernel",
    "File",
    "HighThroughputExecutor",
    "ParslPoolExecutor",
    "ThreadPoolExecutor",
    "as_completed",
    "bash_app",
    "clear",
    "dfk",
    "join_app",
    "load",
    "python_app",
    "set_file_logger",
    "set_stream_logger",
    "wait_for_current_tasks",
}


def _fresh_python(code: str) -> str:
    """Output of a program in an interpreter of its own."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", modules())
def test_every_module_says_what_it_is_for(module: str) -> None:
    docstring = ast.get_docstring(tree(module))
    assert docstring, f"{module} has no docstring"
    assert docstring.splitlines()[0][-1] in ".:?", f"the docstring of {module} does not start with a sentence"


def test_files_are_short() -> None:
    lengths = {module: len(path.read_text(encoding="utf-8").splitlines()) for module, path in modules().items()}
    too_long = {module: n for module, n in lengths.items() if n > LONGER.get(module, MAX_LINES)}
    assert too_long == {}, "two duties in one file? split it"


def test_exceptions_for_long_files_are_needed() -> None:
    lengths = {module: len(modules()[module].read_text(encoding="utf-8").splitlines()) for module in LONGER}
    assert [module for module, n in lengths.items() if n <= MAX_LINES] == []


def test_public_modules_can_each_be_imported_first() -> None:
    # One interpreter for all would hide a module that works only after another: so forget Trellis in between.
    failed = json.loads(
        _fresh_python(
            f"""
import importlib, json, sys, traceback
failed = {{}}
for name in {PUBLIC_MODULES!r}:
    for known in [m for m in sys.modules if m.partition(".")[0] == "trellis"]:
        del sys.modules[known]
    try:
        importlib.import_module(name)
    except Exception as error:
        failed[name] = repr(error)
print(json.dumps(failed))
"""
        )
    )
    assert failed == {}


@pytest.mark.parametrize("module", modules())
def test_every_exported_name_exists(module: str) -> None:
    if module.endswith("__main__") or module.startswith("trellis.as_parsl"):  # whose import changes what imports give
        return
    loaded = import_module(module)
    names = getattr(loaded, "__all__", [])
    assert [name for name in names if not hasattr(loaded, name)] == []
    assert len(set(names)) == len(names)


def test_root_exports_the_public_names() -> None:
    import trellis

    assert set(trellis.__all__) >= PUBLIC_NAMES
    assert set(dir(trellis)) >= PUBLIC_NAMES


def test_star_import_works_and_warns_of_nothing() -> None:
    shown = _fresh_python("from trellis import *\nprint(python_app.__name__, Config.__name__, AUTO_LOGNAME)")
    assert shown.split() == ["python_app", "Config", "-1"]


def test_import_of_the_root_is_cheap() -> None:
    heavy = {"zmq", "rich", "psutil", "cloudpickle", "msgspec", "sqlalchemy"}
    loaded = json.loads(_fresh_python("import trellis, sys, json\nprint(json.dumps(list(sys.modules)))"))
    assert {name.partition(".")[0] for name in loaded} & heavy == set()


def test_versions_agree() -> None:
    import trellis

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert trellis.__version__ == project["version"]


def test_texts_name_no_machine() -> None:
    paths = [*modules().values(), *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    found = [path.name for path in paths if re.search(r"/(home|root|work)/\w", path.read_text(encoding="utf-8"))]
    assert found == []


@pytest.mark.parametrize("module", modules())
def test_no_constructor_ignores_a_parameter(module: str) -> None:
    ignored = [
        f"{owner.name}({name})"
        for owner in ast.walk(tree(module))
        if isinstance(owner, ast.ClassDef)
        for method in owner.body
        if isinstance(method, ast.FunctionDef) and method.name == "__init__"
        for name in _parameters(method) - _used(method)
    ]
    assert ignored == []


def _used(function: ast.FunctionDef) -> set[str]:
    names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
    # These go to ``keep_arguments``, which refuses what is not declared.
    return _parameters(function) if "locals" in names else names


def _parameters(function: ast.FunctionDef) -> set[str]:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return {argument.arg for argument in named if argument is not None} - {"self"}

"""Modules that are there for the paths of Parsl's programs: they hold nothing, and our own code goes past them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.architecture.source import modules, tree

# ARCHITECTURE.md names them in one place, too.
PUBLIC_PATHS = [
    "trellis.app.app",
    "trellis.app.bash",
    "trellis.app.errors",
    "trellis.app.futures",
    "trellis.app.python",
    "trellis.curvezmq",
    "trellis.data_provider.data_manager",
    "trellis.data_provider.file_noop",
    "trellis.data_provider.files",
    "trellis.data_provider.ftp",
    "trellis.data_provider.http",
    "trellis.data_provider.rsync",
    "trellis.data_provider.staging",
    "trellis.data_provider.zip",
    "trellis.dataflow.errors",
    "trellis.dataflow.futures",
    "trellis.executors.errors",
    "trellis.executors.flux.executor",
    "trellis.executors.globus_compute",
    "trellis.executors.high_throughput.errors",
    "trellis.executors.high_throughput.executor",
    "trellis.executors.high_throughput.manager_record",
    "trellis.executors.high_throughput.manager_selector",
    "trellis.executors.high_throughput.mpi_executor",
    "trellis.executors.high_throughput.probe",
    "trellis.executors.radical.executor",
    "trellis.executors.radical.rpex_resources",
    "trellis.executors.radical.rpex_worker",
    "trellis.executors.status_handling",
    "trellis.executors.taskvine.errors",
    "trellis.executors.taskvine.utils",
    "trellis.executors.workqueue.executor",
    "trellis.jobs.error_handlers",
    "trellis.jobs.errors",
    "trellis.jobs.states",
    "trellis.launchers.errors",
    "trellis.launchers.launchers",
    "trellis.monitoring.db_manager",
    "trellis.monitoring.monitoring",
    "trellis.monitoring.queries.pandas",
    "trellis.monitoring.radios.base",
    "trellis.monitoring.radios.filesystem",
    "trellis.monitoring.radios.filesystem_router",
    "trellis.monitoring.radios.htex",
    "trellis.monitoring.radios.multiprocessing",
    "trellis.monitoring.radios.udp",
    "trellis.monitoring.radios.udp_router",
    "trellis.monitoring.radios.zmq",
    "trellis.monitoring.radios.zmq_router",
    "trellis.monitoring.remote",
    "trellis.monitoring.router",
    "trellis.monitoring.visualization.models",
    "trellis.providers.aws.aws",
    "trellis.providers.azure.azure",
    "trellis.providers.errors",
    "trellis.providers.googlecloud.googlecloud",
    "trellis.providers.kubernetes.kube",
    "trellis.serialize.errors",
]


def _holds_nothing(module: ast.Module) -> bool:
    """Whether a module only imports names and lists them."""
    rest = [statement for statement in module.body[1:] if not isinstance(statement, ast.Import | ast.ImportFrom)]
    return bool(rest) and all(
        isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__" for statement in rest
    )


def test_the_list_is_complete_and_what_is_in_it_holds_nothing() -> None:
    assert [module for module in modules() if _holds_nothing(tree(module))] == PUBLIC_PATHS


@pytest.mark.parametrize("module", PUBLIC_PATHS)
def test_the_first_line_says_so(module: str) -> None:
    docstring = ast.get_docstring(tree(module)) or ""
    assert docstring.startswith(("Public path of ", "Public name of ", "Public names of "))


def _imported(node: ast.AST) -> Iterator[str]:
    """Whatever is imported, at any time and for type checkers too; of ``from a import b`` also ``a.b``."""
    for child in ast.walk(node):
        match child:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(str(module), names):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)
            case ast.Constant(str(text)):  # of import_module, or of a table of names that are loaded late
                yield text


def test_no_code_of_ours_imports_through_them() -> None:
    found = {
        (module, path)
        for module in modules()
        if module not in PUBLIC_PATHS
        for path in _imported(tree(module))
        if path in PUBLIC_PATHS
    }
    assert found == set()

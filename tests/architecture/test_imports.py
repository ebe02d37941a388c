"""Who may import what, beyond the contracts of ``.importlinter``: packages with one user, machines."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.source import Import, imports, is_within, modules, tree

# Packages that are used in one place only.
ONLY_HERE = {
    "zmq": ("trellis.transport",),
    "cloudpickle": (
        "trellis.wire.payload",
        "trellis.dataflow.memo_keys",
        "trellis.dataflow.checkpoint",
        "trellis.executors.taskvine.remote.runner",  # on hosts where Trellis need not be installed
    ),
    "sqlalchemy": ("trellis.monitoring",),
    "starlette": ("trellis.dashboard",),
    "rich": ("trellis.cli",),
    "asyncio": ("trellis.futures",),  # to be awaited, nothing more
}

# Who reads pickles: results and arguments from authenticated connections, and our own checkpoints.
UNPICKLERS = ("trellis.wire.payload", "trellis.dataflow.checkpoint", "trellis.executors.taskvine.remote.runner")

# Who starts processes.
SUBPROCESS = (
    "trellis.remote.bash_runner",
    "trellis.remote.shell",
    "trellis.cli",
    "trellis.executors.common",
    "trellis.executors.htex",
    "trellis.executors.taskvine",
    "trellis.monitoring.recorder_process",
    "trellis.dashboard.server_process",
    "trellis.providers",
    "trellis.utils",  # execute_wait
)

# Frames in, frames and effects out.
PROTOCOLS = [
    "trellis.executors.htex.interchange.protocol",
    "trellis.executors.htex.manager.protocol",
    "trellis.executors.taskvine.embedded.manager.protocol",
    "trellis.executors.taskvine.embedded.worker.protocol",
]

# Decisions without effects: a test or a simulation can run them in any order, at any time.
MACHINES = [
    "trellis.blocks.polling",
    "trellis.blocks.pool",
    "trellis.blocks.scaling",
    "trellis.cli.runs",
    "trellis.cli.timeline",
    "trellis.core.diagnosis",
    "trellis.dataflow.arguments",
    "trellis.dataflow.graph",
    "trellis.dataflow.spec",
    "trellis.executors.common.accelerators",
    "trellis.executors.common.capacity",
    "trellis.executors.common.connections",
    "trellis.executors.common.heartbeat",
    "trellis.executors.common.known_functions",
    "trellis.executors.common.lookahead",
    "trellis.executors.common.placement",
    "trellis.executors.common.pulse",
    "trellis.executors.common.result_batch",
    "trellis.executors.htex.interchange.candidates",
    "trellis.executors.htex.interchange.demands",
    "trellis.executors.htex.interchange.dispatch",
    "trellis.executors.htex.interchange.events",
    "trellis.executors.htex.interchange.infeasible",
    "trellis.executors.htex.interchange.manager_table",
    "trellis.executors.htex.interchange.partial_reports",
    "trellis.executors.htex.interchange.payload_store",
    "trellis.executors.htex.interchange.selection",
    "trellis.executors.htex.interchange.state",
    "trellis.executors.htex.interchange.status",
    "trellis.executors.htex.interchange.task_queue",
    "trellis.executors.htex.interchange.task_table",
    "trellis.executors.htex.manager.backlog",
    "trellis.executors.htex.manager.events",
    "trellis.executors.htex.manager.gangs",
    "trellis.executors.htex.manager.limits",
    "trellis.executors.htex.manager.link",
    "trellis.executors.htex.manager.mpi_environment",
    "trellis.executors.htex.manager.node_pool",
    "trellis.executors.htex.manager.offered_tasks",
    "trellis.executors.htex.manager.pacing",
    "trellis.executors.htex.manager.slots",
    "trellis.executors.htex.manager.state",
    "trellis.executors.htex.manager.unstarted",
    "trellis.executors.htex.manager.workers",
    "trellis.executors.htex.resources",
    "trellis.executors.htex.submit.acknowledgements",
    "trellis.executors.htex.submit.known_managers",
    "trellis.executors.htex.submit.manager_status",
    "trellis.executors.htex.submit.package_requests",
    "trellis.executors.htex.submit.submission",
    "trellis.executors.htex.submit.task_messages",
    "trellis.executors.taskvine.embedded.allocation",
    "trellis.executors.taskvine.embedded.content",
    "trellis.executors.taskvine.embedded.factory.state",
    "trellis.executors.taskvine.embedded.manager.categories",
    "trellis.executors.taskvine.embedded.manager.dispatcher",
    "trellis.executors.taskvine.embedded.manager.effects",
    "trellis.executors.taskvine.embedded.manager.events",
    "trellis.executors.taskvine.embedded.manager.file_recovery",
    "trellis.executors.taskvine.embedded.manager.file_registry",
    "trellis.executors.taskvine.embedded.manager.instances",
    "trellis.executors.taskvine.embedded.manager.lifecycle",
    "trellis.executors.taskvine.embedded.manager.lost_workers",
    "trellis.executors.taskvine.embedded.manager.message_checks",
    "trellis.executors.taskvine.embedded.manager.payload_store",
    "trellis.executors.taskvine.embedded.manager.queues",
    "trellis.executors.taskvine.embedded.manager.records",
    "trellis.executors.taskvine.embedded.manager.relay",
    "trellis.executors.taskvine.embedded.manager.replicas",
    "trellis.executors.taskvine.embedded.manager.reports",
    "trellis.executors.taskvine.embedded.manager.state",
    "trellis.executors.taskvine.embedded.manager.status",
    "trellis.executors.taskvine.embedded.manager.store",
    "trellis.executors.taskvine.embedded.manager.transfer_counters",
    "trellis.executors.taskvine.embedded.manager.worker_selection",
    "trellis.executors.taskvine.embedded.manager.workers",
    "trellis.executors.taskvine.embedded.worker.effects",
    "trellis.executors.taskvine.embedded.worker.events",
    "trellis.executors.taskvine.embedded.worker.orders",
    "trellis.executors.taskvine.embedded.worker.state",
    "trellis.executors.taskvine.front.outstanding_tasks",
    "trellis.executors.taskvine.front.specification",
    "trellis.executors.taskvine.tuning",
    "trellis.launchers.multi_node",
    "trellis.providers.condor.text",
    "trellis.providers.grid_engine.text",
    "trellis.providers.lsf.text",
    "trellis.providers.reports",
    "trellis.providers.script",
    "trellis.providers.slurm.text",
    "trellis.providers.torque.text",
    "trellis.wire.codec",
    "trellis.wire.messages",
    "trellis.wire.stream",
    "trellis.wire.vine",
]
NOT_IN_MACHINES = ("zmq", "threading", "queue", "socket", "subprocess", "os", "time", "random", "logging", "asyncio")
# The type of an argument: chance itself comes from outside.
ALLOWED_IN_MACHINES = {Import("random", "Random")}


@pytest.mark.parametrize("package", ONLY_HERE)
def test_package_has_one_user(package: str) -> None:
    users = [module for module in modules() if any(is_within(found.module, (package,)) for found in imports(module))]
    assert [module for module in users if not is_within(module, ONLY_HERE[package])] == []


def test_processes_are_started_in_few_places() -> None:
    users = [module for module in modules() if any(found.module == "subprocess" for found in imports(module))]
    assert [module for module in users if not is_within(module, SUBPROCESS)] == []


def test_pickles_are_read_in_few_places() -> None:
    readers = [module for module in modules() if _reads_pickles(tree(module))]
    assert [module for module in readers if module not in UNPICKLERS] == []


def _reads_pickles(node: ast.AST) -> bool:
    for child in ast.walk(node):
        match child:
            case ast.Attribute(ast.Name("pickle" | "cloudpickle" | "marshal"), "load" | "loads" | "Unpickler"):
                return True
            case ast.ImportFrom("pickle" | "cloudpickle" | "marshal", names) if {alias.name for alias in names} & {
                "load",
                "loads",
                "Unpickler",
            }:
                return True
    return False


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_protocol_has_no_effects_but_its_log(protocol: str) -> None:
    assert protocol in modules(), "the list above names a module that is not there"
    found = [name.module for name in imports(protocol) if is_within(name.module, NOT_IN_MACHINES)]
    assert [module for module in found if module != "logging"] == []


@pytest.mark.parametrize("machine", MACHINES)
def test_machine_has_no_effects(machine: str) -> None:
    assert machine in modules(), "the list above names a module that is not there"
    effects = [
        found
        for found in imports(machine)
        if is_within(found.module, NOT_IN_MACHINES) and found not in ALLOWED_IN_MACHINES
    ]
    assert effects == []


@pytest.mark.parametrize("machine", MACHINES)
def test_machine_reads_no_global_chance(machine: str) -> None:
    # Random() without a seed would be hidden chance; a machine is handed its generator.
    calls = [
        child.lineno
        for child in ast.walk(tree(machine))
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Name) and child.func.id == "Random"
        if not child.args and not child.keywords
    ]
    if machine == "trellis.executors.htex.interchange.selection":
        return  # its public selectors, which users make, own their generator
    assert calls == []


@pytest.mark.parametrize("package", ["trellis.cli", "trellis.testing"])
def test_nobody_needs_the_command_line_or_the_testing_helpers(package: str) -> None:
    # ``python -m trellis`` is the command line, and so are Parsl's name for one of its commands, and ``trellis run``.
    commands = ("trellis.__main__", "trellis.benchmark.perf", "trellis.as_parsl.__main__")
    outside = [module for module in modules() if not is_within(module, (package, *commands))]
    users = [
        module
        for module in outside
        for found in imports(module)
        if is_within(found.module, (package,)) or is_within(f"{found.module}.{found.name}", (package,))
    ]
    assert users == []


def test_no_relative_imports() -> None:
    relative = [
        module
        for module in modules()
        if any(isinstance(child, ast.ImportFrom) and child.level for child in ast.walk(tree(module)))
    ]
    assert relative == []


def _prints(node: ast.AST) -> bool:
    match node:
        case ast.Call(ast.Name("print"), _, keywords):
            return all(keyword.arg != "file" for keyword in keywords)  # into a given stream: not on the terminal
    return False


def test_nothing_prints_but_the_command_line() -> None:
    printing = [
        module
        for module in modules()
        if not is_within(module, ("trellis.cli",)) and any(_prints(child) for child in ast.walk(tree(module)))
    ]
    assert printing == []

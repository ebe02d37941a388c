"""What a manager is told on its command line, what it finds on its node, and how it introduces itself for that."""

from __future__ import annotations

import argparse
import math
import os
import platform
import re
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trellis.core.alias_path import as_here, variables_of
from trellis.executors.common import capacity, host
from trellis.executors.common.placement import worker_count
from trellis.executors.common.service_main import begin_log
from trellis.executors.htex.manager.backlog import NodeSize
from trellis.executors.htex.manager.mpi_environment import MPI_LAUNCHERS, is_open_mpi
from trellis.executors.htex.manager.slots import Slot, count_accelerators, plan_slots, worker_variables
from trellis.executors.htex.manager.state import ManagerSettings
from trellis.transport.shared_directory import memory_id
from trellis.version import VERSION
from trellis.wire.messages import PROTOCOL_VERSION, Register, Welcome

# The memory of tasks with a limit is measured every so many poll periods.
_POLLS_PER_MEASUREMENT = 10
# Of shorter tasks nobody need know that they run; longer ones are told of once, soon after this.
_SAY_RUNNING_S = 1.0


def _number_or_none(text: str) -> float | None:
    return None if text == "None" else float(text)


def _name(text: str) -> str:
    """A name that directories may have; none is said as an empty one."""
    if not re.fullmatch(r"[\w+@=:-][\w.+@=:-]{0,99}|", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"it must be at most 100 letters, digits and signs of _.+@=:-, not {text!r}")
    return text


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="trellis-manager", description="Run the workers of one node.")
    parser.add_argument("-d", "--debug", action="store_true", help="log details")
    parser.add_argument("-a", "--addresses", required=True, help="comma-separated addresses of the interchange")
    parser.add_argument("-p", "--port", type=int, required=True, help="port of the interchange")
    parser.add_argument("--cert_dir", default="None", help="directory of the encryption keys; None: no encryption")
    parser.add_argument("-l", "--logdir", required=True, help="logs go to a directory below this one")
    parser.add_argument("-L", "--logconf", default="None", help="file that says how to log; None: to manager.log")
    parser.add_argument("-u", "--uid", type=_name, default="", help="unique name of this manager; none: a new one")
    parser.add_argument("-b", "--block_id", default="", help="block that this manager belongs to")
    parser.add_argument("-c", "--cores_per_worker", type=float, default=1.0)
    parser.add_argument("-m", "--mem_per_worker", type=_number_or_none, default=None, help="GB")
    parser.add_argument("--max_workers_per_node", type=float, default=math.inf)
    parser.add_argument("--prefetch_capacity", type=int, default=0)
    parser.add_argument("--hb_period", type=float, default=30)
    parser.add_argument("--hb_threshold", type=float, default=120)
    parser.add_argument("--drain_period", type=_number_or_none, default=None, help="seconds; None: never")
    parser.add_argument("--address_probe_timeout", type=float, default=30)
    parser.add_argument("--poll_period", type=float, default=10, help="ms; memory is measured every ten of them")
    parser.add_argument("--cpu_affinity", default="none", help="none, block, block-reverse, alternating, list:0,1:2-3")
    parser.add_argument("--available_accelerators", nargs="*", default=[], help="one for each worker")
    parser.add_argument("--enable_mpi_mode", action="store_true", help="tasks may spread over the nodes of the job")
    parser.add_argument("--mpi_launcher", choices=MPI_LAUNCHERS, default="mpiexec")
    parser.add_argument("--walltime_s", type=_number_or_none, default=None, help="of the block's job; None: not known")
    return parser.parse_args(argv)


@dataclass(frozen=True, slots=True)
class NodePlan:
    """What this node has, and how it is shared out."""

    size: NodeSize
    slots: list[Slot]
    ends_in_s: float | None  # until the batch system ends the job
    open_mpi: bool  # its mpiexec is Open MPI's


def plan_node(options: argparse.Namespace) -> NodePlan:
    """Look at the node, and share it out.

    Raises:
        ConfigurationError: not one worker fits, the affinity asked for does not, or a variable makes no sense.
    """
    cpus, cores, memory_bytes, ends_in_s = host.usable(os.environ, options.walltime_s, time.time())
    accelerators: list[str] = options.available_accelerators
    most = min(options.max_workers_per_node, len(accelerators) or math.inf)
    workers = worker_count(cores, memory_bytes / 2**30, options.cores_per_worker, options.mem_per_worker, most)
    slots = plan_slots(options.cpu_affinity, cpus, accelerators, workers)
    nodes = host.node_names(os.environ) if options.enable_mpi_mode else ()
    size = NodeSize(workers, cores, memory_bytes, count_accelerators(accelerators), nodes)
    open_mpi = options.enable_mpi_mode and is_open_mpi(host.mpiexec_version())
    return NodePlan(size, slots, ends_in_s, open_mpi)


def make_settings(options: argparse.Namespace, plan: NodePlan) -> ManagerSettings:
    return ManagerSettings(
        plan.size,
        options.hb_period,
        options.hb_threshold,
        capacity.drain_after_s(options.drain_period, plan.ends_in_s),
        _POLLS_PER_MEASUREMENT * options.poll_period / 1000,
        _SAY_RUNNING_S,
    )


def make_registration(options: argparse.Namespace, plan: NodePlan, name: str) -> Register:
    size = plan.size
    return Register(
        protocol=PROTOCOL_VERSION,
        manager=name,
        block=options.block_id,
        hostname=socket.gethostname(),
        pid=os.getpid(),
        workers=size.workers,
        capacity=size.workers + options.prefetch_capacity,
        trellis_version=VERSION,
        python_version=platform.python_version(),
        start_time=time.time(),
        cpus=size.cpus,
        memory_bytes=size.memory_bytes,
        directory=os.getcwd(),
        gpus=size.gpus,
        nodes=len(size.nodes),
        ends_in_s=plan.ends_in_s,
        memory=memory_id(),
        witnessed=True,
    )


def worker_environment(
    options: argparse.Namespace, plan: NodePlan, registration: Register, welcome: Welcome, worker: int
) -> dict[str, str]:
    """The environment of the worker with this rank."""
    paths = as_here(welcome.import_paths)
    return {
        **os.environ,
        **variables_of(paths, os.environ),
        **worker_variables(plan.slots[worker], options.cpu_affinity),
        "PARSL_WORKER_RANK": str(worker),
        "PARSL_WORKER_COUNT": str(registration.workers),
        "PARSL_WORKER_POOL_ID": registration.manager,
        "PARSL_WORKER_BLOCK_ID": registration.block,
        "TRELLIS_IMPORT_PATHS": os.pathsep.join(paths),
        "TRELLIS_SHARED_DIR": welcome.shared_dir,
        "TRELLIS_RECORDED": "1" if welcome.recorded else "",
        "TRELLIS_LOG_CONFIG": log_config_path(options) or "",
        "TRELLIS_LOG_DIR": str(log_directory(options, registration.manager)),
    }


def start_log(options: argparse.Namespace, name: str) -> None:
    directory = log_directory(options, name)
    directory.mkdir(parents=True, exist_ok=True)
    begin_log(directory, "manager", log_config_path(options), options.debug)


def log_directory(options: argparse.Namespace, name: str) -> Path:
    """Where the logs of a manager and its workers are."""
    return Path(options.logdir).absolute() / f"block-{options.block_id}" / name


def log_config_path(options: argparse.Namespace) -> str | None:
    """The file that says how to log, if there is one."""
    return None if options.logconf == "None" else os.path.abspath(options.logconf)

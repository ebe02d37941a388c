"""Starts a manager by the name and with the options of Parsl's ``process_worker_pool.py``.

For launch commands that programs have written for Parsl, and for programs that start
``python -m parsl.executors.high_throughput.process_worker_pool`` themselves.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence

from trellis.core.missing import Missing, missing_function
from trellis.executors.execute_task import execute_task
from trellis.executors.htex.manager.mpi_environment import MPI_LAUNCHERS

VALID_LAUNCHERS = MPI_LAUNCHERS

_INSTEAD = "a manager and its workers are processes; main() starts them with the options of process_worker_pool.py"

__all__ = ["VALID_LAUNCHERS", "Manager", "execute_task", "get_arg_parser", "main", "worker"]


class Manager(Missing, was="starts the workers of a node and brings tasks to them", instead=_INSTEAD): ...


worker = missing_function("worker", __name__, "is the main function of a worker", _INSTEAD)


def get_arg_parser() -> argparse.ArgumentParser:
    """The options of Parsl's releases, older and newer ones."""
    parser = argparse.ArgumentParser(prog="process_worker_pool.py", description="Run the workers of one node.")
    add = parser.add_argument
    add("-d", "--debug", action="store_true", help="log details")
    add("-a", "--addresses", required=True, help="comma-separated addresses of the interchange")
    add("--cert_dir", required=True, help="directory of the encryption keys; None: no encryption")
    add("-l", "--logdir", default="process_worker_pool_logs", help="logs go to a directory below this one")
    add("-L", "--logconf", default="None", help="file with a pickled LogConfig; None: there is none")
    add("-u", "--uid", default="", help="name of this manager; none: a new one")
    add("-b", "--block_id", default="", help="block that this manager belongs to")
    add("-c", "--cores_per_worker", type=float, default=1.0)
    add("-m", "--mem_per_worker", default="None", help="GB; 0 or None: no limit")
    ports = parser.add_mutually_exclusive_group(required=True)
    ports.add_argument("-P", "--port", type=int, help="port of the interchange")
    ports.add_argument("-t", "--task_port", type=int, help="the same, as older releases say it")
    add("-r", "--result_port", type=int, help="is not used: one port serves for both")
    add("--max_workers_per_node", type=float, default=math.inf)
    add("-p", "--prefetch_capacity", type=int, default=0)
    add("--hb_period", type=float, default=30)
    add("--hb_threshold", type=float, default=120)
    add("--drain_period", default="None", help="seconds; None: never")
    add("--address_probe_timeout", type=float, default=30)
    add("--poll", type=float, default=10, help="ms; memory is measured every ten of them")
    add("--cpu-affinity", required=True, help="none, block, block-reverse, alternating, list:0,1:2-3")
    add("--available-accelerators", nargs="*", default=[], help="one for each worker")
    add("--enable_mpi_mode", action="store_true", help="tasks may spread over the nodes of the job")
    add("--mpi-launcher", choices=VALID_LAUNCHERS, default="mpiexec")
    return parser


def manager_arguments(argv: Sequence[str] | None) -> list[str]:
    """The options of our manager that say the same."""
    return list(_our_options(get_arg_parser().parse_args(argv)))


def _our_options(options: argparse.Namespace) -> Iterator[str]:
    unlimited = options.mem_per_worker in ("0", "0.0")
    given = {
        "addresses": options.addresses,
        "port": options.task_port if options.port is None else options.port,
        "cert_dir": options.cert_dir,
        "logdir": options.logdir,
        "logconf": options.logconf,
        "uid": options.uid,
        "block_id": options.block_id,
        "cores_per_worker": options.cores_per_worker,
        "mem_per_worker": None if unlimited else options.mem_per_worker,
        "max_workers_per_node": options.max_workers_per_node,
        "prefetch_capacity": options.prefetch_capacity,
        "hb_period": options.hb_period,
        "hb_threshold": options.hb_threshold,
        "drain_period": options.drain_period,
        "address_probe_timeout": options.address_probe_timeout,
        "poll_period": options.poll,
        "cpu_affinity": options.cpu_affinity,
        "mpi_launcher": options.mpi_launcher,
    }
    for name, value in given.items():
        yield f"--{name}={value}"
    if options.debug:
        yield "--debug"
    if options.enable_mpi_mode:
        yield "--enable_mpi_mode"
    if options.available_accelerators:
        yield "--available_accelerators"
        yield from options.available_accelerators


def main(argv: Sequence[str] | None = None) -> int:
    """Run the workers of this node until the interchange dismisses them; gives the exit code."""
    from trellis.executors.htex.manager.service import main as serve

    return serve(manager_arguments(argv))


if __name__ == "__main__":
    sys.exit(main())

"""Starts a TaskVine worker: reads its command line, finds the manager, registers. Decides nothing later.

``python -m trellis.executors.taskvine.embedded.worker.main HOST PORT [options]``, or ``trellis vine-worker``.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import secrets
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from trellis.addresses import tcp_url
from trellis.errors import ConfigurationError
from trellis.executors.common import host
from trellis.executors.common.process_title import show_as
from trellis.executors.common.service_main import open_log
from trellis.executors.taskvine.embedded.worker.cache import Cache
from trellis.executors.taskvine.embedded.worker.events import Exit
from trellis.executors.taskvine.embedded.worker.service import WorkerService
from trellis.executors.taskvine.embedded.worker.state import VineWorkerSettings
from trellis.executors.taskvine.embedded.worker.workspace import Workspace
from trellis.transport.context import new_context
from trellis.transport.endpoint import ClientEndpoint
from trellis.transport.keys import ClientKeys, ServerKeys, keys_from_password_file
from trellis.transport.probe import first_reachable
from trellis.wire.vine import VINE_PROTOCOL_VERSION, RegisterWorker, Resources

logger = logging.getLogger("trellis.vine.worker")

_MB = 2**20


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="trellis vine-worker", description="Offer this host to a TaskVine manager.")
    parser.add_argument("host", help="address of the manager; several, separated by commas, are tried at once")
    parser.add_argument("port", type=int)
    parser.add_argument("--password-file", type=Path, help="file with the secret that the manager has, too")
    parser.add_argument("--cores", type=float, help="to offer; without it: all that this process may use")
    parser.add_argument("--memory", type=float, help="MB")
    parser.add_argument("--disk", type=float, help="MB")
    parser.add_argument("--gpus", type=float, default=0)
    parser.add_argument("--feature", action="append", default=[], help="that tasks may ask for; may be repeated")
    parser.add_argument("--workspace", type=Path, help="kept, with the files that live for ever; else a new directory")
    parser.add_argument("--timeout", type=float, help="seconds without a task, then it ends; 0: never")
    parser.add_argument("--connect-timeout", type=float, default=30, help="seconds to find the manager")
    parser.add_argument("--heartbeat-threshold", type=float, default=120, help="seconds of silence of the manager")
    parser.add_argument("--wall-time", type=float, help="seconds after which this worker will be ended")
    # As the provider asked for it; what the batch system itself says in the job counts more.
    parser.add_argument("--job-walltime", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--measure", action="store_true", help="measure what tasks use")
    parser.add_argument("--block", default="")
    parser.add_argument("--from-factory", action="store_true")
    parser.add_argument("--log", type=Path, help="file for the log; without it: standard error")
    parser.add_argument("-d", "--debug", action="store_true")
    return parser.parse_args(argv)


def _offer(options: argparse.Namespace, workspace: Path, usable: host.Usable) -> Resources:
    cores = options.cores if options.cores is not None else usable.cores
    memory = options.memory if options.memory is not None else usable.memory_bytes // _MB
    free = shutil.disk_usage(workspace).free // _MB
    disk = options.disk if options.disk is not None else free // 2
    if disk > free:
        logger.warning("it offers %d MB of disk, and not %g: no more is free in %s", free, disk, workspace)
        disk = free
    return Resources(cores, memory, disk, options.gpus)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; the exit code is non-zero when the host or the connection was to blame for the end."""
    options = parse_arguments(argv)
    show_as("vine worker")
    open_log(options.log, options.debug)
    _on_signals(_leave)
    try:
        workspace = Workspace(options.workspace)
        try:
            return _serve(options, workspace)
        finally:
            workspace.close()
    except (ConnectionError, ConfigurationError) as error:
        logger.error("%s", error)
        print(f"trellis vine-worker on {socket.gethostname()}: {error}", file=sys.stderr)
        return 1
    except Exception:  # a defect; the manager was told to look into the log
        logger.exception("the worker failed")
        return 1


def _serve(options: argparse.Namespace, workspace: Workspace) -> int:
    keys = None
    if options.password_file is not None:
        keys = keys_from_password_file(options.password_file)
    usable = host.usable(os.environ, options.job_walltime, time.time())
    ends = [seconds for seconds in (options.wall_time, usable.ends_in_s) if seconds is not None]
    ends_at = time.monotonic() + min(ends) if ends else None
    cache = Cache(workspace.path)
    try:
        while True:
            end = _connect_and_serve(options, workspace, cache, keys, _offer(options, workspace.path, usable), ends_at)
            if not end.again:
                break
            logger.warning("%s; it comes back as a new worker", end.reason)
            workspace.clear()
    finally:
        cache.close()
    logger.info("the worker ends: %s", end.reason)
    if end.failed:
        print(f"trellis vine-worker on {socket.gethostname()}: {end.reason}", file=sys.stderr)
    return 1 if end.failed else 0


def _connect_and_serve(
    options: argparse.Namespace,
    workspace: Workspace,
    cache: Cache,
    keys: tuple[ServerKeys, ClientKeys] | None,
    offer: Resources,
    ends_at: float | None,
) -> Exit:
    """A life of the worker: from a connection to its end."""
    name = secrets.token_hex(6)
    address = first_reachable(options.host.split(","), options.port, options.connect_timeout)
    context = new_context()
    endpoint = ClientEndpoint(context, None if keys is None else keys[1], name.encode(), watched=True)
    try:
        endpoint.connect(tcp_url(address, options.port))
        registration = RegisterWorker(
            VINE_PROTOCOL_VERSION,
            name,
            socket.gethostname(),
            os.getpid(),
            offer,
            options.feature,
            _own_address(address, options.port),
            None if ends_at is None else ends_at - time.monotonic(),
            [],
            [],
            options.block,
            options.from_factory,
            [],
            platform.python_version(),
            time.time(),
        )
        period_s = options.heartbeat_threshold / 4
        settings = VineWorkerSettings(period_s, options.heartbeat_threshold, options.timeout, options.measure)
        service = WorkerService(context, endpoint, registration, keys, settings, workspace, cache)
        _on_signals(lambda name: service.stop(f"it got {name}"))
        logger.info("worker %s registers at %s port %d", name, address, options.port)
        return service.serve(options.connect_timeout)
    finally:
        _on_signals(_leave)
        endpoint.close()
        context.term()


def _on_signals(do: Callable[[str], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: do(signal.Signals(number).name))


def _leave(name: str) -> None:
    """Nothing is connected: there is nobody to tell, and nothing to end."""
    raise ConnectionError(f"it got {name} while it looked for its manager")


def _own_address(manager: str, port: int) -> str:
    """The address of this host on the way to the manager: the one by which other workers reach it."""
    family = socket.AF_INET6 if ":" in manager else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((manager, port))  # sends nothing
        own = str(probe.getsockname()[0])
    return f"[{own}]" if ":" in own else own


if __name__ == "__main__":
    sys.exit(main())

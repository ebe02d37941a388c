"""The command that starts a manager: a template, and what its placeholders stand for. Nothing is started here."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from trellis.errors import ParameterValueError
from trellis.executors.htex.wiring import worker_addresses

if TYPE_CHECKING:
    from trellis.executors.htex.executor import HighThroughputExecutor

# The interpreter of the program itself: its environment is the one that has Trellis and the user's packages.
DEFAULT_LAUNCH_CMD = (
    "{python} -P -m trellis.executors.htex.manager.service {debug} -a {addresses} -p {worker_port} "
    "--cert_dir {cert_dir} -l {logdir} -b {{block_id}} -c {cores_per_worker} -m {mem_per_worker} "
    "{max_workers_per_node} --prefetch_capacity {prefetch_capacity} "
    "--hb_period {heartbeat_period} --hb_threshold {heartbeat_threshold} --drain_period {drain_period} "
    "{address_probe_timeout_string} --poll_period {poll_period} --cpu_affinity {cpu_affinity} "
    "--available_accelerators {accelerators} {enable_mpi_mode} --mpi_launcher {mpi_launcher} --walltime_s {walltime_s}"
)

DEFAULT_PROBE_TIMEOUT_S = 30


def launch_values(executor: HighThroughputExecutor, worker_port: int, block_id: str) -> dict[str, str]:
    """What each placeholder stands for, quoted for a shell."""
    provider = executor.provider
    most = executor.max_workers_per_node
    probe_timeout_s = executor.address_probe_timeout or DEFAULT_PROBE_TIMEOUT_S
    values: dict[str, object] = {
        "python": shlex.quote(sys.executable),
        "debug": "--debug" if executor.worker_debug else "",
        "addresses": shlex.quote(",".join(worker_addresses(executor))),
        # Parsl once had two ports; one serves for both.
        "task_port": worker_port,
        "result_port": worker_port,
        "worker_port": worker_port,
        "cert_dir": shlex.quote(str(executor.cert_dir)),
        "logdir": shlex.quote(executor.worker_logdir),
        "logconf": "",  # Parsl's, for logging of one's own: there is none
        "cores_per_worker": executor.cores_per_worker,
        "mem_per_worker": executor.mem_per_worker,
        "max_workers_per_node": "" if most is None else f"--max_workers_per_node={most}",
        "prefetch_capacity": executor.prefetch_capacity,
        "heartbeat_period": executor.heartbeat_period,
        "heartbeat_threshold": executor.heartbeat_threshold,
        "drain_period": executor.drain_period,
        "poll_period": executor.poll_period,
        "nodes_per_block": 1 if provider is None else provider.nodes_per_block,
        "address_probe_timeout_string": f"--address_probe_timeout={probe_timeout_s}",
        "cpu_affinity": shlex.quote(executor.cpu_affinity),
        "accelerators": " ".join(map(shlex.quote, executor.available_accelerators)),
        "enable_mpi_mode": "--enable_mpi_mode" if executor.enable_mpi_mode else "",
        "mpi_launcher": executor.mpi_launcher,
        "walltime_s": getattr(provider, "walltime_s", None),
        "block_id": shlex.quote(block_id),
    }
    return {name: str(value) for name, value in values.items()}


def fill(owner: str, template: str, values: Mapping[str, str]) -> str:
    """The template with its placeholders filled in; ``{block_id}`` may be written with single or double braces.

    Raises:
        ParameterValueError: a placeholder is not known; the message lists those that are.
    """
    try:
        # Filled in with all others: paths among those may say {block_id} as well.
        return template.replace("{{block_id}}", "{block_id}").format(**values)
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise ParameterValueError(
            f"{owner}: launch_cmd has a placeholder that is not known ({error}; braces of the shell's own are written "
            f"twice); there are {', '.join(sorted(values))}"
        ) from None

"""What the processes of an executor are started with: keys, the interchange's settings, the command of a manager."""

from __future__ import annotations

import secrets
import shlex
import sys
from pathlib import Path

from trellis.addresses import get_all_addresses
from trellis.errors import ConfigurationError, ParameterValueError, SerializationError
from trellis.executors.common.import_paths import import_paths
from trellis.executors.common.listening import EVERYWHERE, listening_address
from trellis.executors.htex.interchange.selection import BlockIdManagerSelector, ManagerSelector, RandomManagerSelector
from trellis.executors.htex.options import PLACEHOLDERS, HtexOptions
from trellis.executors.htex.parsl_commands import with_our_manager
from trellis.executors.htex.settings import Settings
from trellis.transport.keys import check_keys, create_keys
from trellis.wire.payload import dumps

# The interpreter of the program itself: its environment is the one that has Trellis and the user's packages.
DEFAULT_LAUNCH_CMD = (
    "{python} -P -m trellis.executors.htex.manager.service {debug} -a {addresses} -p {worker_port} "
    "--cert_dir {cert_dir} -l {logdir} -b {{block_id}} -c {cores_per_worker} -m {mem_per_worker} "
    "{max_workers_per_node} --prefetch_capacity {prefetch_capacity} "
    "--hb_period {heartbeat_period} --hb_threshold {heartbeat_threshold} --drain_period {drain_period} "
    "{address_probe_timeout_string} --poll_period {poll_period} --cpu_affinity {cpu_affinity} "
    "--available_accelerators {accelerators} {enable_mpi_mode} --mpi_launcher {mpi_launcher} --walltime_s {walltime_s} "
    "--logconf {logconf}"
)

DEFAULT_PROBE_TIMEOUT_S = 30
# Where a range of ports is None: any port that users' programs may have.
_ANY_PORT = (1024, 65536)


# -- a manager -------------------------------------------------------------------------------------------------


def launch_command(options: HtexOptions, worker_port: int, block_id: str) -> str:
    """The command that starts a manager; ``{block_id}`` may be written with single or double braces.

    Raises:
        ParameterValueError: a placeholder is not known; the message lists those that are.
    """
    values = _launch_values(options, worker_port, block_id)
    try:
        # Filled in with all others: paths among those may say {block_id} as well.
        command = with_our_manager(options.launch_cmd.replace("{{block_id}}", "{block_id}"))
        return command.format(**values)
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise ParameterValueError(
            f"{options.owner}: launch_cmd has a placeholder that is not known ({error}; braces of the shell's own are "
            f"written twice); there are {', '.join(sorted(values))}"
        ) from None


def _launch_values(options: HtexOptions, worker_port: int, block_id: str) -> dict[str, str]:
    """What each placeholder stands for, quoted for a shell."""
    provider = options.provider
    most = options.max_workers_per_node
    probe_timeout_s = options.address_probe_timeout or DEFAULT_PROBE_TIMEOUT_S
    quoted: dict[str, object] = {
        **{name: getattr(options, name) for name in PLACEHOLDERS},
        "python": sys.executable,
        "addresses": ",".join(worker_addresses(options)),
        # Parsl once had two ports; one serves for both.
        **dict.fromkeys(("task_port", "result_port", "worker_port"), worker_port),
        "cert_dir": options.cert_dir,
        "logdir": options.worker_logdir,
        "nodes_per_block": 1 if provider is None else provider.nodes_per_block,
        "mpi_launcher": options.mpi_launcher,
        "logconf": options.log_config,
        "walltime_s": getattr(provider, "walltime_s", None),
        "block_id": block_id,
    }
    return {
        **{name: shlex.quote(str(value)) for name, value in quoted.items()},
        "debug": "--debug" if options.worker_debug else "",
        "max_workers_per_node": "" if most is None else f"--max_workers_per_node={most}",
        "address_probe_timeout_string": f"--address_probe_timeout={probe_timeout_s}",
        "accelerators": " ".join(map(shlex.quote, options.available_accelerators)),
        "enable_mpi_mode": "--enable_mpi_mode" if options.enable_mpi_mode else "",
    }


def worker_addresses(options: HtexOptions) -> list[str]:
    """Addresses of this host that managers shall try."""
    if options.address is not None:
        return [options.address]
    return [options.loopback_address] if options.runs_here else sorted(get_all_addresses())


# -- the interchange -------------------------------------------------------------------------------------------


def provide_keys(options: HtexOptions, given: bool) -> None:
    """Check the keys that were ``given``, or make new ones, if there shall be any.

    Raises:
        ConfigurationError: those that were given cannot be used.
    """
    if options.cert_dir is None:
        return
    if not options.encrypted:
        raise ConfigurationError(
            f"{options.owner}: cert_dir is {options.cert_dir}, but encrypted is False: without keys, leave it None"
        )
    if given:
        check_keys(Path(options.cert_dir))
    else:
        create_keys(Path(options.cert_dir))


def interchange_settings(options: HtexOptions) -> Settings:
    """What the interchange has to know.

    Raises:
        SerializationError: the user's own manager selector cannot be sent there.
    """
    selector = options.manager_selector
    return Settings(
        client_address=options.loopback_address,
        client_ports=_range(options.interchange_port_range),
        worker_address=_listening_address(options),
        worker_ports=_worker_ports(options),
        cert_dir=options.cert_dir,
        logdir=options.logdir,
        debug=options.worker_debug,
        log_config=options.log_config,
        client_name=secrets.token_hex(16),
        heartbeat_threshold_s=float(options.heartbeat_threshold),
        heartbeat_period_s=float(options.heartbeat_period),
        selection="block_id" if type(selector) is BlockIdManagerSelector else "random",
        selector=None if type(selector) in (RandomManagerSelector, BlockIdManagerSelector) else _dump(selector),
        import_paths=import_paths(),
    )


def _listening_address(options: HtexOptions) -> str:
    """Where the interchange listens for managers."""
    if options.address is not None:
        return listening_address(options.address, options.runs_here)
    return options.loopback_address if options.runs_here else EVERYWHERE


def _worker_ports(options: HtexOptions) -> tuple[int, int]:
    fixed = options.worker_port
    if fixed is None and options.worker_ports is not None:
        fixed = options.worker_ports[0]
    return (fixed, fixed + 1) if fixed else _range(options.worker_port_range)


def _range(ports: tuple[int, int] | None) -> tuple[int, int]:
    return ports if ports and any(ports) else _ANY_PORT


def _dump(selector: ManagerSelector) -> bytes:
    try:
        return dumps(selector)
    except Exception as error:
        raise SerializationError("the manager_selector", f"{type(error).__name__}: {error}") from error

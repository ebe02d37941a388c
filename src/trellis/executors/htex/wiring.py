"""Where the parts of one executor find each other: addresses, ports, keys, directories. Starts nothing."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from trellis.addresses import get_all_addresses
from trellis.errors import ConfigurationError, SerializationError
from trellis.executors.common.import_paths import import_paths
from trellis.executors.common.listening import EVERYWHERE, listening_address
from trellis.executors.htex.interchange.selection import BlockIdManagerSelector, ManagerSelector, RandomManagerSelector
from trellis.executors.htex.settings import Settings
from trellis.transport.keys import check_keys, create_keys
from trellis.wire.payload import dumps

if TYPE_CHECKING:
    from trellis.executors.htex.executor import HighThroughputExecutor

# Where a range of ports is None: any port that users' programs may have.
_ANY_PORT = (1024, 65536)


def runs_here(executor: HighThroughputExecutor) -> bool:
    """Whether the blocks run on this host, so that nothing has to listen beyond loopback."""
    return bool(getattr(executor.provider, "same_host", False))


def worker_addresses(executor: HighThroughputExecutor) -> list[str]:
    """Addresses of this host that managers shall try."""
    if executor.address is not None:
        return [executor.address]
    return [executor.loopback_address] if runs_here(executor) else sorted(get_all_addresses())


def _listening_address(executor: HighThroughputExecutor) -> str:
    """Where the interchange listens for managers."""
    if executor.address is not None:
        return listening_address(executor.address, runs_here(executor))
    return executor.loopback_address if runs_here(executor) else EVERYWHERE


def provide_keys(executor: HighThroughputExecutor, given: bool) -> None:
    """Check the keys that were ``given``, or make new ones, if there shall be any.

    Raises:
        ConfigurationError: those that were given cannot be used.
    """
    directory = executor.cert_dir
    if directory is None:
        return
    if not executor.encrypted:
        raise ConfigurationError(
            f"{type(executor).__name__}: cert_dir is {directory}, but encrypted is False: without keys, leave it None"
        )
    if given:
        check_keys(Path(directory))
    else:
        create_keys(Path(directory))


def interchange_settings(executor: HighThroughputExecutor) -> Settings:
    """What the interchange has to know.

    Raises:
        SerializationError: the user's own manager selector cannot be sent there.
    """
    selector = executor.manager_selector
    return Settings(
        client_address=executor.loopback_address,
        client_ports=executor.interchange_port_range or _ANY_PORT,
        worker_address=_listening_address(executor),
        worker_ports=_worker_ports(executor),
        cert_dir=executor.cert_dir,
        logdir=executor.logdir,
        debug=executor.worker_debug,
        client_name=secrets.token_hex(16),
        heartbeat_threshold_s=float(executor.heartbeat_threshold),
        heartbeat_period_s=float(executor.heartbeat_period),
        selection="block_id" if type(selector) is BlockIdManagerSelector else "random",
        selector=None if type(selector) in (RandomManagerSelector, BlockIdManagerSelector) else _dump(selector),
        import_paths=import_paths(),
    )


def _worker_ports(executor: HighThroughputExecutor) -> tuple[int, int]:
    fixed = executor.worker_port
    if fixed is None and executor.worker_ports is not None:
        fixed = executor.worker_ports[0]
    return (fixed, fixed + 1) if fixed else executor.worker_port_range or _ANY_PORT


def _dump(selector: ManagerSelector) -> bytes:
    try:
        return dumps(selector)
    except Exception as error:
        raise SerializationError("the manager_selector", f"{type(error).__name__}: {error}") from error

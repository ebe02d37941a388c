"""The real TaskVine's manager behind a few plain calls: the only module that imports ndcctools. Decides nothing."""

from __future__ import annotations

import ctypes
import importlib
import json
import logging
import os
import re
import warnings
from pathlib import Path
from typing import Any

from trellis.errors import ConfigurationError

logger = logging.getLogger("trellis.vine.manager")

# What ``wait`` takes are whole seconds, and 0 does nothing at all.
_SHORTEST_WAIT_S = 1
# Escapes: those that JSON knows, and others.
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
# Ports that mean any.
_ALL_PORTS = (1024, 65536)


class TaskVine:
    """A manager of ndcctools. All calls from one thread.

    Args:
        ports: where workers connect, ``low <= port < high``.
        any_port: another one will do when these are in use.
        name: under which it reports to the catalog server of CATALOG_HOST; None: it does not.
        directory: for its logs.
        password_file: for workers.

    Raises:
        ConfigurationError: the ports are in use.
    """

    def __init__(
        self, ports: tuple[int, int], any_port: bool, name: str | None, directory: Path, password_file: str | None
    ) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # parts of it look for packages that are not needed here
            self._module = importlib.import_module("ndcctools.taskvine")
        self._constants = importlib.import_module("ndcctools.taskvine.cvine")
        self._manager = self._create(ports, any_port, name, str(directory))
        if password_file is not None:
            self._manager.set_password_file(password_file)
        self._steps_return = self._return_after_each_step()

    def _create(self, ports: tuple[int, int], any_port: bool, name: str | None, directory: str) -> Any:
        low, high = ports
        wanted: list[Any] = [0 if ports == _ALL_PORTS else low if high - low == 1 else [low, high - 1]]
        if any_port:
            wanted.append(0)
        for port in wanted:
            try:
                return self._module.Manager(port=port, name=name, run_info_path=directory)
            except Exception as error:  # it has no class of its own for this
                logger.info("no manager at port %s: %s", port, error)
        raise ConfigurationError(f"port {low} is in use: use another one, or 0 for any")

    def _return_after_each_step(self) -> bool:
        """Have ``wait`` do what there is to do, and return.

        Left alone, it returns when a task has ended, or after up to a second, and holds the interpreter meanwhile: a
        task that comes just then would wait. TaskVine has a switch, made for Makeflow, that ends the wait when a
        child process of the manager has ended: with one that has ended for good, each wait is one step.
        """
        try:
            library = ctypes.CDLL(importlib.import_module("ndcctools.taskvine._cvine").__file__)
            enable, pending = library.vine_manager_enable_process_shortcut, library.process_pending
        except (AttributeError, OSError) as error:
            logger.warning("tasks may wait for up to a second: this TaskVine does not return early (%s)", error)
            return False
        enable(ctypes.c_void_p(int(self._manager._taskvine)))
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        return bool(pending())

    # -- work --------------------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        return int(self._manager.port)

    @property
    def waits_itself(self) -> bool:
        """Whether ``step`` may take up to a second."""
        return not self._steps_return

    def step(self) -> Any:
        """Do what there is to do now. Gives a task that has ended, or None."""
        return self._manager.wait(_SHORTEST_WAIT_S)

    def new_task(self, command: str) -> Any:
        return self._module.Task(command)

    def submit(self, task: Any) -> int:
        """Raises:
        ValueError: TaskVine does not take it.
        """
        return int(self._manager.submit(task))

    def cancel(self, task: int) -> None:
        """``step`` gives it back."""
        self._manager.cancel_by_task_id(task)

    # -- libraries ---------------------------------------------------------------------------------------------

    def new_library(self, name: str, function: Any, exec_mode: str, context: list[Any]) -> Any:
        return self._manager.create_library_from_functions(
            name, function, add_env=False, exec_mode=exec_mode, library_context_info=context
        )

    def install_library(self, library: Any) -> None:
        self._manager.install_library(library)

    # -- files -------------------------------------------------------------------------------------------------

    def file(self, path: str, level: str, peer: bool) -> Any:
        return self._manager.declare_file(path, cache=level, peer_transfer=peer)

    def url(self, url: str, level: str, peer: bool) -> Any:
        return self._manager.declare_url(url, cache=level, peer_transfer=peer)

    def temp(self) -> Any:
        return self._manager.declare_temp()

    # Of this, 7.14 takes the level for the peer flag, and the peer flag for the order to remove the source.

    def buffer(self, content: bytes | None, level: str = "task") -> Any:
        return self._manager.declare_buffer(content, cache=False if level == "task" else level, peer_transfer=False)

    def untar(self, archive: Any, level: str) -> Any:
        """Workers pass on the archive, not what it was unpacked to: that may be fitted to its place.

        With 7.14's own ``declare_untar`` they would, see above.
        """
        cvine = self._constants
        level_number = getattr(cvine, f"VINE_CACHE_LEVEL_{level.upper()}")
        file = cvine.vine_declare_untar(self._manager._taskvine, archive._file, level_number, cvine.VINE_PEER_NOSHARE)
        return self._module.File(file)

    def drop(self, file: Any) -> None:
        self._manager.undeclare_file(file)

    def drain_host(self, hostname: str) -> None:
        self._manager.set_draining_by_hostname(hostname, True)

    # -- options and state -------------------------------------------------------------------------------------

    def tune(self, name: str, value: float) -> bool:
        """False when there is no such parameter."""
        return int(self._manager.tune(name, value)) == 0

    def keep_alive(self, period_s: float, threshold_s: float) -> None:
        """A worker that is silent for longer than the threshold is lost."""
        self._manager.set_keepalive_interval(int(period_s))
        self._manager.set_keepalive_timeout(int(threshold_s))

    def disable_peer_transfers(self) -> None:
        self._manager.disable_peer_transfers()

    def set_scheduler(self, name: str) -> None:
        self._manager.set_scheduler(getattr(self._constants, f"VINE_SCHEDULE_{name.upper()}"))

    def enable_monitoring(self) -> bool:
        return bool(self._manager.enable_monitoring())

    def label_category(self, category: str, mode: str) -> None:
        self._manager.set_category_mode(category, mode)

    def statistics(self) -> Any:
        return self._manager.stats

    def workers(self) -> list[dict[str, Any]]:
        """What TaskVine knows of each.

        Raises:
            ValueError: it cannot be read.
        """
        text = str(self._constants.vine_get_status(self._manager._taskvine, "workers"))
        # The commands of tasks are in it, where TaskVine escapes what JSON does not.
        workers: list[dict[str, Any]] = json.loads(_ESCAPE.sub(_as_json, text))
        return workers

    def log(self, name: str) -> Path:
        """Where its log of this name is, such as "transactions"."""
        return Path(self._manager.logging_directory, name)

    def task_graph(self) -> str:
        """The log of tasks and what they read and make."""
        try:
            return self.log("taskgraph").read_text(errors="replace")
        except OSError as error:
            logger.warning("TaskVine's graph of tasks cannot be read: %s", error)
            return ""

    def close(self) -> None:
        """End the workers, and the manager."""
        self._manager.workers_shutdown(0)
        self._manager._free()


def _as_json(escape: re.Match[str]) -> str:
    return escape[0] if escape[1][0] in '"\\/bfnrtu' else escape[1]

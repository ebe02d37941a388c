"""Workers of this host that the manager has given up, and that do not know it: they hang, and keep others' place.

A worker of 7.14.5 may wait for ever when it has to end a process, and any may be stopped. The manager drops it when it
has been silent for too long, but ``vine_factory`` and batch systems count it as long as its process is there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

import psutil

# A worker that is well connects again within seconds.
GRACE_S = 30.0
_NAME = "vine_worker"
# Workers that Trellis starts, itself or through its providers, have this word in their commands.
_STARTED_BY_US = "--from-factory"


class HungWorkers:
    """Workers that are without a manager, and since when. Pure."""

    def __init__(self) -> None:
        self._alone_since: dict[int, float] = {}

    def look(self, connected: Mapping[int, bool], now: float) -> list[int]:
        """Gives those that are without one for too long.

        Args:
            connected: whether each worker's process has a connection to the manager, by process id.
        """
        alone = {pid for pid, is_connected in connected.items() if not is_connected}
        self._alone_since = {pid: self._alone_since.get(pid, now) for pid in alone}
        return sorted(pid for pid, since in self._alone_since.items() if now - since >= GRACE_S)


def local_workers(port: int) -> dict[int, bool]:
    """Workers that were started here for the manager at this port, and whether each is connected to it."""
    found = {}
    for process in psutil.process_iter(["name", "uids", "cmdline"]):
        with contextlib.suppress(psutil.Error):
            if process.info["name"] != _NAME or process.info["uids"].real != os.getuid():
                continue
            words = process.info["cmdline"] or ()
            if _STARTED_BY_US not in words or str(port) not in words:
                continue
            parent = process.parent()
            if parent is not None and parent.name() == _NAME:  # it passes on files of the worker
                continue
            links = process.net_connections("tcp")
            found[process.pid] = any(
                link.raddr and link.raddr.port == port and link.status == psutil.CONN_ESTABLISHED for link in links
            )
    return found


def end(pid: int) -> None:
    """Kill a worker, and all that it has started."""
    with contextlib.suppress(psutil.Error):
        worker = psutil.Process(pid)
        for process in [*worker.children(recursive=True), worker]:
            with contextlib.suppress(psutil.Error):
                process.kill()

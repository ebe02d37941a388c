"""Peers that never show a key, and bring as much as they can before they are cut off: at every port of both executors.

``HARMED`` is a process whose memory has grown by more than ``MOST_BYTES`` meanwhile.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import psutil

from tests.fuzz.attackers import PATIENCE_S
from trellis.core.interfaces import ExecutorContext
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.executors.taskvine import TaskVineExecutor, TaskVineFactoryConfig, TaskVineManagerConfig

# What a server may take for all of them: one frame for each, and what comes until they are looked at.
MOST_BYTES = 96 * 2**20
AT_A_TIME = 200
# What each would bring, if it were let: together two hundred times as much as a server may take.
_EACH_BYTES = 100 * 2**20
_PIECE = bytes(2**18)


class Hoarders:
    """Many connections to one port, whose owner is watched."""

    def __init__(self, port: int, owner: psutil.Process, seed: int, patience_s: float) -> None:
        self._port, self._owner, self._random, self._patience_s = port, owner, Random(seed), patience_s
        self.most_bytes = 0
        self.brought = 0

    def burst(self, count: int) -> None:
        """An AssertionError when the owner takes too much."""
        before = self._owner.memory_info().rss
        with contextlib.ExitStack() as stack:
            peers = [stack.enter_context(self._peer()) for _ in range(count)]
            left = dict.fromkeys(peers, _EACH_BYTES)
            deadline = time.monotonic() + self._patience_s
            while left and time.monotonic() < deadline:
                time.sleep(0.005)  # who is not cut off is not heard either
                for peer in list(left):
                    left[peer] -= self._bring(peer)
                    if left[peer] <= 0:
                        del left[peer]
                self.most_bytes = max(self.most_bytes, self._owner.memory_info().rss - before)
                assert self.most_bytes <= MOST_BYTES, (
                    f"without a key, port {self._port} of process {self._owner.pid} takes {self.most_bytes:,} bytes"
                )

    def _peer(self) -> socket.socket:
        peer = socket.create_connection(("127.0.0.1", self._port), timeout=PATIENCE_S)
        greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"CURVE".ljust(20, b"\0") + bytes(32)
        promise = self._random.choice([2**63, 2**30, 2**20 + 1, 2**20, 2**20 - 1, 2**17])
        hello = b"\x04\xc8\x05HELLO" + bytes(194) if self._random.random() < 0.5 else b""
        with contextlib.suppress(ConnectionError):
            peer.sendall(greeting + hello + bytes([self._random.choice([2, 3, 6])]) + struct.pack(">Q", promise))
        peer.setblocking(False)
        return peer

    def _bring(self, peer: socket.socket) -> int:
        """Bytes that it took; all that is left when it is cut off."""
        try:
            sent = peer.send(_PIECE)
        except BlockingIOError:
            return 0
        except ConnectionError:
            return _EACH_BYTES
        self.brought += sent
        return sent


def attack(ports: dict[int, psutil.Process], bursts: int, seed: int, patience_s: float = PATIENCE_S) -> str:
    """Go to each of these ports in turn; give what happened, in words. Who is not cut off stays ``patience_s``."""
    words = []
    for port, owner in ports.items():
        hoarders = Hoarders(port, owner, seed, patience_s)
        for _ in range(bursts):
            hoarders.burst(AT_A_TIME)
        words.append(f"port {port}: {hoarders.brought / 2**20:.0f} MB brought, {hoarders.most_bytes / 2**20:+.1f} MB")
    return "; ".join(words)


def listening(pid: int) -> dict[int, psutil.Process]:
    """Ports at which a process and its children listen, and whose they are."""
    found: dict[int, psutil.Process] = {}
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            connections = process.net_connections()
            found |= {c.laddr.port: process for c in connections if c.status == psutil.CONN_LISTEN}
    return found


@contextlib.contextmanager
def running(directory: Path, kind: str) -> Iterator[dict[int, psutil.Process]]:
    """An executor of a kind, "htex" or "vine", that works: all ports of its processes, attacked while it does."""
    executor: Any
    if kind == "htex":
        executor = HighThroughputExecutor(label="htex", max_workers_per_node=1)
    else:
        executor = TaskVineExecutor(
            label="vine",
            engine="embedded",
            manager_config=TaskVineManagerConfig(port=0),
            factory_config=TaskVineFactoryConfig(min_workers=1, max_workers=1, cores=1),
        )
    before = set(listening(psutil.Process().pid))
    executor.start(ExecutorContext(run_dir=str(directory)))
    try:
        assert executor.submit(abs, {}, -1).result(PATIENCE_S) == 1
        ports = listening(psutil.Process().pid)
        yield {port: owner for port, owner in ports.items() if port not in before}
        assert executor.submit(abs, {}, -2).result(PATIENCE_S) == 2
    finally:
        executor.shutdown()

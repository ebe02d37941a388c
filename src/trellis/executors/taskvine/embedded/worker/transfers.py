"""Files on their way to a worker's cache: from the manager, from other workers, from URLs. Decides nothing.

Owned by the worker's one thread. What must not hold it up (downloads, unpacking) is done by child processes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from trellis.errors import BadMessage
from trellis.executors.common.lifeline import Lifeline
from trellis.executors.taskvine.embedded.child_process import Child
from trellis.executors.taskvine.embedded.pieces import Pull
from trellis.executors.taskvine.embedded.worker.cache import Cache
from trellis.transport.context import Context
from trellis.transport.endpoint import ClientEndpoint
from trellis.transport.keys import ClientKeys
from trellis.transport.service import TURN, Loop
from trellis.wire.codec import Buffer, Decoder, encode_header
from trellis.wire.messages import Message
from trellis.wire.vine import FileChunk, GetFile, SendFile

# A peer that sends nothing for so long while it owes pieces is given up.
PEER_TIMEOUT_S = 60.0

_FETCH = [sys.executable, "-P", "-m", "trellis.executors.taskvine.remote.fetch"]


class _Arrival(NamedTuple):
    order: GetFile
    since: float


class _Peer:
    """A worker that files come from."""

    def __init__(self, endpoint: ClientEndpoint) -> None:
        self.endpoint = endpoint
        self.monitor = endpoint.monitor()
        self.pulls: dict[str, Pull] = {}
        self.heard = time.monotonic()


class Transfers:
    """Takes orders, puts files into the cache.

    Args:
        loop: the worker's.
        ask_manager: sends a request for a piece to the manager.
        arrived: told of a file that is in the cache now: name, bytes, and the seconds that it took.
        failed: told of one that could not be had: name, source, reason.
    """

    def __init__(
        self,
        loop: Loop,
        context: Context,
        keys: ClientKeys | None,
        cache: Cache,
        log_directory: Path,
        lifeline: Lifeline,
        ask_manager: Callable[[SendFile], None],
        arrived: Callable[[str, int, float], None],
        failed: Callable[[str, str, str], None],
    ) -> None:
        self._loop = loop
        self._context = context
        self._keys = keys
        self._cache = cache
        self._log_directory = log_directory
        self._lifeline = lifeline
        self._ask_manager = ask_manager
        self._arrived = arrived
        self._failed = failed
        self._arrivals: dict[str, _Arrival] = {}
        self._from_manager: dict[str, Pull] = {}
        self._peers: dict[str, _Peer] = {}
        self._children: dict[Child, str] = {}  # that download or unpack: the file's name
        self._decoder: Decoder[Message] = Decoder(FileChunk)

    def close(self) -> None:
        """Give up what is on its way."""
        for pull in self._from_manager.values():
            pull.close()
        for address in list(self._peers):
            self._drop_peer(address)
        for child in list(self._children):
            child.end()

    # -- orders ------------------------------------------------------------------------------------------------

    def get(self, order: GetFile) -> None:
        """Begin to get a file. One that is here, or is coming, is not got twice."""
        name = order.name
        here = self._cache.get(name)
        if here is not None:
            self._arrived(name, here.size, 0.0)
            return
        if name in self._arrivals:
            if self._arrivals[name].order.source == order.source:
                return
            self._abandon(name)  # where it came from may be gone
        self._arrivals[name] = _Arrival(order, time.monotonic())
        try:
            self._begin(order)
        except OSError as error:
            self._give_up(name, f"{error.strerror or error}")

    def _begin(self, order: GetFile) -> None:
        path = self._cache.arriving(order.name)
        if not order.source:
            self._from_manager[order.name] = Pull(order.name, path, self._ask_manager)
        elif "://" in order.source:
            self._run(order.name, ["download", order.source, str(path), order.version])
        else:
            peer = self._peers.get(order.source) or self._connect(order.source)
            endpoint = peer.endpoint
            peer.heard = time.monotonic()
            peer.pulls[order.name] = Pull(order.name, path, lambda request: endpoint.send([encode_header(request)]))

    def _abandon(self, name: str) -> None:
        order = self._arrivals.pop(name).order
        pulls = self._from_manager
        if order.source in self._peers:
            pulls = self._peers[order.source].pulls
        if name in pulls:
            pulls.pop(name).close()
        for child in [child for child, of in self._children.items() if of == name]:
            del self._children[child]
            child.end()
        self._cache.remove(name)

    def _connect(self, address: str) -> _Peer:
        endpoint = ClientEndpoint(self._context, self._keys, watched=True)
        endpoint.connect(f"tcp://{address}")
        peer = self._peers[address] = _Peer(endpoint)
        self._loop.add_source(endpoint, lambda: self._on_peer(address))
        assert peer.monitor is not None
        self._loop.add_source(peer.monitor, lambda: self._on_peer_connection(address))
        return peer

    def _on_peer_connection(self, address: str) -> None:
        if False in self._peers[address].endpoint.connection_changes():
            self._on_peer(address)
            self._lose_peer(address, "its connection broke: it ended, or was killed")

    def _lose_peer(self, address: str, reason: str) -> None:
        peer = self._peers.get(address)
        names = [] if peer is None else list(peer.pulls)
        if peer is not None:
            self._drop_peer(address)
        for name in names:
            self._give_up(name, f"{address}: {reason}")

    def _drop_peer(self, address: str) -> None:
        peer = self._peers.pop(address)
        self._loop.remove_source(peer.endpoint)
        if peer.monitor is not None:
            self._loop.remove_source(peer.monitor)
        for pull in peer.pulls.values():
            pull.close()
        peer.endpoint.close()

    # -- pieces ------------------------------------------------------------------------------------------------

    def on_manager_chunk(self, chunk: FileChunk, data: Buffer) -> None:
        """A piece from the manager."""
        self._on_chunk(self._from_manager, chunk, data)

    def _on_peer(self, address: str) -> None:
        peer = self._peers[address]
        for _ in range(TURN):
            frames = peer.endpoint.receive()
            if frames is None:
                break
            peer.heard = time.monotonic()
            try:
                chunk = self._decoder.decode(frames[0])
            except BadMessage:
                continue
            assert isinstance(chunk, FileChunk)
            self._on_chunk(peer.pulls, chunk, frames[1] if len(frames) > 1 else b"")
        if not peer.pulls:
            self._drop_peer(address)

    def _on_chunk(self, pulls: dict[str, Pull], chunk: FileChunk, data: Buffer) -> None:
        pull = pulls.get(chunk.name)
        if pull is None or not pull.on_chunk(chunk, data):
            return
        del pulls[chunk.name]
        if pull.error:
            self._give_up(chunk.name, pull.error)
        else:
            self._on_whole(chunk.name, pull.archive)

    def give_up_silent_peers(self) -> None:
        """Call it from time to time: a peer may have died without a word."""
        now = time.monotonic()
        for address, peer in list(self._peers.items()):
            if now - peer.heard > PEER_TIMEOUT_S:
                self._lose_peer(address, f"it sent nothing for {PEER_TIMEOUT_S:.0f} s")

    # -- whole files -------------------------------------------------------------------------------------------

    def _on_whole(self, name: str, archive: bool = False, unpacked: bool = False) -> None:
        arrival = self._arrivals[name]
        if (arrival.order.unpack or archive) and not unpacked:
            action = "fit" if arrival.order.fit else "unpack"
            self._run(name, [action, str(self._cache.arriving(name)), str(self._cache.directory(name)), ""])
            return
        del self._arrivals[name]
        try:
            entry = self._cache.add(name, arrival.order.level, arrival.order.source)
        except OSError as error:
            self._cache.remove(name)
            self._failed(name, arrival.order.source, f"it cannot be kept: {error}")
            return
        self._arrived(name, entry.size, time.monotonic() - arrival.since)

    def _run(self, name: str, words: list[str]) -> None:
        output = self._log_directory / f"fetch-{name}.log"
        lifeline = self._lifeline.worker_end
        child = Child(
            self._loop,
            [*_FETCH, *words, str(lifeline)],
            output,
            lambda child, code: self._on_child_end(child, code, unpacked=words[0] != "download"),
            cwd=self._log_directory,
            environment=os.environ,
            pass_fds=(lifeline,),
        )
        self._children[child] = name

    def _on_child_end(self, child: Child, code: int, unpacked: bool) -> None:
        name = self._children.pop(child)
        if code:
            self._give_up(name, child.words())
            return
        try:
            self._on_whole(name, unpacked=unpacked)
        except OSError as error:
            self._give_up(name, f"{error.strerror or error}")

    def _give_up(self, name: str, reason: str) -> None:
        arrival = self._arrivals.pop(name)
        self._cache.remove(name)
        self._failed(name, arrival.order.source, reason)

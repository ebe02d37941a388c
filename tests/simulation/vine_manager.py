"""The manager of a TaskVine simulation: the real protocol object, its sockets, file names and transfers simulated."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from random import Random
from typing import Protocol, assert_never

from tests.simulation.network import TICK_S, Connection, World
from tests.simulation.oracles import LivenessViolation
from tests.simulation.vine_scenario import MB, Parts, content_of
from tests.simulation.vine_wire import Frames, ServerSocket
from trellis.executors.taskvine.embedded.manager import effects
from trellis.executors.taskvine.embedded.manager.effects import Effect
from trellis.executors.taskvine.embedded.manager.file_registry import Named
from trellis.executors.taskvine.embedded.manager.state import VineManagerSettings
from trellis.executors.taskvine.embedded.manager.transactions import Transactions
from trellis.executors.taskvine.settings import VineSettings
from trellis.wire.vine import FileChunk, FileSpec, SendFile


class VineWatcher(Protocol):
    """Who looks on."""

    def note(self, who: str, what: object) -> None: ...

    def reported(self, frames: Frames) -> None:
        """The manager tells the submit side this."""

    def ordered(self, frames: Frames) -> None:
        """The manager tells a worker this."""


class SimulatedVineManager:
    """Calls files "f" and their numbers. Those of the manager's host have a content, unless somebody removes them."""

    def __init__(
        self, world: World, watcher: VineWatcher, parts: Parts, machine: VineManagerSettings, settings: VineSettings
    ) -> None:
        self._world = world
        self._watcher = watcher
        self.state = parts.manager_machine(machine, Random(world.rng.random()))
        self._log = open(os.devnull, "w")  # noqa: SIM115 - closed by close()
        transactions = Transactions(self._log, lambda: world.now)
        self.protocol = parts.manager(settings, self.state, transactions)
        self.workers = ServerSocket(world, self._on_worker, self._on_closed)
        self.clients: Connection | None = None
        self.gone: set[str] = set()  # files that are not where they were
        self._homes: set[str] = set()
        self._pulls: dict[str, str] = {}  # files on their way home: the worker that each comes from
        self._requests: dict[str, list[int]] = {}  # that want the content, by name
        self._is_performing = False

    def close(self) -> None:
        self._log.close()

    # -- time --------------------------------------------------------------------------------------------------

    def next_deadline(self) -> float | None:
        return self.protocol.next_deadline()

    def on_deadline(self) -> None:
        self._watcher.note("manager", "its deadline is over: DeadlinePassed()")
        self.protocol.on_deadline(self._world.now)
        self._perform_all()
        later = self.protocol.next_deadline()
        if later is not None and later <= self._world.now:
            raise LivenessViolation("the manager is busy for nothing: its next deadline is over already")

    # -- what comes in -----------------------------------------------------------------------------------------

    def on_message(self, connection: Connection, message: Frames) -> None:
        """The submit side says something."""
        self._watcher.note("manager hears client", message)
        self.protocol.on_client_frames(connection.name.encode(), message, self._world.now)
        self._perform_all()

    def on_closed(self, connection: Connection) -> None:
        raise AssertionError("the submit side lives as long as its manager")

    def _on_worker(self, peer: bytes, connection: int, frames: Frames) -> None:
        self._watcher.note(f"manager hears {peer.decode()} on {connection}", frames)
        if self.protocol.is_new(peer, connection):
            self._on_closed(self.workers.read_news())
        self.protocol.on_worker_frames(peer, connection, frames, self._world.now)
        self._perform_all()

    def _on_closed(self, connections: list[int]) -> None:
        self._watcher.note("manager sees the ends of connections", connections)
        self.protocol.on_closed_connections(connections, self._world.now)
        self._perform_all()

    # -- effects -----------------------------------------------------------------------------------------------

    def _perform_all(self) -> None:
        if self._is_performing:
            return
        self._is_performing = True
        while asked := self.protocol.effects():
            for effect in asked:
                self._perform(effect)
        self._is_performing = False
        self.protocol.check_invariants()

    def _perform(self, effect: Effect) -> None:
        match effect:
            case effects.ToWorker(peer, frames):
                self._watcher.note(f"    manager tells {peer.decode()}", frames)
                self._watcher.ordered(frames)
                self.workers.send(peer, frames)
            case effects.ToClient(peer, frames):
                assert self.clients is not None
                assert peer == self.clients.name.encode()
                self._watcher.note("    manager tells client", frames)
                self._watcher.reported(frames)
                self.clients.to_client(frames)
            case effects.NameFiles(files):
                self._name(files)
            case effects.ReadPiece(worker, request):
                self.protocol.on_piece_read(worker, *self._read(request))
            case effects.BringHome(worker, name):
                self._bring(worker, name)
            case effects.BringContent(request, worker, name):
                self._requests.setdefault(name, []).append(request)
                self._bring(worker, name)
            case effects.TakePiece(worker, chunk, data):
                if self._pulls.get(chunk.name) == worker:
                    self._on_content(chunk.name, chunk.error, bytes(data))
            case effects.DropSource(worker):
                self._drop_source(worker)
            case effects.ForgetFiles() | effects.End():
                pass
            case _:
                assert_never(effect)

    def _name(self, files: Sequence[FileSpec]) -> None:
        named = []
        for spec in files:
            here = spec.kind == "buffer" or (spec.kind == "file" and not spec.made)
            named.append(Named(f"f{spec.id}", MB if here else -1, path=spec.source if here else ""))
            if spec.made:
                self._homes.add(f"f{spec.id}")
        slow = any(spec.kind == "url" for spec in files) and self._world.chance(0.5)
        self._world.after(self._world.between(0, 1) if slow else 0, self._on_named, files, named)

    def _on_named(self, files: Sequence[FileSpec], named: list[Named]) -> None:
        self.protocol.on_files_named(files, named, self._world.now)
        self._perform_all()

    def _read(self, request: SendFile) -> tuple[FileChunk, bytes]:
        if request.name in self.gone or request.name.startswith("temp"):
            return FileChunk(request.name, request.offset, 0, error="it is not there any more"), b""
        content = content_of(request.name)
        return FileChunk(request.name, request.offset, len(content)), content

    def _bring(self, worker: str, name: str) -> None:
        if name not in self._pulls:
            self._pulls[name] = worker
            self.protocol.ask_for_piece(worker, SendFile(name, 0, MB))

    def _on_content(self, name: str, error: str, content: bytes) -> None:
        del self._pulls[name]
        for request in self._requests.pop(name, ()):
            self.protocol.on_content(request, error, content)
        if name in self._homes:
            self.protocol.on_came_home(name, error, not error, self._world.now)

    def _drop_source(self, worker: str) -> None:
        waiting: list[int] = []
        for name in [name for name, source in self._pulls.items() if source == worker]:
            del self._pulls[name]
            waiting += self._requests.pop(name, ())
        self.protocol.on_source_dropped(waiting, self._world.now)


def due_tick(deadline: float | None) -> float:
    """When a deadline comes, in ticks."""
    return math.inf if deadline is None else math.ceil(deadline / TICK_S)

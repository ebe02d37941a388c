"""The witness of a simulated manager: it sees the same queue and the same board. Compare ``htex.manager.witness``."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from tests.simulation.network import Connection
from tests.simulation.simulated import Stage
from tests.simulation.simulated_interchange import SimulatedInterchange
from trellis.executors.htex.manager.witness import death_report
from trellis.wire.codec import Buffer
from trellis.wire.messages import witness_of

_PATIENCE_S = 5.0


class Dead(Protocol):
    """The manager that was killed."""

    name: str
    queue: deque[int | None]
    board: dict[int, tuple[int, float]]
    taken_back: set[int]


class SimulatedWitness:
    """Made at the moment when the manager is killed."""

    def __init__(self, stage: Stage, server: SimulatedInterchange, manager: Dead) -> None:
        self._stage = stage
        self._server = server
        self._manager = manager
        self._gives_up_at = stage.world.now + _PATIENCE_S
        stage.world.after(stage.world.between(0, 0.6), self._look)

    def _look(self) -> None:
        manager = self._manager
        running = [task for task, _ in manager.board.values()]
        unstarted = {*manager.taken_back, *(task for task in manager.queue if task is not None)}
        manager.queue.clear()
        self._send(death_report(manager.name, running, unstarted))

    def _send(self, report: list[Buffer]) -> None:
        connection = self._server.connect(self, witness_of(self._manager.name))
        if connection is not None:
            connection.to_server(report)
            connection.close_by_client()
        elif self._stage.world.now < self._gives_up_at:
            self._stage.world.after(self._stage.world.between(0.1, 1.0), self._send, report)

    def on_message(self, connection: Connection, message: Any) -> None:
        pass

    def on_closed(self, connection: Connection) -> None:
        pass

"""A simulated manager's side of its connection: what is said, kept, and said again. Compare ``htex.manager_link``."""

from __future__ import annotations

from collections import deque

import msgspec

from trellis.testing.network import Connection
from trellis.wire.messages import Draining, Message, Register, Report


class SimulatedLink:
    """A manager's side of its connection: reports are kept until the submit side has them."""

    def __init__(self, registration: Register) -> None:
        self.connection: Connection | None = None
        self.welcomed = False
        self._registration = registration
        self._kept: deque[Report] = deque()
        self._last = 0
        self._awaits_welcome = False

    def next_sequence(self) -> int:
        return self._last + 1

    def report(self, message: Report) -> None:
        self._last = message.sequence
        self._kept.append(message)
        self.send(message)

    def send(self, message: Message) -> None:
        if self.connection is not None:
            self.connection.to_server(message)

    def received_up_to(self, sequence: int) -> None:
        while self._kept and self._kept[0].sequence <= sequence:
            self._kept.popleft()

    def register(self, holding: list[int], started: list[int], draining: bool) -> None:
        for message in self._kept:
            self.send(message)
        again = {"resumed": self.welcomed, "holding": holding, "started": started}
        self.send(msgspec.structs.replace(self._registration, **again))
        if draining:
            self.send(Draining(self._registration.manager))
        self._awaits_welcome = True

    def on_connected(self, connection: Connection) -> None:
        self.connection = connection
        self._awaits_welcome = False

    def on_welcome(self) -> None:
        self.welcomed = True
        self._awaits_welcome = False

    @property
    def should_register_again(self) -> bool:
        return not self._awaits_welcome

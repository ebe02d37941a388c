"""Which managers there are, as the submit side knows. No sockets or clocks here."""

from __future__ import annotations

from trellis.executors.htex.settings import RECOVERY_S
from trellis.wire.messages import ManagerJoined, ManagerLoss


class KnownManagers:
    """Told by the interchange, and kept when that dies: the next one does not know who was there."""

    def __init__(self) -> None:
        self.connected: set[str] = set()
        self._where: dict[str, tuple[str, str]] = {}  # hostname and block of each manager there has been
        self._blocks: dict[str, None] = {}  # of all these, in order of appearance
        self._awaited: set[str] = set()  # since the interchange was restarted
        self._awaited_until: float | None = None

    def place_of(self, manager: str) -> tuple[str, str]:
        """Hostname and block; empty when it is not known."""
        return self._where.get(manager, ("", ""))

    def all_blocks(self, blocks: list[str]) -> list[str]:
        """All of which a manager ever connected: those that the interchange knows, and those of former ones."""
        return list(self._blocks | dict.fromkeys(blocks))

    def on_joined(self, message: ManagerJoined) -> bool:
        """False when it was there before: its connection broke, or the interchange was restarted."""
        is_new = message.manager not in self.connected
        self.connected.add(message.manager)
        self._awaited.discard(message.manager)
        self._where[message.manager] = (message.hostname, message.block)
        self._blocks[message.block] = None
        return is_new

    def on_lost(self, manager: str) -> None:
        self.connected.discard(manager)
        self._awaited.discard(manager)

    def on_restart(self, now: float) -> None:
        """There is another interchange, and all managers have to come back."""
        self._awaited = set(self.connected)
        self._awaited_until = now + RECOVERY_S

    def next_deadline(self) -> float | None:
        return self._awaited_until if self._awaited else None

    def overdue(self, now: float) -> list[ManagerLoss]:
        """Managers that did not come back in time; nobody else knows that they are lost."""
        if self._awaited_until is None or now < self._awaited_until:
            return []
        self._awaited_until = None
        reason = "it did not come back after the interchange was restarted"
        lost = []
        for manager in sorted(self._awaited):
            hostname, block = self.place_of(manager)
            lost.append(ManagerLoss(manager, block, hostname, [], reason))
        return lost

"""Which reports of managers have come, and when to say so. No sockets or clocks here.

A manager numbers its reports, keeps each until it hears that the submit side has it, and sends those it keeps again on
each new connection. So the same report may come twice, and the next one before it.
"""

from __future__ import annotations

from trellis.wire.messages import Received

# A manager has so much to keep before it hears of it, or what it reported in so long a time.
MOST_REPORTS = 64
LONGEST_S = 1.0


class Acknowledgements:
    """Notes reports, and makes the messages that acknowledge them."""

    def __init__(self) -> None:
        self._up_to: dict[str, int] = {}  # of each manager: all reports up to this number have come
        self._beyond: dict[str, set[int]] = {}  # numbers of reports that came although others before them are missing
        self._news: set[str] = set()  # managers with reports that were not acknowledged
        self._count = 0  # of such reports
        self._since = 0.0  # when the first of them came

    def note(self, manager: str, sequence: int, now: float) -> bool:
        """A report has come; False when it had come before."""
        if not self._count:
            self._since = now
        self._count += 1
        self._news.add(manager)
        last = self._up_to.get(manager, 0)
        if sequence == last + 1 and manager not in self._beyond:
            self._up_to[manager] = sequence
            return True
        beyond = self._beyond.setdefault(manager, set())
        if sequence <= last or sequence in beyond:
            is_new = False
        else:
            is_new = True
            beyond.add(sequence)
            while last + 1 in beyond:
                last += 1
                beyond.remove(last)
            self._up_to[manager] = last
        if not beyond:
            del self._beyond[manager]
        return is_new

    def forget(self, manager: str) -> None:
        """A manager is gone."""
        self._up_to.pop(manager, None)
        self._beyond.pop(manager, None)
        self._news.discard(manager)

    def next_deadline(self) -> float | None:
        """When ``take`` has something to say."""
        if not self._count:
            return None
        return self._since if self._count >= MOST_REPORTS else self._since + LONGEST_S

    def take(self) -> Received:
        """What to tell the managers now."""
        managers = [manager for manager in self._news if self._up_to.get(manager)]
        self._news.clear()
        self._count = 0
        return Received(managers, [self._up_to[manager] for manager in managers])

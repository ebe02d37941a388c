"""Tasks of a former interchange of which nobody has said yet where they are. No sockets, clocks or threads here.

The submit side has sent them again; managers that were there before are expected to come back and claim what they hold.
"""

from __future__ import annotations

from collections.abc import Iterable

from trellis.executors.htex.settings import RECOVERY_S


class Limbo:
    """What is in limbo, and who may claim it."""

    def __init__(self) -> None:
        self.tasks: dict[int, None] = {}  # in order
        self.unwanted: set[int] = set()  # those of them that are to be cancelled
        self.ends_at: float | None = None  # None: nobody is expected, or not yet known
        self._expected: set[str] = set()

    def add(self, ids: Iterable[int]) -> None:
        self.tasks.update(dict.fromkeys(ids))

    def expect(self, managers: Iterable[str], now: float) -> None:
        """All tasks are there. These managers may claim some of them."""
        self._expected.update(managers)
        self.ends_at = now + RECOVERY_S

    def seen(self, manager: str) -> None:
        """It has claimed what it has, or has left."""
        self._expected.discard(manager)

    def is_over(self, now: float) -> bool:
        """Whether nobody will claim any more."""
        return self.ends_at is not None and (not self._expected or now >= self.ends_at)

    def cancel(self, id_: int) -> bool:
        """False when the task is not here."""
        if id_ in self.tasks:
            self.unwanted.add(id_)
        return id_ in self.tasks

    def withdraw(self, id_: int) -> bool:
        """Take a task out; False when it is not here."""
        if id_ not in self.tasks:
            return False
        del self.tasks[id_]
        self.unwanted.discard(id_)
        return True

    def end(self) -> tuple[list[int], list[int]]:
        """What nobody has claimed: tasks to run, and tasks to cancel."""
        wanted = [id_ for id_ in self.tasks if id_ not in self.unwanted]
        unwanted = [id_ for id_ in self.tasks if id_ in self.unwanted]
        self.tasks.clear()
        self.unwanted.clear()
        self._expected.clear()
        self.ends_at = None
        return wanted, unwanted

"""What was asked of the interchange, or of managers through it, and is not answered yet. No sockets or clocks here."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from concurrent.futures import Future
from typing import NamedTuple

from trellis.wire.messages import Packages, PackagesRequest, StatusReply, StatusRequest


class PackagesAnswer(NamedTuple):
    """What the managers' Python environments have."""

    packages: dict[str, dict[str, str]]  # by manager: distribution and version
    missing: list[str]  # managers that did not answer in time


class _Gathering(NamedTuple):
    reply: Future[PackagesAnswer]
    waiting: set[str]  # managers
    answers: dict[str, dict[str, str]]
    deadline: float

    def finish(self) -> None:
        self.reply.set_result(PackagesAnswer(self.answers, sorted(self.waiting)))


class Questions:
    """Owned by the client's thread; the futures are waited for by others."""

    def __init__(self) -> None:
        self._requests = itertools.count(1)
        self._status: dict[int, Future[StatusReply]] = {}
        self._gatherings: dict[int, _Gathering] = {}

    def ask_status(self, reply: Future[StatusReply]) -> StatusRequest:
        request = next(self._requests)
        self._status[request] = reply
        return StatusRequest(request)

    def ask_packages(self, reply: Future[PackagesAnswer], managers: Iterable[str], deadline: float) -> PackagesRequest:
        request = next(self._requests)
        self._gatherings[request] = _Gathering(reply, set(managers), {}, deadline)
        self._finish()
        return PackagesRequest(request)

    def on_status(self, message: StatusReply) -> None:
        reply = self._status.pop(message.request, None)
        if reply is not None:
            reply.set_result(message)

    def on_packages(self, message: Packages) -> None:
        gathering = self._gatherings.get(message.request)
        if gathering is not None and message.manager in gathering.waiting:
            gathering.waiting.remove(message.manager)
            gathering.answers[message.manager] = dict(zip(message.names, message.versions, strict=True))
            self._finish()

    def next_deadline(self) -> float | None:
        return min((gathering.deadline for gathering in self._gatherings.values()), default=None)

    def on_deadline(self, now: float) -> None:
        """What has not come by now is missing."""
        self._finish(now)

    def _finish(self, now: float = 0.0) -> None:
        for request, gathering in list(self._gatherings.items()):
            if not gathering.waiting or gathering.deadline <= now:
                del self._gatherings[request]
                gathering.finish()

    def again(self) -> list[StatusRequest | PackagesRequest]:
        """All that is open, for somebody who does not know of it."""
        return [*map(StatusRequest, self._status), *map(PackagesRequest, self._gatherings)]

    def fail(self, error: Exception) -> None:
        """Nobody will answer."""
        for reply in self._status.values():
            reply.set_exception(error)
        for gathering in self._gatherings.values():
            gathering.reply.set_exception(error)
        self._status.clear()
        self._gatherings.clear()

"""Managers were asked which Python distributions they have, and have not all answered. No sockets or clocks here."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from concurrent.futures import Future
from typing import NamedTuple

from trellis.wire.messages import Packages, PackagesRequest


class PackagesAnswer(NamedTuple):
    """What the managers' Python environments have."""

    packages: dict[str, dict[str, str]]  # by manager: distribution and version
    missing: list[str]  # managers that did not answer in time


class AskPackages(NamedTuple):
    """A question to all managers that are connected, and who waits for the answer."""

    reply: Future[PackagesAnswer]
    deadline: float


class _Gathering(NamedTuple):
    reply: Future[PackagesAnswer]
    waiting: set[str]  # managers
    answers: dict[str, dict[str, str]]
    deadline: float

    def finish(self) -> None:
        self.reply.set_result(PackagesAnswer(self.answers, sorted(self.waiting)))


class PackageRequests:
    """Owned by the client's thread; the futures are waited for by others."""

    def __init__(self) -> None:
        self._requests = itertools.count(1)
        self._gatherings: dict[int, _Gathering] = {}

    def ask(self, item: AskPackages, managers: Iterable[str]) -> PackagesRequest:
        request = next(self._requests)
        self._gatherings[request] = _Gathering(item.reply, set(managers), {}, item.deadline)
        self._finish()
        return PackagesRequest(request)

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

    def again(self) -> list[PackagesRequest]:
        """All that is open, for somebody who does not know of it."""
        return [*map(PackagesRequest, self._gatherings)]

    def fail(self, error: Exception) -> None:
        """Nobody will answer."""
        for gathering in self._gatherings.values():
            gathering.reply.set_exception(error)
        self._gatherings.clear()

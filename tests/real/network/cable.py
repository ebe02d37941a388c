"""A second host: a network namespace of this one, and a cable (a veth pair) between the two that can be cut."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import time

_numbers = itertools.count()
# Addresses that are for documentation only (RFC 5737), so that they are nobody else's.
_NET = "198.51.100"
_PATIENCE_S = 10.0


class Cable:
    """Made, and gone, with ``with``. Processes in the other host end with it."""

    def __init__(self) -> None:
        number = next(_numbers)
        self.host = f"trellis-{os.getpid()}-{number}"  # the other one
        self._end = f"tr{os.getpid() % 10**7}x{number}"  # names of interfaces have at most 15 characters
        self.address, self._other_address = f"{_NET}.1", f"{_NET}.2"
        # Somewhere beyond this host, which forwards nothing: who sends there gets no answer at all.
        self.black_hole = "203.0.113.7"

    def __enter__(self) -> Cable:
        self._ip("netns", "add", self.host)
        try:
            self._ip("link", "add", self._end, "type", "veth", "peer", "name", "cable", "netns", self.host)
            self._ip("address", "add", f"{self.address}/24", "dev", self._end)
            self._ip("link", "set", self._end, "up")
            self._ip("-n", self.host, "address", "add", f"{self._other_address}/24", "dev", "cable")
            self._ip("-n", self.host, "link", "set", "lo", "up")
            self._ip("-n", self.host, "link", "set", "cable", "up")
            self._ip("-n", self.host, "route", "add", "default", "via", self.address)
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self._ip("link", "delete", self._end)
        # A namespace lives as long as a process is in it.
        with contextlib.suppress(subprocess.CalledProcessError):
            self.wait_until_empty()
        self._ip("netns", "delete", self.host)

    def cut(self) -> None:
        """Nothing goes through any more, and nobody is told."""
        self._ip("link", "set", self._end, "down")

    def mend(self) -> None:
        self._ip("link", "set", self._end, "up")

    def processes(self) -> list[int]:
        """Of the other host."""
        return list(map(int, self._ip("netns", "pids", self.host).split()))

    def wait_until_empty(self, timeout_s: float = _PATIENCE_S) -> None:
        """An AssertionError when processes of the other host do not end."""
        deadline = time.monotonic() + timeout_s
        while pids := self.processes():
            assert time.monotonic() < deadline, f"still on the other host: {pids}"
            time.sleep(0.02)

    @staticmethod
    def _ip(*words: str) -> str:
        return subprocess.run(["ip", *words], check=True, capture_output=True, text=True, timeout=_PATIENCE_S).stdout

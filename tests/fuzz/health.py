"""Whether a service is still well: alive, no larger, nothing left open, its log still readable."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import psutil

# What an allocator may keep of what was given back, and of buffers that have grown to their usual size; a leak of
# twenty bytes per frame would show in a million frames.
MOST_GROWTH_BYTES = 24 * 2**20
# Each manager that registers is named in the log; bad messages are not each, so that a flood of them fills no disk.
MOST_LOG_BYTES = 16 * 2**20
# Connections that were just closed; also how long a host with much to do may take for that.
_PATIENCE_S = 20.0


@dataclass(frozen=True)
class Vitals:
    """Of one process, at one moment."""

    rss_bytes: int
    descriptors: int
    log_bytes: int


class Patient:
    """A process that is watched, and its log."""

    def __init__(self, name: str, pid: int, log: Path) -> None:
        self.name = name
        self._process = psutil.Process(pid)
        self._log = log
        self._before = self._vitals()

    def _vitals(self) -> Vitals:
        log_bytes = self._log.stat().st_size if self._log.exists() else 0
        return Vitals(self._process.memory_info().rss, self._process.num_fds(), log_bytes)

    def rest(self) -> None:
        """From now on count: it has seen some of everything, and its connections of before are closed."""
        deadline = time.monotonic() + _PATIENCE_S
        self._before = self._vitals()
        while time.monotonic() < deadline:
            time.sleep(0.2)
            before, self._before = self._before, self._vitals()
            if before.descriptors == self._before.descriptors:
                return

    def growth(self) -> Vitals:
        """Since ``rest``; an AssertionError when it is ill."""
        assert self._process.is_running(), f"the {self.name} has ended"
        assert self._process.status() != psutil.STATUS_ZOMBIE, f"the {self.name} has ended"
        before, now = self._before, self._settled()
        growth = Vitals(
            now.rss_bytes - before.rss_bytes, now.descriptors - before.descriptors, now.log_bytes - before.log_bytes
        )
        assert growth.rss_bytes <= MOST_GROWTH_BYTES, f"the {self.name} has grown by {growth.rss_bytes:,} bytes"
        assert growth.descriptors <= 0, f"the {self.name} has {growth.descriptors} more descriptors open"
        assert growth.log_bytes <= MOST_LOG_BYTES, f"the log of the {self.name} has grown by {growth.log_bytes:,} bytes"
        return growth

    def _settled(self) -> Vitals:
        """When the last connections are closed; a process may have more of them open for a moment."""
        deadline = time.monotonic() + _PATIENCE_S
        now = self._vitals()
        while now.descriptors > self._before.descriptors and time.monotonic() < deadline:
            time.sleep(0.05)
            now = self._vitals()
        return now

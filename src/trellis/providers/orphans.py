"""Tells the reaper which jobs to cancel should this process die. It cancels nothing itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

# A reaper that was told farewell has nothing to do but to end.
_FAREWELL_S = 5.0


class OrphanGuard:
    """Keeps a reaper (see ``reaper``) as long as there is a job to cancel.

    The reaper sits on the reading end of a pipe whose writing end only this process has. When the pipe closes without
    a farewell, this process is dead, and the reaper cancels what it knows of.
    """

    def __init__(self) -> None:
        self._watched: dict[str, dict[str, Any]] = {}
        self._reaper: subprocess.Popen[str] | None = None

    def watch(self, job_id: str, argv: Sequence[str]) -> None:
        """There is a job; ``argv`` would cancel it."""
        self._add({"watch": job_id, "argv": list(argv), "sure": True})

    def expect(self, name: str, argv: Sequence[str]) -> None:
        """There may be a job soon; ``argv`` would cancel it, and succeeds or fails when there is none."""
        self._add({"watch": name, "argv": list(argv), "sure": False})

    def forget(self, key: str) -> None:
        """The job has ended, or there was none."""
        if self._watched.pop(key, None) is None:
            return
        if self._watched:
            self._tell({"forget": key})
        else:
            self._dismiss()

    def _add(self, message: dict[str, Any]) -> None:
        self._watched[message["watch"]] = message
        if self._reaper is None or not self._tell(message):
            self._start()

    def _start(self) -> None:
        """Start a reaper, and tell it everything: there may have been one that somebody has killed."""
        if self._reaper is not None:
            self._end(self._reaper)
        self._reaper = subprocess.Popen(
            [sys.executable, "-P", "-m", "trellis.providers.reaper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd="/",  # it may stay for minutes after us, and should not keep a file system busy
            start_new_session=True,  # what ends us (Ctrl-C, a closed terminal) must not end it
        )
        for message in self._watched.values():
            self._tell(message)

    def _tell(self, message: dict[str, Any]) -> bool:
        """Whether there was somebody to hear it."""
        if self._reaper is None or self._reaper.stdin is None:
            return False
        try:
            self._reaper.stdin.write(json.dumps(message) + "\n")
            self._reaper.stdin.flush()
        except OSError:
            return False
        return True

    def _dismiss(self) -> None:
        if self._reaper is not None:
            self._tell({"farewell": True})
            self._end(self._reaper)
            self._reaper = None

    @staticmethod
    def _end(reaper: subprocess.Popen[str]) -> None:
        """Close the pipe and wait; what has not ended by then is killed."""
        try:
            reaper.communicate(timeout=_FAREWELL_S)
        except subprocess.TimeoutExpired:
            reaper.kill()
            reaper.wait()

"""All that watches one run: begun before its executors start, ended when they have ended. Only puts the parts together.

A part that cannot begin, or fails, is told to the user and harms no task.
"""

from __future__ import annotations

import logging
from typing import Protocol

from trellis.core.measurements import Measurements
from trellis.watching.view import WatchedKernel

logger = logging.getLogger(__name__)


class Part(Protocol):
    """Something that watches a run."""

    def begin(self) -> None:
        """Called when the run directory is there, before the executors start. Quick."""

    def end(self) -> None:
        """Called when all tasks are final and the observers have been told. Once, also if ``begin`` has failed."""


class RunWatch:
    """The parts that watch a kernel, in the order in which they begin; they end in reverse."""

    def __init__(self, kernel: WatchedKernel) -> None:
        self._kernel = kernel
        self._parts: list[Part] = self._choose_parts()
        self.measurements: Measurements | None = None  # for the executors, when the run is recorded

    def _choose_parts(self) -> list[Part]:
        """What is watched, as the configuration says; modules are loaded when they are needed."""
        return []

    def begin(self) -> None:
        for part in self._parts:
            try:
                part.begin()
            except Exception as error:
                self._tell_of(part, error)

    def end(self) -> None:
        for part in reversed(self._parts):
            try:
                part.end()
            except Exception as error:
                self._tell_of(part, error)

    def _tell_of(self, part: Part, error: Exception) -> None:
        name = type(part).__name__
        logger.exception("%s failed", name)
        self._kernel.notify(f"{name} failed ({type(error).__name__}: {error}); the tasks go on without it")

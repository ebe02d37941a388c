"""Bad messages, counted; told the first, second, fourth, eighth … time, so that a flood of them fills no disk."""

from __future__ import annotations

import logging


class BadMessages:
    """Counts the bad messages of one socket, and tells of some.

    Args:
        logger: where it is told.
        text: with a place for whom or what it is about, and one for the error.
    """

    def __init__(self, logger: logging.Logger, text: str) -> None:
        self._logger = logger
        self._text = text + " (bad messages so far: %d)"
        self.count = 0

    def note(self, whom: str, error: Exception) -> None:
        self.count += 1
        if self.count & (self.count - 1) == 0:
            self._logger.error(self._text, whom, error, self.count)

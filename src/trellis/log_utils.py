"""Handlers for Trellis's log records, for programs that do not configure logging themselves."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable
from typing import TextIO

__all__ = ["set_file_logger", "set_stream_logger"]

DEFAULT_FORMAT = "%(asctime)s.%(msecs)03d %(name)s:%(lineno)d [%(levelname)s] %(message)s"
_DATE_FORMAT = "%Y-%m-%d %H:%M:%S"


class FileHandler(logging.FileHandler):
    """A handler that says once that it cannot write (the disk is full), and then goes on without."""

    _failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):  # a defect in what is logged
            super().handleError(record)
        elif not self._failed:
            self._failed = True
            words = error.strerror or error
            print(f"trellis: {self.baseFilename} cannot be written: {words}; the run goes on without", file=sys.stderr)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what is left in the buffer
            super().close()


class _Attached:
    """The handlers that were attached to one logger here, and the level it had before the first of them."""

    def __init__(self, logger: logging.Logger) -> None:
        self.logger = logger
        self.level_before = logger.level
        self.effective_before = logger.getEffectiveLevel()
        self.handlers: list[logging.Handler] = []

    def adjust_level(self) -> None:
        # As low as the handlers need and no lower: a level that is on costs time for every record.
        levels = [handler.level for handler in self.handlers]
        wanted = min(levels, default=self.effective_before)
        self.logger.setLevel(wanted if wanted < self.effective_before else self.level_before)


_attached: dict[str, _Attached] = {}


def set_stream_logger(
    name: str = "trellis",
    level: int = logging.DEBUG,
    format_string: str | None = None,
    stream: TextIO | None = None,
) -> Callable[[], None]:
    """Write log records to a stream, standard error by default.

    Args:
        name: the logger whose records are written.
        level: records below it are left out.
        format_string: in the style of ``logging.Formatter``.

    Returns:
        A function that takes the handler away again; the stream stays open. A second call does nothing.
    """
    return attach(logging.StreamHandler(stream), name, level, format_string)


def set_file_logger(
    filename: str, name: str = "trellis", level: int = logging.DEBUG, format_string: str | None = None
) -> Callable[[], None]:
    """Append log records to a file; see ``set_stream_logger``.

    Returns:
        A function that takes the handler away again and closes the file.
    """
    return attach(FileHandler(filename, encoding="utf-8", errors="backslashreplace"), name, level, format_string)


def attach(handler: logging.Handler, name: str, level: int, format_string: str | None = None) -> Callable[[], None]:
    """Give records to a handler; see ``set_stream_logger``."""
    handler.setLevel(level)
    handler.setFormatter(logging.Formatter(format_string or DEFAULT_FORMAT, _DATE_FORMAT))
    target = logging.getLogger(name)
    attached = _attached.setdefault(name, _Attached(target))
    attached.handlers.append(handler)
    target.addHandler(handler)
    attached.adjust_level()

    def detach() -> None:
        if handler not in attached.handlers:
            return
        target.removeHandler(handler)
        attached.handlers.remove(handler)
        handler.close()
        attached.adjust_level()
        if not attached.handlers:
            _attached.pop(name, None)

    return detach

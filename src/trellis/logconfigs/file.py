"""Logs as text: a line for each record, in a file for each process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trellis.core.kinds import Text
from trellis.core.validation import check
from trellis.core.values import Number, ValueRefused
from trellis.log_utils import DEFAULT_FORMAT, set_file_logger
from trellis.logconfigs.base import LogConfig

# As in the logging module, and below: 1 is more than DEBUG tells.
LEVEL = Number(least=0, most=1000, whole=True)


class _Format(Text):
    """A format whose fields all records have."""

    def __call__(self, value: Any) -> str:
        text = super().__call__(value)
        record = logging.LogRecord("name", logging.INFO, "path", 1, "message", (), None)
        try:
            logging.Formatter(text).format(record)
        except (ValueError, TypeError) as error:
            raise ValueRefused(f"a format in the style of logging.Formatter ({error})") from error
        return text


class FileLogging(LogConfig):
    """Writes ``<log_name>.log`` with the records of Trellis.

    Args:
        format_string: in the style of ``logging.Formatter``.
        level: records below it are left out.
    """

    def __init__(self, *, format_string: str = DEFAULT_FORMAT, level: int = logging.DEBUG) -> None:
        self.format_string = check("FileLogging", "format_string", format_string, _Format())
        self.level = check("FileLogging", "level", level, LEVEL)

    def initialize_logging(self, *, log_dir: Path, log_name: str) -> Callable[[], None]:
        directory = Path(log_dir)
        directory.mkdir(parents=True, exist_ok=True)
        return set_file_logger(str(directory / f"{log_name}.log"), level=self.level, format_string=self.format_string)

"""Logs for programs: an object of JSON for each record, in a file for each process."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

from trellis.core.validation import check
from trellis.log_utils import FileHandler, attach
from trellis.logconfigs.base import LogConfig
from trellis.logconfigs.file import LEVEL

# What is said of every record: the key, and the attribute of the record.
_ATTRIBUTES = {
    "created": "created",
    "process": "process",
    "processName": "processName",
    "threadName": "threadName",
    "thread": "thread",
    "name": "name",
    "lineno": "lineno",
    "funcname": "funcName",
    "levelname": "levelname",
}
# Beginning of the names of values that records carry beside their text.
_EXTRA = "parsl."


class JSONHandler(FileHandler):
    """Writes a line for each record: its time, origin, level, template and text, and the values that it carries."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, object] = {key: getattr(record, attribute) for key, attribute in _ATTRIBUTES.items()}
        said["msg"] = record.msg
        said["formatted"] = record.getMessage()
        if record.exc_info:
            said["exception"] = logging.Formatter().formatException(record.exc_info)
        said.update((name, value) for name, value in vars(record).items() if name.startswith(_EXTRA))
        return json.dumps(said, default=repr)


class JSONLogging(LogConfig):
    """Writes ``<log_name>.jsonlog`` with all records of the process, those of other packages too.

    Args:
        level: records below it are left out.
    """

    def __init__(self, *, level: int = logging.DEBUG) -> None:
        self.level = check("JSONLogging", "level", level, LEVEL)

    def initialize_logging(self, *, log_dir: Path, log_name: str) -> Callable[[], None]:
        directory = Path(log_dir)
        directory.mkdir(parents=True, exist_ok=True)
        return attach(JSONHandler(str(directory / f"{log_name}.jsonlog"), encoding="utf-8"), "", self.level)

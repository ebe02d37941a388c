"""A user's way of logging (``trellis.logconfigs``) on its way to the processes of an executor.

It is a file that only its owner can read: whoever could write it could run code in these processes.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from trellis.errors import SerializationError
from trellis.executors.common.import_paths import import_paths

logger = logging.getLogger("trellis.service")


class _Content(msgspec.Struct):
    import_paths: list[str]  # where its class may be found
    log_config: bytes


def write_log_config(path: Path, log_config: Any) -> None:
    """Put it where the processes can read it.

    Raises:
        SerializationError: it cannot be sent there.
    """
    from trellis.wire.payload import dumps

    try:
        content = _Content(import_paths(), dumps(log_config))
    except Exception as error:
        raise SerializationError("initialize_logging", f"{type(error).__name__}: {error}") from error
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.encode(content))


def start_logging(path: Path, log_dir: Path, log_name: str) -> None:
    """Begin the log of this process as the file says; what goes wrong is said in a log of our own.

    Args:
        path: of the file.
        log_dir: where files of this process belong.
        log_name: which process this is.
    """
    from trellis.wire.payload import loads

    try:
        content = msgspec.json.decode(path.read_bytes(), type=_Content)
        sys.path.extend(entry for entry in content.import_paths if entry not in sys.path)
        log_config: Any = loads(content.log_config)
        log_config.initialize_logging(log_dir=log_dir, log_name=log_name)
    except Exception:  # users' code
        handler = logging.FileHandler(log_dir / f"{log_name}.log")
        logging.getLogger("trellis").addHandler(handler)
        logger.exception("the configuration of logging in %s does not work", path)

"""How services begin: they read their settings, open their logs, and say where they are. Decides nothing."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import TypeVar

import msgspec

S = TypeVar("S")


def read_settings(fd: int, kind: type[S]) -> S:
    """The settings, from one line, and not a byte more: what follows is the lifeline.

    Raises:
        EOFError: nobody wants the service any more.
    """
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(fd, 1)
        if not byte:
            raise EOFError("no settings came")
        line += byte
    return msgspec.json.decode(line, type=kind)


def open_log(path: Path | None, debug: bool) -> None:
    """Log to a file from now on; None: to standard error."""
    handler = logging.StreamHandler() if path is None else logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger("trellis")
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if debug else logging.INFO)


def announce(ports: msgspec.Struct) -> None:
    """Tell whoever has started this process that it serves, and where."""
    sys.stdout.write(msgspec.json.encode(ports).decode() + "\n")
    sys.stdout.flush()

"""How services begin and end: their settings, logs, ports and last words. Decides nothing."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from trellis.executors.common.log_configs import start_logging
from trellis.executors.common.process_title import show_as

logger = logging.getLogger("trellis.service")

_STDOUT = 1


class ServiceSettings(Protocol):
    """What each service is told, besides what it does."""

    logdir: str


S = TypeVar("S")
T = TypeVar("T", bound=ServiceSettings)


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


def begin_log(directory: Path, name: str, log_config: str | None, debug: bool) -> None:
    """Log as the file ``log_config`` says, or, without one, to a file in the directory."""
    if log_config is None:
        open_log(directory / f"{name}.log", debug)
    else:
        start_logging(Path(log_config), directory, name)


def open_log(path: Path | None, debug: bool) -> None:
    """Log to a file from now on; None: to standard error."""
    handler = logging.StreamHandler() if path is None else logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger("trellis")
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if debug else logging.INFO)


def announce(ports: msgspec.Struct) -> None:
    """Tell whoever has started this process that it serves, and where."""
    os.write(_STDOUT, msgspec.json.encode(ports) + b"\n")


def run_service(title: str, name: str, kind: type[T], serve: Callable[[T, int], str]) -> int:
    """Read the settings, serve until told to end, and give the exit code.

    Args:
        title: of the process.
        name: what the service is, for people; also of its log.
        kind: of the settings.
        serve: given the settings and the lifeline; gives what is to blame for the end, if anything is.
    """
    show_as(title)
    lifeline = sys.stdin.fileno()
    settings = read_settings(lifeline, kind)
    log_config: str | None = getattr(settings, "log_config", None)
    if log_config is not None:
        sys.stdout = sys.stderr  # where the ports are expected, no handler of the user's shall write
    begin_log(Path(settings.logdir), name, log_config, getattr(settings, "debug", False))
    try:
        blame = serve(settings, lifeline)
    except Exception as error:
        logger.exception("the %s failed", name)
        blame = f"the {name} failed: {type(error).__name__}: {error}"
    else:
        logger.info("the %s ends", name)
    if blame:
        print(blame, file=sys.stderr)
    return 1 if blame else 0

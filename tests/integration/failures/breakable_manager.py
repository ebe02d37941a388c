"""A program, to be started in place of the manager: one that raises an exception when it gets SIGUSR1."""

from __future__ import annotations

import signal
import sys

from trellis.executors.htex.manager import service as manager_service


def _break(number: int, frame: object) -> None:
    raise RuntimeError("it was told to break")


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _break)
    sys.exit(manager_service.main())

"""Starts the interchange by the name of Parsl's: ``python -m trellis.executors.high_throughput.interchange``."""

from __future__ import annotations

import sys
from typing import Any

from trellis.core.missing import missing
from trellis.errors import ManagerLost, VersionMismatch

Interchange: Any = missing(
    "Interchange", __name__, "HighThroughputExecutor starts the interchange; interchange_launch_cmd says how"
)

__all__ = ["Interchange", "ManagerLost", "VersionMismatch", "main"]


def main() -> int:
    """Serve the executor that started this process, and has given it the settings through its standard input."""
    from trellis.executors.htex.interchange.service import main as serve

    return serve()


if __name__ == "__main__":
    sys.exit(main())

"""Starts the interchange by the name of Parsl's: ``python -m trellis.executors.high_throughput.interchange``."""

from __future__ import annotations

import sys

from trellis.core.missing import Missing
from trellis.errors import ManagerLost, VersionMismatch

__all__ = ["Interchange", "ManagerLost", "VersionMismatch", "main"]


class Interchange(
    Missing,
    was="stands between the program and the managers",
    instead="HighThroughputExecutor starts its interchange; interchange_launch_cmd says how",
): ...


def main() -> int:
    """Serve the executor that started this process, and has given it the settings through its standard input."""
    from trellis.executors.htex.interchange.service import main as serve

    return serve()


if __name__ == "__main__":
    sys.exit(main())

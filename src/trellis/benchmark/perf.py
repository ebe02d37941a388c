"""``python -m trellis.benchmark.perf``: the command ``trellis perf``, under the name of Parsl's ``parsl-perf``."""

from __future__ import annotations

import sys


def cli_run() -> None:
    """Run ``trellis perf`` with this program's arguments, and end with its exit code."""
    from trellis.cli.main import main

    sys.exit(main(["perf", *sys.argv[1:]]))


if __name__ == "__main__":
    cli_run()

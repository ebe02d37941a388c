"""Fits an unpacked environment to its place, where conda-pack has left a command for that: once, whoever comes first.

TaskVine unpacks archives elsewhere and moves them to their place; so this runs with the first task there. This is
started at workers, also where Trellis is not installed, by the interpreter that is in the environment.

``python fit.py DIRECTORY``: the environment, or a link to it.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys

# Beside the environment's own files: it fits.
MARK = ".trellis-fitted"


def fit(directory: str) -> None:
    """Raises:
    OSError: nothing can be written there.
    subprocess.CalledProcessError: the environment's own command fails; it has said why.
    """
    place = os.path.realpath(directory)
    mark = os.path.join(place, MARK)
    with open(mark + ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(mark):
            return
        # The script's first line is among what it has to fit.
        subprocess.run([f"{place}/bin/python", f"{place}/bin/conda-unpack"], check=True)
        with open(mark, "w"):
            pass


def main() -> int:
    """Entry point."""
    try:
        fit(sys.argv[1])
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"the environment cannot be fitted to its place: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

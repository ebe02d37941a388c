"""Numbered run directories. Never shared: two kernels, also in two processes, get two directories."""

from __future__ import annotations

import os


def make_rundir(path: str) -> str:
    """Make the next directory ``NNN`` below ``path`` (``000``, ``001``, ...) and return its absolute path.

    Raises:
        OSError: the directory cannot be made.
    """
    base = os.path.abspath(path)
    os.makedirs(base, exist_ok=True)
    number = max((int(name) for name in os.listdir(base) if name.isdecimal()), default=-1) + 1
    while True:
        rundir = os.path.join(base, f"{number:03d}")
        try:
            os.mkdir(rundir)  # the only step that decides: mkdir succeeds for one process
        except FileExistsError:
            number += 1
        else:
            return rundir

"""Numbered run directories. Never shared: two kernels, also in two processes, get two directories."""

from __future__ import annotations

import os

from trellis.core.places import absolute, explained


def make_rundir(path: str) -> str:
    """Make the next directory ``NNN`` below ``path`` (``000``, ``001``, ...) and return its absolute path.

    Raises:
        OSError: the directory cannot be made.
        ConfigurationError: the working directory is gone.
    """
    base = absolute(path)
    try:
        return _make_next(base)
    except OSError as error:
        raise explained(error, base, making=True) from error


def _make_next(base: str) -> str:
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

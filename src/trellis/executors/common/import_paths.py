"""Where the user's program finds its modules: workers look there too. Reads ``sys.path``, and never changes it."""

from __future__ import annotations

import os
import sys


def import_paths() -> list[str]:
    """The directories and archives (zipapps, eggs) of ``sys.path`` that exist, as absolute paths."""
    found: list[str] = []
    for path in sys.path:
        try:
            place = os.path.abspath(path)
        except (OSError, TypeError):  # the working directory is gone; or somebody has put something else there
            continue
        if os.path.exists(place):
            found.append(place)
    return found


class AddedPaths:
    """What has come to ``sys.path`` since workers were told of it."""

    def __init__(self) -> None:
        self._told = set(import_paths())
        self.seen: list[str] = list(sys.path)
        self.added: tuple[str, ...] = ()  # another object whenever there are others

    def look(self) -> None:
        """``sys.path`` is not what was ``seen`` last: see whether there are more."""
        self.seen = list(sys.path)
        added = tuple(path for path in import_paths() if path not in self._told)
        if added != self.added:
            self.added = added

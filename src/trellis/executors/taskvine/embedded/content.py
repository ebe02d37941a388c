"""What a file is, and where it is, for whoever sends it on in pieces. Values only."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec


def is_cache_name(name: str) -> bool:
    """Whether a file can have this name: others would lead out of a cache's directory."""
    return bool(name) and "/" not in name and "\0" not in name and not name.startswith(".")


class Entry(msgspec.Struct):
    """A file that is there. Sizes in bytes."""

    name: str
    size: int
    level: str
    source: str = ""  # for people
    mode: int = 0o644  # as it came: what is kept cannot be written to
    state: str = ""  # of the content, and of what it was unpacked to: another one, when somebody has written to it


class Content(NamedTuple):
    """Where a file is, and what it was when it came; or a directory, as an archive."""

    path: Path
    entry: Entry | None = None
    archive: bool = False

"""What becomes of users' files and libraries, as the real TaskVine writes it into its log of transactions. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from trellis.wire.vine_watching import SeenFile

_LINE = re.compile(
    rb"^(\d+) \d+ WORKER (\S+) (CACHE_UPDATE|TRANSFER INPUT|TRANSFER OUTPUT) (\S+) (\S+) (\d+) \d+$", re.MULTILINE
)
_LIBRARY = re.compile(rb"^(\d+) \d+ LIBRARY \d+ (STARTED|FAILURE) (\S+)", re.MULTILINE)
# What every task and library has beside users' files, by its path in the sandbox, or by TaskVine's name.
_OWN = re.compile(r"\.trellis/|infile$|outfile$|library_code\.py$|library_info\.clpk$|trellis_\w+\.py$|buffer-")
_KINDS = {"temp": "temp", "url": "url", "file": "file"}


def files_in(log: bytes, libraries: Sequence[str]) -> list[SeenFile]:
    """What these lines of the log tell.

    Args:
        libraries: names of those that are installed; which one a line is about is known when there is only one.
    """
    return [*_files(log), *_instances(log, libraries[0] if len(libraries) == 1 else "one of several libraries")]


def _files(log: bytes) -> Iterator[SeenFile]:
    for when, who, what, path, size, took_us in _LINE.findall(log):
        name, worker = path.decode(errors="replace"), who.decode(errors="replace")
        if _OWN.match(name):
            continue
        at, seconds = int(when) / 1e6, int(took_us) / 1e6
        amount = max(0, int(float(size)))  # bytes, though the head of the log says otherwise
        if what == b"CACHE_UPDATE":
            kind = _KINDS.get(name.partition("-")[0], "file")
            yield SeenFile(name, kind, worker, "cached", amount, "", at, seconds)
        elif what == b"TRANSFER INPUT":
            yield SeenFile(name, "file", worker, "transferred", amount, "", at, seconds)
        else:
            yield SeenFile(name, "task output", "", "transferred", amount, worker, at, seconds)


def _instances(log: bytes, library: str) -> Iterator[SeenFile]:
    for when, what, who in _LIBRARY.findall(log):
        event = "started" if what == b"STARTED" else "failed"
        yield SeenFile(library, "library", who.decode(errors="replace"), event, 0, "", int(when) / 1e6)

"""Files whose life at the workers the user decides."""

from __future__ import annotations

import os

from trellis.core.kinds import Choice, Flag
from trellis.core.validation import check_all
from trellis.core.values import Kind
from trellis.staging.files import File
from trellis.wire.vine import LEVELS

# ``taskvinetemp://name``: made by a task, read by others, never brought home.
TEMP_SCHEME = "taskvinetemp"


_KINDS: dict[str, Kind] = {"cache": Choice(*LEVELS), "peer_transfer": Flag(), "unpack": Flag()}


class TaskVineFile(File):
    """A file, and how workers keep it.

    Args:
        url: as for ``File``; ``taskvinetemp://NAME`` is made by one task, read by others, and never brought home.
        cache: until when a worker keeps it: "task" (it has ended), "workflow" (the run has), "worker" (the worker
            has), "forever" (also the worker's successors in the same workspace).
        peer_transfer: whether workers may pass it on to each other.
        unpack: a tar archive that tasks see as the directory that is in it.

    Raises:
        ConfigurationError: ``cache`` is none of these.
    """

    def __init__(
        self,
        url: str | os.PathLike[str],
        cache: str = "workflow",
        peer_transfer: bool = True,
        unpack: bool = False,
    ) -> None:
        super().__init__(url)
        self.cache = cache
        self.peer_transfer = peer_transfer
        self.unpack = unpack
        check_all(self, _KINDS)

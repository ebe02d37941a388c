"""Files whose life at the workers the user decides."""

from __future__ import annotations

import os

from trellis.core.validation import check_type
from trellis.errors import ConfigurationError
from trellis.staging.files import File
from trellis.wire.vine import LEVELS

# ``taskvinetemp://name``: made by a task, read by others, never brought home.
TEMP_SCHEME = "taskvinetemp"


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
        check_type("TaskVineFile", "peer_transfer", peer_transfer, bool)
        check_type("TaskVineFile", "unpack", unpack, bool)
        if cache not in LEVELS:
            raise ConfigurationError(f"TaskVineFile: cache must be one of {', '.join(LEVELS)}, not {cache!r}")
        self.cache = cache
        self.peer_transfer = peer_transfer
        self.unpack = unpack

"""What the interchange's process does before it serves: its limits, and how it selects."""

from __future__ import annotations

import contextlib
import resource
import sys
from typing import cast

from trellis.executors.htex.interchange.selection import Selection
from trellis.executors.htex.settings import Settings
from trellis.wire.payload import load_function


def allow_many_connections() -> None:
    """Each manager's connection takes a file descriptor, and shells start programs with as few as 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS calls the limit infinite, and refuses to set it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def selection_of(settings: Settings) -> Selection:
    """How managers are selected; a selector of the user's own is made here, the one object of the user's."""
    if settings.selector is None:
        return settings.selection
    sys.path.extend(path for path in settings.import_paths if path not in sys.path)  # its class may be the user's
    return cast(Selection, load_function(settings.selector))

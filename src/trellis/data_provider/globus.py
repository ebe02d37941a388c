"""Stand-in for Parsl's staging over Globus."""

from typing import Any

from trellis.core.missing import missing

GlobusStaging: Any = missing("GlobusStaging", __name__, "stage over a shared file system, HTTP, FTP or rsync")

__all__ = ["GlobusStaging"]

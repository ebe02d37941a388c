"""Stand-in for Parsl's poller of jobs: each executor looks after its own blocks here."""

from typing import Any

from trellis.core.missing import missing

JobStatusPoller: Any = missing(
    "JobStatusPoller", __name__, "each executor polls its own blocks; executor.status() gives their states"
)

__all__ = ["JobStatusPoller"]

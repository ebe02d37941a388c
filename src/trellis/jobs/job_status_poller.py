"""Stand-in for Parsl's poller of jobs: each executor looks after its own blocks here."""

from trellis.core.missing import Missing


class JobStatusPoller(
    Missing,
    was="asks all executors for their blocks from time to time",
    instead="each executor polls its own blocks; executor.status() gives their states",
): ...


__all__ = ["JobStatusPoller"]

"""Public path of stand-ins; they are made in ``trellis.executors.missing``."""

from trellis.executors.missing import TestWorker, probe_addresses

__all__ = ["TestWorker", "probe_addresses"]

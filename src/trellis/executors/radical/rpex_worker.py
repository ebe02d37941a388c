"""Public path of stand-ins; they are made in ``trellis.executors.missing``."""

from trellis.executors.missing import DefaultWorker, MPIWorker, ParslWorker

__all__ = ["DefaultWorker", "MPIWorker", "ParslWorker"]

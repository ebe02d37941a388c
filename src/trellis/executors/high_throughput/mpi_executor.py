"""Public path of the MPIExecutor; it is made in ``trellis.executors.htex.mpi``."""

from trellis.executors.htex.mpi import MPIExecutor

__all__ = ["MPIExecutor"]

"""The MPIExecutor, by its public name."""

from trellis.executors.htex.mpi import MPIExecutor

__all__ = ["MPIExecutor"]

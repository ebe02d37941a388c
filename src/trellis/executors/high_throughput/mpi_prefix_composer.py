"""Public name of an error; what MPI tasks may ask for is read in ``trellis.executors.htex.mpi``."""

from trellis.errors import InvalidResourceSpecification

__all__ = ["InvalidResourceSpecification"]

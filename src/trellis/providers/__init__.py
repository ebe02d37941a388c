"""Where blocks of nodes come from."""

from trellis.providers.base import ExecutionProvider
from trellis.providers.grid_engine.grid_engine import GridEngineProvider
from trellis.providers.local.local import LocalProvider
from trellis.providers.slurm.slurm import SlurmProvider

__all__ = ["ExecutionProvider", "GridEngineProvider", "LocalProvider", "SlurmProvider"]

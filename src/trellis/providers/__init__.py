"""Where blocks of nodes come from."""

from trellis.providers.base import ExecutionProvider
from trellis.providers.batch import BatchProvider
from trellis.providers.condor.condor import CondorProvider
from trellis.providers.grid_engine.grid_engine import GridEngineProvider
from trellis.providers.local.local import LocalProvider
from trellis.providers.lsf.lsf import LSFProvider
from trellis.providers.pbspro.pbspro import PBSProProvider
from trellis.providers.slurm.slurm import SlurmProvider
from trellis.providers.torque.torque import TorqueProvider

__all__ = [
    "BatchProvider",
    "CondorProvider",
    "ExecutionProvider",
    "GridEngineProvider",
    "LSFProvider",
    "LocalProvider",
    "PBSProProvider",
    "SlurmProvider",
    "TorqueProvider",
]

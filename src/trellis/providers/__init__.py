"""Where blocks of nodes come from."""

from typing import Any

from trellis.providers.base import ExecutionProvider
from trellis.providers.batch import BatchProvider
from trellis.providers.condor.condor import CondorProvider
from trellis.providers.grid_engine.grid_engine import GridEngineProvider
from trellis.providers.local.local import LocalProvider
from trellis.providers.lsf.lsf import LSFProvider
from trellis.providers.missing import AWSProvider, AzureProvider, GoogleCloudProvider, KubernetesProvider
from trellis.providers.pbspro.pbspro import PBSProProvider
from trellis.providers.slurm.slurm import SlurmProvider
from trellis.providers.torque.torque import TorqueProvider

__all__ = [
    "AWSProvider",
    "AzureProvider",
    "BatchProvider",
    "CondorProvider",
    "ExecutionProvider",
    "GoogleCloudProvider",
    "GridEngineProvider",
    "KubernetesProvider",
    "LSFProvider",
    "LocalProvider",
    "PBSProProvider",
    "SlurmProvider",
    "TorqueProvider",
]


def __getattr__(name: str) -> Any:
    from trellis.core.submodules import submodule

    return submodule(__name__, name)


def __dir__() -> list[str]:
    from trellis.core.submodules import names

    return names(__name__)

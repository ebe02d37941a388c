"""Blocks of one worker each, from the batch system that a factory's configuration names. Submits nothing itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from trellis.executors.taskvine.factory_config import TaskVineFactoryConfig

logger = logging.getLogger(__name__)

# Jobs of workers ask for so long, unless ``batch_options`` say otherwise: a worker that ends early costs its tasks.
WALLTIME = "24:00:00"
_MB_PER_GB = 1024


def provider_of(config: TaskVineFactoryConfig) -> Any:
    """The provider for ``config.batch_type``, with the configuration's numbers of workers as its blocks."""
    if config.workers_per_cycle != 1:
        logger.warning(
            "workers_per_cycle is for batch_type='local'; with %r Trellis submits as many jobs as tasks need, "
            "and few at a time while they fail",
            config.batch_type,
        )
    blocks: dict[str, Any] = {
        "nodes_per_block": 1,
        "init_blocks": config.min_workers,
        "min_blocks": config.min_workers,
        "max_blocks": config.max_workers,
        "walltime": WALLTIME,
    }
    return _MAKERS[config.batch_type](config, blocks)


def _slurm(config: TaskVineFactoryConfig, blocks: dict[str, Any]) -> Any:
    from trellis.providers.slurm.slurm import SlurmProvider

    return SlurmProvider(
        cores_per_node=config.cores,
        mem_per_node=_gigabytes(config.memory),
        gpus_per_node=config.gpus or None,
        exclusive=config.cores is None,  # nothing said: the worker offers the whole node
        scheduler_options=_directive("#SBATCH", config),
        **blocks,
    )


def _condor(config: TaskVineFactoryConfig, blocks: dict[str, Any]) -> Any:
    from trellis.providers.condor.condor import CondorProvider

    return CondorProvider(
        cores_per_slot=config.cores,
        mem_per_slot=_gigabytes(config.memory),
        requirements=config.condor_requirements or "",
        scheduler_options=config.batch_options or "",
        **blocks,
    )


def _grid_engine(config: TaskVineFactoryConfig, blocks: dict[str, Any]) -> Any:
    from trellis.providers.grid_engine.grid_engine import GridEngineProvider

    return GridEngineProvider(scheduler_options=_directive("#$", config), **blocks)


def _pbs(config: TaskVineFactoryConfig, blocks: dict[str, Any]) -> Any:
    from trellis.providers.pbspro.pbspro import PBSProProvider

    return PBSProProvider(cpus_per_node=config.cores or 1, scheduler_options=_directive("#PBS", config), **blocks)


def _torque(config: TaskVineFactoryConfig, blocks: dict[str, Any]) -> Any:
    from trellis.launchers.single_node import SingleNodeLauncher
    from trellis.providers.torque.torque import TorqueProvider

    return TorqueProvider(launcher=SingleNodeLauncher(), scheduler_options=_directive("#PBS", config), **blocks)


def _lsf(config: TaskVineFactoryConfig, blocks: dict[str, Any]) -> Any:
    from trellis.providers.lsf.lsf import LSFProvider

    return LSFProvider(scheduler_options=_directive("#BSUB", config), **blocks)


def _directive(prefix: str, config: TaskVineFactoryConfig) -> str:
    """Words for the command line as a line of the script, where they count as much."""
    return f"{prefix} {config.batch_options}" if config.batch_options else ""


def _gigabytes(megabytes: int | None) -> float | None:
    return None if megabytes is None else megabytes / _MB_PER_GB


_MAKERS: dict[str, Callable[[TaskVineFactoryConfig, dict[str, Any]], Any]] = {
    "slurm": _slurm,
    "condor": _condor,
    "sge": _grid_engine,
    "uge": _grid_engine,
    "pbs": _pbs,
    "torque": _torque,
    "lsf": _lsf,
}

"""Expanse of the San Diego Supercomputer Center: nodes of 128 cores, by Slurm."""

from trellis.config import Config
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.launchers.multi_node import SrunLauncher
from trellis.providers.slurm.slurm import SlurmProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="Expanse_htex",
            max_workers_per_node=32,
            provider=SlurmProvider(
                partition="compute",
                # Yours: the project that is charged.
                account="MY_ALLOCATION",
                nodes_per_block=2,
                # Yours: modules to load, the environment of Python to activate.
                worker_init="",
                walltime="01:00:00",
                launcher=SrunLauncher(),
            ),
        )
    ]
)

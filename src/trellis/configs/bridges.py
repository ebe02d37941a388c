"""Bridges-2 of the Pittsburgh Supercomputing Center: regular nodes, by Slurm."""

from trellis.config import Config
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.launchers.multi_node import SrunLauncher
from trellis.providers.slurm.slurm import SlurmProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="Bridges_htex",
            max_workers_per_node=10,
            provider=SlurmProvider(
                partition="RM",
                # Yours: the project that is charged.
                account="MY_ALLOCATION",
                nodes_per_block=1,
                # Yours: modules to load, the environment of Python to activate.
                worker_init="",
                walltime="00:30:00",
                launcher=SrunLauncher(),
            ),
        )
    ]
)

"""Midway of the University of Chicago, by Slurm."""

from trellis.config import Config
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.launchers.multi_node import SrunLauncher
from trellis.providers.slurm.slurm import SlurmProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="Midway_htex",
            max_workers_per_node=2,
            provider=SlurmProvider(
                partition="caslake",
                # Yours: the project that is charged.
                account="pi-MY_GROUP",
                nodes_per_block=1,
                max_blocks=1,
                # Yours: modules to load, the environment of Python to activate.
                worker_init="",
                walltime="00:30:00",
                launcher=SrunLauncher(),
            ),
        )
    ]
)

"""Frontera of TACC: nodes of 56 cores, by Slurm, which gives nodes whole."""

from trellis.config import Config
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.launchers.multi_node import SrunLauncher
from trellis.providers.slurm.slurm import SlurmProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="Frontera_htex",
            max_workers_per_node=56,
            provider=SlurmProvider(
                partition="normal",
                # Yours: the project that is charged.
                account="MY_PROJECT",
                nodes_per_block=2,
                # Yours: modules to load, the environment of Python to activate.
                worker_init="",
                walltime="01:00:00",
                launcher=SrunLauncher(),
            ),
        )
    ]
)

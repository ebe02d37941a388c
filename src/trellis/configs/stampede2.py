"""Stampede2 of TACC, which has ended: its successors are set up alike, by Slurm."""

from trellis.config import Config
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.launchers.multi_node import SrunLauncher
from trellis.providers.slurm.slurm import SlurmProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="Stampede2_htex",
            max_workers_per_node=48,
            provider=SlurmProvider(
                partition="skx-normal",
                # Yours: the project that is charged.
                account="MY_PROJECT",
                nodes_per_block=2,
                # Yours: modules to load, the environment of Python to activate.
                worker_init="",
                walltime="00:30:00",
                launcher=SrunLauncher(),
            ),
        )
    ]
)

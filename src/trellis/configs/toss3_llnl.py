"""Clusters of Lawrence Livermore's system TOSS, by Slurm: managers on the nodes, where Parsl starts Flux."""

from trellis.config import Config
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.launchers.multi_node import SrunLauncher
from trellis.providers.slurm.slurm import SlurmProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="toss3_htex",
            cores_per_worker=1,
            provider=SlurmProvider(
                partition="pbatch",
                # Yours: the project that is charged.
                account="MY_BANK",
                nodes_per_block=1,
                # Yours: modules to load, the environment of Python to activate.
                worker_init="",
                walltime="00:30:00",
                launcher=SrunLauncher(),
            ),
        )
    ]
)

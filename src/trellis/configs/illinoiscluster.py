"""Campus cluster of the University of Illinois, by Slurm."""

from trellis.config import Config
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.launchers.multi_node import SrunLauncher
from trellis.providers.slurm.slurm import SlurmProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="illinois_htex",
            cores_per_worker=4,
            provider=SlurmProvider(
                # Yours, if your group has a partition of its own.
                partition="secondary",
                nodes_per_block=1,
                cores_per_node=16,
                exclusive=False,
                # Yours: modules to load, the environment of Python to activate.
                worker_init="",
                walltime="00:30:00",
                launcher=SrunLauncher(),
            ),
        )
    ]
)

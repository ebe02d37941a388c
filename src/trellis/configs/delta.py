"""Delta of NCSA: CPU nodes of 128 cores, by Slurm."""

from trellis.config import Config
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.launchers.multi_node import SrunLauncher
from trellis.providers.slurm.slurm import SlurmProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="Delta_htex",
            cores_per_worker=1,
            provider=SlurmProvider(
                partition="cpu",
                # Yours: the project that is charged.
                account="MY_ALLOCATION",
                nodes_per_block=1,
                max_blocks=2,
                # Yours: modules to load, the environment of Python to activate.
                worker_init="",
                walltime="00:30:00",
                launcher=SrunLauncher(),
            ),
        )
    ]
)

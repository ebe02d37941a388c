"""Improv of Argonne's LCRC: nodes of 128 cores, by PBS Pro."""

from trellis.config import Config
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.launchers.multi_node import MpiRunLauncher
from trellis.providers.pbspro.pbspro import PBSProProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="Improv_htex",
            max_workers_per_node=32,
            provider=PBSProProvider(
                queue="compute",
                # Yours: the project that is charged.
                account="MY_PROJECT",
                nodes_per_block=2,
                cpus_per_node=128,
                # Yours: modules to load, the environment of Python to activate.
                worker_init="",
                walltime="01:00:00",
                launcher=MpiRunLauncher(overrides="--map-by ppr:1:node"),
            ),
        )
    ]
)

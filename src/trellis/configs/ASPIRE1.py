"""ASPIRE 1 of NSCC in Singapore: nodes of 24 cores, by PBS Pro."""

from trellis.config import Config
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.launchers.multi_node import MpiRunLauncher
from trellis.providers.pbspro.pbspro import PBSProProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="ASPIRE1_htex",
            max_workers_per_node=4,
            provider=PBSProProvider(
                queue="normal",
                # Yours: the project that is charged.
                account="MY_PROJECT",
                nodes_per_block=3,
                cpus_per_node=24,
                # Yours: modules to load, the environment of Python to activate.
                worker_init="",
                walltime="24:00:00",
                max_blocks=1,
                launcher=MpiRunLauncher(),
            ),
        )
    ]
)

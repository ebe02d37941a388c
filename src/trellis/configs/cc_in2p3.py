"""CC-IN2P3 in Lyon, by Grid Engine."""

from trellis.config import Config
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.providers.grid_engine.grid_engine import GridEngineProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="cc_in2p3_htex",
            max_workers_per_node=1,
            provider=GridEngineProvider(
                nodes_per_block=1,
                init_blocks=2,
                max_blocks=2,
                scheduler_options="#$ -P MY_PROJECT",
                # Yours: modules to load, the environment of Python to activate.
                worker_init="",
                walltime="00:20:00",
            ),
        )
    ]
)

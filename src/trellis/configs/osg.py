"""OSPool of the Open Science Grid, by HTCondor: single nodes, somewhere in the country."""

from trellis.config import Config
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.providers.condor.condor import CondorProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="OSG_htex",
            max_workers_per_node=1,
            provider=CondorProvider(
                nodes_per_block=1,
                init_blocks=4,
                max_blocks=4,
                # Yours: what brings Python and this package to a node, such as a container.
                scheduler_options="",
                worker_init="",
                requirements='OSGVO_OS_STRING == "RHEL 9"',
                walltime="00:20:00",
            ),
        )
    ]
)

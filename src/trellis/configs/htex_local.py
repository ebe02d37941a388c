"""A configuration with one block of worker processes on this host."""

from trellis.config import Config
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.providers.local.local import LocalProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="htex_local", cores_per_worker=1, provider=LocalProvider(init_blocks=1, max_blocks=1)
        )
    ]
)

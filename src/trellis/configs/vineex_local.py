"""TaskVine's workers on this host."""

from trellis.config import Config
from trellis.executors.taskvine.executor import TaskVineExecutor
from trellis.executors.taskvine.factory_config import TaskVineFactoryConfig
from trellis.executors.taskvine.manager_config import TaskVineManagerConfig

config = Config(
    executors=[
        TaskVineExecutor(
            label="parsl-vine-example",
            # Any free port; a name that other programs have too would lead workers to the wrong one.
            manager_config=TaskVineManagerConfig(port=0),
            factory_config=TaskVineFactoryConfig(),
        )
    ]
)

"""Workers on this host that keep files: TaskVine's, as Work Queue is not there (see ``configs.vineex_local``)."""

from trellis.config import Config
from trellis.executors.taskvine.executor import TaskVineExecutor
from trellis.executors.taskvine.factory_config import TaskVineFactoryConfig
from trellis.executors.taskvine.manager_config import TaskVineManagerConfig

config = Config(
    executors=[
        TaskVineExecutor(
            label="parsl-wq-example",
            manager_config=TaskVineManagerConfig(port=0),
            factory_config=TaskVineFactoryConfig(),
        )
    ]
)

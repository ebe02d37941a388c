"""What TaskVineExecutor's parameters may be, when it is made. Nothing is opened here."""

from __future__ import annotations

from dataclasses import fields

from trellis.core.kinds import Choice, Instance, Items
from trellis.core.parameters import STORAGE_ACCESS, Label
from trellis.core.values import Kind
from trellis.executors.taskvine.engine import ENGINES
from trellis.executors.taskvine.factory_config import TaskVineFactoryConfig
from trellis.executors.taskvine.library import Library
from trellis.executors.taskvine.manager_config import TaskVineManagerConfig

METHODS = ("factory", "provider", "manual")

KINDS: dict[str, Kind] = {
    "label": Label(),
    "worker_launch_method": Choice(*METHODS),
    "function_exec_mode": Choice("regular", "serverless"),
    "manager_config": Instance("a TaskVineManagerConfig", TaskVineManagerConfig),
    "factory_config": Instance("a TaskVineFactoryConfig", TaskVineFactoryConfig),
    "storage_access": STORAGE_ACCESS,
    "engine": Choice(*ENGINES),
    "libraries": Items(Instance("a Library", Library), "Library"),
}

# Of Parsl's releases before this one.
FORMER_NAMES = {
    "use_factory": "it is worker_launch_method='factory' or 'manual'",
    **{
        field.name: "it is a field of manager_config=TaskVineManagerConfig(…)"
        for field in fields(TaskVineManagerConfig)
    },
}

"""Summit of OLCF, which has ended: nodes of 42 cores and 6 GPUs, by LSF and jsrun."""

from trellis.config import Config
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.launchers.multi_node import JsrunLauncher
from trellis.providers.lsf.lsf import LSFProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="Summit_htex",
            # One worker for each GPU.
            available_accelerators=6,
            provider=LSFProvider(
                queue="batch",
                # Yours: the project that is charged.
                project="MY_PROJECT",
                nodes_per_block=1,
                # Yours: modules to load, the environment of Python to activate.
                worker_init="",
                walltime="00:30:00",
                # The manager has the whole node; otherwise jsrun gives it one core.
                launcher=JsrunLauncher(overrides="-c ALL_CPUS -g ALL_GPUS"),
            ),
        )
    ]
)

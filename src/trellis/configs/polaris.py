"""Polaris of ALCF: nodes of 32 cores and 4 GPUs, by PBS Pro."""

from trellis.config import Config
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.launchers.multi_node import MpiExecLauncher
from trellis.providers.pbspro.pbspro import PBSProProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="Polaris_htex",
            # One worker for each GPU, bound to the cores beside it.
            available_accelerators=4,
            cpu_affinity="block-reverse",
            provider=PBSProProvider(
                queue="debug",
                # Yours: the project that is charged.
                account="MY_PROJECT",
                nodes_per_block=1,
                cpus_per_node=32,
                select_options="ngpus=4",
                # Which file systems the job needs.
                scheduler_options="#PBS -l filesystems=home:eagle",
                # Yours: modules to load, the environment of Python to activate.
                worker_init="",
                walltime="01:00:00",
                launcher=MpiExecLauncher(bind_cmd="--cpu-bind", overrides="--ppn 1"),
            ),
        )
    ]
)

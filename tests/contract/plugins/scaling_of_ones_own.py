"""Executors that start and end their blocks by themselves, beside Parsl's way."""

import json
import time
from concurrent.futures import Future

import parsl
from parsl.config import Config
from parsl.executors.status_handling import BlockProviderExecutor
from parsl.jobs.states import JobState, JobStatus
from parsl.providers import LocalProvider

EXPECTED = {
    "started": ["mine-0", "mine-1"],
    "states": ["RUNNING", "RUNNING"],
    "commands": ["sleep 60 # mine-0", "sleep 60 # mine-1"],
    "scaled in by the strategy": [2],
    "ended": ["SCALED_IN", "SCALED_IN"],
    "said of a block": ["BadStateException", "TooManyJobFailuresError", True],
    "refused block": ["FAILED", True],
}


class Recording(LocalProvider):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.commands = []

    @property
    def status_polling_interval(self):
        return 0.2

    def submit(self, command, tasks_per_node, job_name="parsl.mine"):
        self.commands.append(command)
        return super().submit(command, tasks_per_node, job_name)


class Base(BlockProviderExecutor):
    def __init__(self, provider):
        super().__init__(provider=provider, block_error_handler=True)
        self.label = "mine"

    def start(self):
        pass

    def submit(self, func, resource_specification, *args, **kwargs):
        future = Future()
        self.tasks[len(self.tasks)] = future
        return future

    def shutdown(self):
        pass

    def _get_launch_command(self, block_id):
        return f"sleep 60 # {block_id}"

    @property
    def outstanding(self):
        return len([future for future in self.tasks.values() if not future.done()])

    @property
    def workers_per_node(self):
        return 1


class OwnWay(Base):
    """As Parsl's base class does it, with names of its own for blocks."""

    wanted = ()

    def scale_out_facade(self, n):
        started = []
        for _ in range(n):
            block = f"mine-{len(self.blocks_to_job_id)}"
            job = self._launch_block(block)
            self.blocks_to_job_id[block] = job
            self.job_ids_to_block[job] = block
            started.append(block)
        return started

    def scale_in(self, blocks):
        self.wanted = [*self.wanted, blocks]
        alive = [block for block, job in self.status_facade.items() if not job.terminal]
        jobs = [self.blocks_to_job_id[block] for block in alive[:blocks]]
        ended = self._filter_scale_in_ids(jobs, self.provider.cancel(jobs))
        return [self.job_ids_to_block[job] for job in ended]


class Hot(Base):
    """Says that its blocks have failed, though their jobs run."""

    def status(self):
        return {block: JobStatus(JobState.FAILED, "too hot") for block in super().status()}


class NoBlocks(Base):
    def _launch_block(self, block_id):
        raise RuntimeError("no more blocks")


@parsl.python_app
def one():
    return 1


def wait_for(condition):
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def config(executor, strategy="none", **settings):
    return Config(executors=[executor], strategy=strategy, strategy_period=0.2, run_dir="runs", **settings)


def names(executor):
    return [job.status_name for job in executor.status_facade.values()]


def main():
    said = {}
    own = OwnWay(Recording(init_blocks=2, min_blocks=0, max_blocks=2))
    with parsl.load(config(own, "simple", max_idletime=3)):
        wait_for(lambda: names(own) == ["RUNNING"] * 2)
        said["started"], said["states"] = sorted(own.blocks_to_job_id), names(own)
        said["commands"] = own.provider.commands
        wait_for(lambda: names(own) == ["SCALED_IN"] * 2)
        said["scaled in by the strategy"] = own.wanted
        said["ended"] = names(own)
    parsl.clear()

    hot = Hot(Recording(init_blocks=1, max_blocks=1))
    with parsl.load(config(hot)):
        error = one().exception()
        cause = hot.executor_exception
        said["said of a block"] = [type(error).__name__, type(cause).__name__, "too hot" in str(cause)]
    parsl.clear()

    refused = NoBlocks(Recording(init_blocks=1, max_blocks=1))
    refused.block_error_handler = lambda executor, statuses: None
    with parsl.load(config(refused)):
        wait_for(lambda: names(refused) == ["FAILED"])
        message = refused.status_facade["0"].message
        said["refused block"] = [*names(refused), "no more blocks" in message]
    print(json.dumps(said))


if __name__ == "__main__":
    main()

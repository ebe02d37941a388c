"""Methods of HighThroughputExecutor that a subclass overrides are called where Parsl calls them."""

import json
import os
import time

import parsl
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.jobs.states import JobState
from parsl.providers import LocalProvider

EXPECTED = {
    "result": [1, "set", "set in start"],
    "refused": ["PermissionError: not this one", False],
    "called": [
        "_get_launch_command",
        "_launch_block",
        "connected_workers",
        "handle_errors",
        "initialize_scaling",
        "outstanding",
        "poll_facade",
        "scale_in",
        "scale_in_facade",
        "scale_out_facade",
        "send_monitoring_info",
        "shutdown",
        "start",
        "status",
        "status_facade",
        "submit",
        "validate_resource_spec",
        "workers_per_node",
    ],
    "scaled out": [0, 1],
    "blocks launched": ["0", "1"],
    "scaled in": [[1, None], "0"],
    "judged by status": ["BadStateException", "HELD"],
    "threads": "called",
}
CALLED = set()
SCALED_OUT, SCALED_IN, LAUNCHED = [], [], []


class Mine(HighThroughputExecutor):
    def start(self):
        CALLED.add("start")
        os.environ["OF_START"] = "set in start"
        return super().start()

    def initialize_scaling(self):
        CALLED.add("initialize_scaling")
        super().initialize_scaling()
        self.launch_cmd = "export MARK=set; " + self.launch_cmd

    def submit(self, func, resource_specification, *args, **kwargs):
        CALLED.add("submit")
        if resource_specification:
            raise PermissionError("not this one")
        return super().submit(func, resource_specification, *args, **kwargs)

    def validate_resource_spec(self, resource_specification):
        CALLED.add("validate_resource_spec")
        return super().validate_resource_spec(resource_specification)

    def shutdown(self, *args, **kwargs):
        CALLED.add("shutdown")
        return super().shutdown(*args, **kwargs)

    def status(self):
        CALLED.add("status")
        return super().status()

    @property
    def status_facade(self):
        CALLED.add("status_facade")
        return super().status_facade

    def poll_facade(self):
        CALLED.add("poll_facade")
        return super().poll_facade()

    def handle_errors(self, status):
        CALLED.add("handle_errors")
        return super().handle_errors(status)

    def scale_out_facade(self, n):
        CALLED.add("scale_out_facade")
        SCALED_OUT.append(n)
        return super().scale_out_facade(n)

    def scale_in_facade(self, n, max_idletime=None):
        CALLED.add("scale_in_facade")
        return super().scale_in_facade(n, max_idletime)

    def scale_in(self, blocks, max_idletime=None):
        CALLED.add("scale_in")
        SCALED_IN.append([blocks, max_idletime])
        return super().scale_in(blocks, max_idletime)

    def send_monitoring_info(self, status):
        CALLED.add("send_monitoring_info")
        return super().send_monitoring_info(status)

    def _launch_block(self, block_id):
        CALLED.add("_launch_block")
        LAUNCHED.append(block_id)
        return super()._launch_block(block_id)

    def _get_launch_command(self, block_id):
        CALLED.add("_get_launch_command")
        return super()._get_launch_command(block_id)

    @property
    def outstanding(self):
        CALLED.add("outstanding")
        return super().outstanding

    @property
    def connected_workers(self):
        CALLED.add("connected_workers")
        return super().connected_workers

    @property
    def workers_per_node(self):
        CALLED.add("workers_per_node")
        return super().workers_per_node


class Held(HighThroughputExecutor):
    """Says of its blocks what it likes, and gives up."""

    def status(self):
        statuses = super().status()
        for status in statuses.values():
            status.state = JobState.HELD
        return statuses

    def handle_errors(self, status):
        if any(job.state is JobState.HELD for job in status.values()):
            self.seen = next(iter(status.values())).status_name
            self.set_bad_state_and_fail_all(RuntimeError("held"))


class Threads(parsl.ThreadPoolExecutor):
    def submit(self, func, resource_specification, *args, **kwargs):
        self.said = "called"
        return super().submit(func, resource_specification, *args, **kwargs)


@parsl.python_app(executors=["htex"])
def one():
    return 1


@parsl.python_app(executors=["htex"])
def variable(name):
    import os

    return os.environ.get(name)


@parsl.python_app(executors=["htex"])
def touch(path, parsl_resource_specification=None):
    with open(path, "w"):
        pass


@parsl.python_app(executors=["threads"])
def here():
    return 1


def wait_for(condition):
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def executor_of(cls, **settings):
    return cls(
        label="htex",
        address="127.0.0.1",
        max_workers_per_node=1,
        worker_port_range=(20000, 32000),
        encrypted=False,
        provider=LocalProvider(**settings),
    )


def words(error):
    return f"{type(error).__name__}: {error}"


def main():
    said = {}
    mine, threads = executor_of(Mine, init_blocks=0, max_blocks=1), Threads()
    # Parsl's strategy reads connected_workers for its log.
    config = Config(executors=[mine, threads], strategy="simple", strategy_period=0.3, max_idletime=1, run_dir="runs")
    with parsl.load(config):
        said["result"] = [one().result(), variable("MARK").result(), variable("OF_START").result()]
        here().result()
        said["threads"] = threads.said
        path = os.path.abspath("touched")
        try:
            error = touch(path, parsl_resource_specification={"priority": 1}).exception()
        except PermissionError as refused:
            error = refused
        said["refused"] = [words(error), os.path.exists(path)]
        wait_for(lambda: SCALED_IN)
        wait_for(lambda: [job.state for job in mine.status().values()] == [JobState.SCALED_IN])
        said["scaled in"] = [SCALED_IN[0], *mine.status()]
        one().result()
        assert mine.connected_workers >= 0
    said["scaled out"] = sorted(set(SCALED_OUT))
    said["blocks launched"] = LAUNCHED
    said["called"] = sorted(CALLED)

    parsl.clear()
    held = executor_of(Held, init_blocks=1, max_blocks=1)
    held.launch_cmd = "sleep 60"
    with parsl.load(Config(executors=[held], strategy="none", strategy_period=0.3, run_dir="runs")):
        future = one()
        said["judged by status"] = [type(future.exception()).__name__, held.seen]
    print(json.dumps(said))


if __name__ == "__main__":
    main()

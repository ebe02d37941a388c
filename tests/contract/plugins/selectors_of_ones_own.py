"""Manager selectors: the end of the list is served first; what the records of managers hold."""

import json
import os
import time

import parsl
from _selectors import Noting, Sorted
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.executors.high_throughput.manager_selector import BlockIdManagerSelector, ManagerSelector
from parsl.launchers import SimpleLauncher
from parsl.providers import LocalProvider

EXPECTED = {
    "first block": ["0", "0", "0"],
    "second block": ["1", "1", "1"],
    "by block": ["1", "1", "1"],
    "is one": True,
    "told": {
        "kinds": {
            "block_id": "str",
            "start_time": "float",
            "worker_count": "int",
            "max_capacity": "int",
            "active": "bool",
            "draining": "bool",
            "hostname": "str",
            "last_heartbeat": "float",
            "parsl_version": "str",
            "python_version": "str",
        },
        "recent": [True, True, True],
        "counts": [[], 1, 1],
        "states": [True, False],
        "shape": ["dict", "set", "bytes"],
    },
}


@parsl.python_app
def block():
    import os

    return os.environ["PARSL_WORKER_BLOCK_ID"]


def blocks_of_tasks(selector):
    """Where tasks run that come one at a time, when there are two blocks of one worker."""
    executor = HighThroughputExecutor(
        label="htex",
        address="127.0.0.1",
        address_probe_timeout=60,
        max_workers_per_node=1,
        manager_selector=selector,
        provider=LocalProvider(init_blocks=2, max_blocks=2, launcher=SimpleLauncher()),
    )
    with parsl.load(Config(executors=[executor], strategy="none", run_dir="runs")):
        end = time.monotonic() + 60
        while len(executor.connected_managers()) < 2 and time.monotonic() < end:
            time.sleep(0.1)
        return [block().result(timeout=30) for _ in range(3)]


def main():
    told = os.path.abspath("told")
    outcome = {
        "first block": blocks_of_tasks(Sorted("0")),
        "second block": blocks_of_tasks(Noting("1", told)),
        "by block": blocks_of_tasks(BlockIdManagerSelector()),
        "is one": isinstance(BlockIdManagerSelector(), ManagerSelector),
    }
    with open(told) as file:
        outcome["told"] = json.load(file)
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()

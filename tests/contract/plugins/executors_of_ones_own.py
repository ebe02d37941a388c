"""Executors on Parsl's base classes, with the methods that Parsl asks for alone."""

import json
import os
import pickle
import sys
import threading
import time
from concurrent.futures import Future

import parsl
from parsl.config import Config
from parsl.executors.base import ParslExecutor
from parsl.executors.status_handling import BlockProviderExecutor
from parsl.jobs.states import JobState
from parsl.providers import LocalProvider

EXPECTED = {
    "at once": [42, True, True],
    "folder": [[0, 1, 4, 9, 16], "ValueError: of a task"],
    "one that refuses": "PermissionError: not this one",
    "blocks at the start": ["0"],
    "after scaling out": ["0", "1"],
    "states": {"0": "RUNNING", "1": "RUNNING"},
    "jobs of blocks": True,
    "scaled in": [1, "SCALED_IN"],
    "outstanding": 0,
    "told": ["start", "shutdown"],
    "ended": ["SCALED_IN", "SCALED_IN"],
    "failed all": ["BadStateException", True, "RuntimeError: enough"],
}

WORKER = """
import os, pickle, sys, time
folder = sys.argv[1]
while True:
    for name in os.listdir(folder):
        if name.endswith(".task"):
            try:
                os.rename(f"{folder}/{name}", f"{folder}/{name}.taken")
            except OSError:
                continue
            number, args = pickle.load(open(f"{folder}/{name}.taken", "rb"))
            with open(f"{folder}/{number}.part", "wb") as file:
                pickle.dump((False, "ValueError: of a task") if args[0] < 0 else (True, args[0] ** 2), file)
            os.rename(f"{folder}/{number}.part", f"{folder}/{number}.result")
    time.sleep(0.02)
"""


class AtOnce(ParslExecutor):
    def __init__(self):
        super().__init__()
        self.label = "at_once"

    def start(self):
        self.started_in = self.run_dir

    def submit(self, func, resource_specification, *args, **kwargs):
        future = Future()
        future.set_result(func(*args, **kwargs))
        return future

    def shutdown(self):
        self.ended = True


class Folder(BlockProviderExecutor):
    """Its workers look into a folder: they square numbers."""

    def __init__(self, label, provider, **settings):
        super().__init__(provider=provider, block_error_handler=True, **settings)
        self.label = label
        self.told = []
        self.count = 0

    def start(self):
        self.told.append("start")
        self.folder = os.path.join(self.run_dir, self.label)
        os.makedirs(self.folder)
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.collect, daemon=True)
        self.thread.start()

    def submit(self, func, resource_specification, *args, **kwargs):
        if self.bad_state_is_set:
            raise self.executor_exception
        if args and args[0] == 99:
            raise PermissionError("not this one")
        self.count += 1
        future = Future()
        self.tasks[self.count] = future
        with open(f"{self.folder}/{self.count}.new", "wb") as file:
            pickle.dump((self.count, args), file)
        os.rename(f"{self.folder}/{self.count}.new", f"{self.folder}/{self.count}.task")
        return future

    def collect(self):
        while not self.ending.wait(0.02):
            for number in list(self.tasks):
                path = f"{self.folder}/{number}.result"
                if os.path.exists(path):
                    with open(path, "rb") as file:
                        good, value = pickle.load(file)
                    future = self.tasks.pop(number)
                    if good:
                        future.set_result(value)
                    else:
                        future.set_exception(ValueError("of a task"))

    def shutdown(self):
        self.told.append("shutdown")
        self.ending.set()
        self.thread.join()

    def _get_launch_command(self, block_id):
        return f"{sys.executable} -c '{WORKER}' {self.folder}"

    @property
    def outstanding(self):
        return len(self.tasks)

    @property
    def workers_per_node(self):
        return 1


@parsl.python_app(executors=["at_once"])
def whole():
    return 42


@parsl.python_app(executors=["folder"])
def square(x):
    """What the workers do."""


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def words(error):
    return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    said = {}
    at_once = AtOnce()
    folder = Folder("folder", LocalProvider(init_blocks=1, min_blocks=1, max_blocks=2))
    with parsl.load(Config(executors=[at_once, folder], strategy="none", strategy_period=0.2)) as dfk:
        answer = whole().result()
        said["folder"] = [[square(x).result() for x in range(5)], words(square(-1).exception())]
        said["one that refuses"] = words(square(99).exception())
        said["blocks at the start"] = sorted(folder.blocks_to_job_id)
        folder.scale_out_facade(1)
        said["after scaling out"] = sorted(folder.blocks_to_job_id)
        wait_for(lambda: [job.state for job in folder.status_facade.values()] == [JobState.RUNNING] * 2)
        said["states"] = {block: job.status_name for block, job in folder.status().items()}
        said["jobs of blocks"] = {job: block for block, job in folder.blocks_to_job_id.items()} == (
            folder.job_ids_to_block
        )
        (block,) = folder.scale_in_facade(1)
        said["scaled in"] = [1, folder.status_facade[block].status_name]
        said["outstanding"] = folder.outstanding
        at_once_started_in = at_once.started_in == dfk.run_dir
    said["at once"] = [answer, at_once_started_in, at_once.ended]
    said["told"] = folder.told
    said["ended"] = [job.status_name for job in folder.status_facade.values()]

    parsl.clear()
    failing = Folder("folder", LocalProvider(init_blocks=0, max_blocks=0))
    with parsl.load(Config(executors=[failing], strategy="none")):
        waiting = square(2)
        wait_for(lambda: failing.outstanding)
        failing.set_bad_state_and_fail_all(RuntimeError("enough"))
        error = waiting.exception()
        said["failed all"] = [type(error).__name__, failing.bad_state_is_set, words(failing.executor_exception)]
    print(json.dumps(said))

"""Launchers of three arguments, on the base class and on Parsl's own launchers, start the command of a block."""

import json
import os
import time

import parsl
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.launchers import SimpleLauncher, SingleNodeLauncher, SrunLauncher, WrappedLauncher
from parsl.launchers.base import Launcher
from parsl.providers import LocalProvider

EXPECTED = {
    "base": "base",
    "bare": "bare",
    "simple": "simple",
    "single": "single",
    "wrapped": "wrapped",
    "delegating": "delegating",
    "function": "function",
    "debug": [True, False, True],
    "as it is": ["docker run work", "work"],
    "no text": ["TypeError", "TypeError", "TypeError"],
    "of a task": "base",
}


class Base(Launcher):
    def __init__(self, debug: bool = True):
        super().__init__(debug=debug)

    def __call__(self, command, tasks_per_node, nodes_per_block):
        assert (type(tasks_per_node), type(nodes_per_block)) == (int, int)
        return f"export LAUNCHED=base\n{command}\n"


class Bare(Launcher):
    """Without a call of the base class."""

    def __init__(self):
        self.mine = 1

    def __call__(self, command, tasks_per_node, nodes_per_block):
        return f"export LAUNCHED=bare\n{command}"


class Simple(SimpleLauncher):
    def __call__(self, command, tasks_per_node, nodes_per_block):
        return "export LAUNCHED=simple\n" + super().__call__(command, tasks_per_node, nodes_per_block)


class Single(SingleNodeLauncher):
    def __call__(self, command, tasks_per_node, nodes_per_block):
        return super().__call__("export LAUNCHED=single; " + command, tasks_per_node, nodes_per_block)


class Wrapped(WrappedLauncher):
    def __call__(self, command, tasks_per_node, nodes_per_block):
        return super().__call__(command, tasks_per_node, nodes_per_block)


class Delegating(Launcher):
    def __init__(self, inner):
        super().__init__(debug=False)
        self.inner = inner

    def __call__(self, command, tasks_per_node, nodes_per_block):
        return "export LAUNCHED=delegating\n" + self.inner(command, tasks_per_node, nodes_per_block)


class Srun(SrunLauncher):
    def __call__(self, command, tasks_per_node, nodes_per_block):
        return super().__call__(command, tasks_per_node, nodes_per_block)


class Odd(Launcher):
    def __init__(self, text):
        super().__init__()
        self.text = text

    def __call__(self, command, tasks_per_node, nodes_per_block):
        return self.text


def function(command, tasks_per_node, nodes_per_block):
    return f"export LAUNCHED=function\n{command}"


def error_of(text):
    provider = LocalProvider(launcher=Odd(text))
    provider.script_dir = os.getcwd()
    try:
        provider.submit("work", 1, "odd")
    except Exception as error:
        return type(error).__name__


@parsl.python_app
def launched():
    import os

    return os.environ.get("LAUNCHED")


def of_a_block(name, launcher):
    """What the command of a block finds, when a program asks a provider by itself."""
    provider = LocalProvider(launcher=launcher, init_blocks=0, max_blocks=1)
    provider.script_dir = os.path.abspath(name)
    os.makedirs(provider.script_dir, exist_ok=True)
    said = os.path.join(provider.script_dir, "said")
    job = provider.submit(f'/bin/sh -c "echo \\$LAUNCHED > {said}.part && mv {said}.part {said}"', 1, name)
    end = time.monotonic() + 30
    while not os.path.exists(said) and time.monotonic() < end:
        time.sleep(0.05)
    provider.cancel([job])
    with open(said) as file:
        return file.read().strip()


def main():
    launchers = {
        "base": Base(),
        "bare": Bare(),
        "simple": Simple(),
        "single": Single(),
        "wrapped": Wrapped(prepend="env LAUNCHED=wrapped"),
        "delegating": Delegating(SimpleLauncher(debug=False)),
        "function": function,
    }
    outcome = {name: of_a_block(name, launcher) for name, launcher in launchers.items()}
    outcome["debug"] = [Base().debug, Base(False).debug, Srun().debug]
    outcome["as it is"] = [WrappedLauncher("docker run")("work", 1, 1), SimpleLauncher()("work", 1, 1)]
    outcome["no text"] = [error_of(text) for text in (None, b"work", ["work"])]
    executor = HighThroughputExecutor(
        label="htex",
        address="127.0.0.1",
        address_probe_timeout=60,
        max_workers_per_node=1,
        provider=LocalProvider(launcher=Base(), init_blocks=1, max_blocks=1),
    )
    with parsl.load(Config(executors=[executor], strategy="none", run_dir="runs")):
        outcome["of a task"] = launched().result(timeout=60)
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()

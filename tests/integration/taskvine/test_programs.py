"""Programs that were written for Parsl's TaskVineExecutor run after the name in their imports was replaced."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REGULAR = """
import parsl
from parsl import bash_app, python_app
from parsl.config import Config
from parsl.data_provider.files import File
from parsl.executors.taskvine import TaskVineExecutor, TaskVineFactoryConfig, TaskVineManagerConfig


@python_app
def count(inputs=(), parsl_resource_specification={}):
    with open(inputs[0].filepath) as file:
        return len(file.read().split())


@bash_app
def join(inputs=(), outputs=(), stdout="join.out", stderr=parsl.AUTO_LOGNAME):
    return f"cat {inputs[0]} {inputs[1]} > {outputs[0]}; echo joined"


@python_app
def fail():
    raise ValueError("an app's own error")


config = Config(
    executors=[
        TaskVineExecutor(
            label="parsl-vine-example",
            worker_launch_method="factory",
            function_exec_mode="regular",
            manager_config=TaskVineManagerConfig(project_name="taskvine_default", max_retries=2),
            factory_config=TaskVineFactoryConfig(min_workers=1, max_workers=1, cores=2, worker_timeout=60),
        )
    ]
)

if __name__ == "__main__":
    with open("a.txt", "w") as file:
        file.write("one two ")
    with open("b.txt", "w") as file:
        file.write("three")
    with parsl.load(config):
        joined = join(inputs=[File("a.txt"), File("b.txt")], outputs=[File("joined/c.txt")])
        spec = {"cores": 1, "memory": 100, "disk": 50, "priority": 2, "category": "small", "running_time_min": 1}
        words = count(inputs=[joined.outputs[0]], parsl_resource_specification=spec)
        print("words", words.result())
        with open("join.out") as file:
            print(file.read().strip())
        try:
            fail().result()
        except ValueError as error:
            print("failed:", error)
"""

SERVERLESS = """
import os

import parsl
from parsl import python_app
from parsl.config import Config
from parsl.executors.taskvine.errors import TaskVineTaskFailure
from parsl.executors.taskvine.executor import TaskVineExecutor
from parsl.executors.taskvine.factory_config import TaskVineFactoryConfig
from parsl.executors.taskvine.manager_config import TaskVineManagerConfig


@python_app
def where():
    import os

    return os.getcwd(), os.getppid()


@python_app
def square(x):
    return x * x


@python_app
def leave():
    import os

    os._exit(3)


manager_config = TaskVineManagerConfig(
    port=9123, shared_fs=True, library_config={"num_slots": 2, "cores": 2}, vine_log_dir="vine-logs"
)
executor = TaskVineExecutor(
    function_exec_mode="serverless",
    manager_config=manager_config,
    factory_config=TaskVineFactoryConfig(cores=2, batch_type="local", factory_timeout=60),
)

if __name__ == "__main__":
    with parsl.load(Config(executors=[executor], retries=0)):
        print("sum", sum(future.result() for future in [square(x) for x in range(100)]))
        print("libraries", len({where().result()[1] for _ in range(5)}))
        try:
            leave().result()
        except TaskVineTaskFailure as error:
            print("failed:", type(error.status).__name__)
        print("logs", os.path.isdir("vine-logs"))
"""


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (REGULAR, "words 3\njoined\nfailed: an app's own error\n"),
        (SERVERLESS, "sum 328350\nlibraries 1\nfailed: int\nlogs True\n"),
    ],
    ids=["regular", "serverless"],
)
def test_a_program_with_its_imports_replaced(program: str, said: str, tmp_path: Path) -> None:
    text = program.replace("import parsl\n", "import trellis as parsl\n").replace("from parsl", "from trellis")
    (tmp_path / "program.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (done.stdout, done.returncode) == (said, 0), done.stderr

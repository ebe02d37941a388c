"""Apps that speak of Parsl, wherever they run; workers know nothing of it until a task does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

import trellis
from tests.integration.as_parsl import REAL, environment, run

PROGRAM = """
    import json, sys
    import parsl
    from parsl import bash_app, join_app, python_app
    from parsl.config import Config
    from parsl.data_provider.files import File
    from parsl.executors import HighThroughputExecutor, TaskVineExecutor, ThreadPoolExecutor
    from parsl.executors.taskvine import TaskVineFactoryConfig, TaskVineManagerConfig
    from parsl.launchers import SimpleLauncher
    from parsl.providers import LocalProvider

    @python_app
    def modules():
        import sys
        return [name for name in sys.modules if name.startswith(("parsl", "trellis.as_parsl"))]

    @python_app
    def who(file):
        import subprocess, sys
        import parsl
        from parsl.app.errors import AppTimeout
        from parsl.data_provider.files import File
        code = "import parsl.config; print(parsl.__name__)"
        child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        return [parsl.__name__, AppTimeout.__module__, isinstance(file, File), child.stdout + child.stderr]

    @python_app
    def spawned():
        import multiprocessing, os
        context = multiprocessing.get_context("spawn")
        with context.Pool(1) as pool:
            return pool.apply(eval, ("__import__('parsl').__name__",))

    @python_app
    def gives_a_class():
        from parsl.app.errors import AppTimeout
        return AppTimeout, AppTimeout("late")

    @bash_app
    def shell(stdout=None):
        import sys
        return f"exec {sys.executable} -c 'from parsl.version import VERSION; import parsl; print(parsl.__name__)'"

    @join_app
    def joined():
        import parsl
        return [who(parsl.File("/x")), who(File("/y"))]

    with parsl.load(Config(executors=[EXECUTOR])):
        before = modules().result()
        results = [who(File("/x")).result(), *joined().result()]
        kind, error = gives_a_class().result()
        assert kind is parsl.app.errors.AppTimeout and type(error) is kind
        shell(stdout="shell.out").result()
        print(json.dumps([before, results, spawned().result() if SPAWNS else "trellis", open("shell.out").read()]))
"""
# As a batch system does that passes no environment, on a host where the real Parsl is installed.
LOST = "unset TRELLIS_AS_PARSL; export PYTHONPATH={directory}:{source}"
HTEX = "HighThroughputExecutor(max_workers_per_node=1, provider=LocalProvider(worker_init='{init}'))"
VINE = "TaskVineExecutor(manager_config=TaskVineManagerConfig({manager}), function_exec_mode={mode!r}{more})"
EXECUTORS = {
    "threads": "ThreadPoolExecutor()",
    "htex": HTEX.format(init="true"),
    "htex without environment": HTEX.format(init=LOST),
    "vine regular": VINE.format(manager="", mode="regular", more=""),
    "vine fork": VINE.format(manager="library_config={'exec_mode': 'fork'}", mode="serverless", more=""),
    "vine direct": VINE.format(manager="library_config={'exec_mode': 'direct'}", mode="serverless", more=""),
    "vine without environment": VINE.format(
        manager="",
        mode="regular",
        more=", worker_launch_method='provider', provider=LocalProvider(worker_init='{init}')",
    ).replace("{init}", LOST),
}


@pytest.mark.parametrize("executor", EXECUTORS)
def test_apps_find_trellis_by_parsls_name(executor: str, tmp_path: Path) -> None:
    (tmp_path / "parsl.py").write_text(REAL)
    work = tmp_path / "work"
    work.mkdir()
    text = EXECUTORS[executor].replace("{directory}", str(tmp_path))
    text = text.replace("{source}", str(Path(trellis.__file__).parents[1]))
    spawns = executor != "threads"
    before, results, spawned, shell = json.loads(
        run(PROGRAM.replace("EXECUTOR", text).replace("SPAWNS", str(spawns)), work)
    )
    assert results == [["trellis", "trellis.errors", True, "trellis\n"]] * 3
    assert (spawned, shell) == ("trellis", "trellis\n")
    if executor != "threads":
        assert before == []


def test_a_worker_without_the_alias_has_nothing_of_it(tmp_path: Path) -> None:
    program = """
        import os, sys
        import trellis

        @trellis.python_app
        def sees():
            return [path for path in (*sys.path, os.environ.get("PYTHONPATH", "")) if "as_parsl" in path]

        with trellis.load(trellis.Config(executors=[trellis.HighThroughputExecutor(max_workers_per_node=1)])):
            print(sees().result())
    """
    (tmp_path / "program.py").write_text(dedent(program))
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_workers_that_are_there_before_it_is_turned_on(tmp_path: Path) -> None:
    program = """
        import os, sys
        import trellis
        from trellis.executors import HighThroughputExecutor
        from trellis.providers import LocalProvider

        @trellis.python_app
        def who():
            import parsl.config
            return parsl.__name__

        provider = LocalProvider(worker_init="export PYTHONPATH=DIRECTORY")
        executor = HighThroughputExecutor(max_workers_per_node=1, provider=provider)
        with trellis.load(trellis.Config(executors=[executor])):
            print(type(who().exception()).__name__)
            import trellis.as_parsl
            print(who().result())
    """
    import trellis

    (tmp_path / "parsl.py").write_text(REAL)
    source = f"{tmp_path}{os.pathsep}{Path(trellis.__file__).parents[1]}"
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "program.py").write_text(dedent(program).replace("DIRECTORY", source))
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=tmp_path / "work",
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "AssertionError\ntrellis\n"), done.stderr

"""Programs that run on Slurm: one block, several nodes, more and fewer blocks, parts of nodes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import trellis
from tests.real.bed import ROOT
from tests.real.programs import Load, wait_for
from tests.real.slurm import cluster


@trellis.python_app
def node_of(number: int, seconds: float = 0.0) -> tuple[int, str]:
    import os
    import time

    time.sleep(seconds)
    return number, os.environ["SLURMD_NODENAME"]


@pytest.mark.parametrize("document", ["README.md", "docs/slurm.md"])
def test_the_documents_lines_reach_slurm(document: str, tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)
    (last,) = [i for i, block in enumerate(blocks) if "slurm = SlurmProvider(" in block]
    lines = "\n".join(blocks[: last + 1])
    program = tmp_path / "program.py"
    program.write_text(f"""{lines}
import trellis

@trellis.python_app
def hello() -> str:
    import os
    return "hello from node " + os.environ["SLURMD_NODENAME"]

with trellis.load(config):
    print(hello().result())
""")
    done = subprocess.run(
        [sys.executable, program.name], cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] in ("hello from node n1", "hello from node n2")


def test_tasks_run_on_all_nodes_of_a_block(load: Load) -> None:
    from trellis.launchers import SrunLauncher

    htex = load(nodes_per_block=2, launcher=SrunLauncher())
    results = [future.result(timeout=90) for future in [node_of(i, 0.05) for i in range(200)]]
    assert [number for number, _ in results] == list(range(200))
    count = Counter(node for _, node in results)
    assert set(count) == {"n1", "n2"}
    assert sum(count.values()) == 200
    assert [manager["worker_count"] for manager in htex.connected_managers()] == [2, 2]
    assert htex.connected_blocks() == ["0"]


@trellis.python_app
def variable(name: str) -> str | None:
    import os

    return os.environ.get(name)


def test_a_job_without_the_programs_environment_has_what_worker_init_sets(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trellis.launchers import SrunLauncher

    monkeypatch.setenv("OF_THE_PROGRAM", "1")
    load(scheduler_options="#SBATCH --export=NONE", launcher=SrunLauncher(), worker_init="export COLOUR=blue")
    assert variable("COLOUR").result(timeout=60) == "blue"
    assert variable("OF_THE_PROGRAM").result(timeout=60) is None


def test_blocks_come_with_the_work_and_go_with_it(load: Load) -> None:
    htex = load(init_blocks=0, max_blocks=2, config={"strategy": "htex_auto_scale", "max_idletime": 1.5})
    assert cluster.jobs() == {}
    futures = [node_of(i, 0.5) for i in range(40)]
    wait_for("two jobs run", lambda: len(cluster.running()) == 2)
    long = node_of(40, 12.0)
    assert {future.result(timeout=90)[1] for future in futures} == {"n1", "n2"}
    # The block without work goes while the other one works on.
    wait_for("one job is left", lambda: len(cluster.jobs()) == 1)
    assert not long.done()
    assert long.result(timeout=60)[0] == 40
    wait_for("no job is left", lambda: not cluster.jobs())
    # And they come again.
    assert node_of(41).result(timeout=60)[0] == 41
    assert len(htex.status()) == 3


@pytest.mark.parametrize("cores", [None, 1])
def test_a_job_with_a_part_of_a_node_has_workers_for_that_part(load: Load, cores: int | None) -> None:
    htex = load(exclusive=False, cores_per_node=cores, init_blocks=2, max_blocks=2)
    futures = [node_of(i, 1.0) for i in range(4)]
    assert {future.result(timeout=60)[0] for future in futures} == {0, 1, 2, 3}
    wait_for("both blocks have come", lambda: len(htex.connected_managers()) == 2)
    assert [manager["worker_count"] for manager in htex.connected_managers()] == [1, 1]

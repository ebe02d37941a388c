"""Providers for batch systems as users write and change them; the commands of Slurm are played."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.providers.runner import Stage
from trellis.core.jobs import JobState, JobStatus
from trellis.errors import SchedulerMissingArgs, ScriptPathError
from trellis.providers import GridEngineProvider, SlurmProvider
from trellis.providers.cluster_provider import ClusterProvider
from trellis.providers.command import CommandTimeout

ANSWERS = {"sbatch": "Submitted batch job 7\n", "squeue": "7|RUNNING|None\n", "scancel": ""}


class Mine(ClusterProvider):
    asked = 0

    def __init__(self) -> None:
        super().__init__("mine", 1, 1, 0, 1, 1, "1h", None)

    def submit(self, command: str, tasks_per_node: int, job_name: str = "parsl.auto") -> int:
        self.resources[3] = {"status": JobStatus(JobState.PENDING)}
        return 3

    def _status(self) -> None:
        self.asked += 1
        self.resources[3]["status"] = JobStatus(JobState.RUNNING)

    def cancel(self, job_ids: list[Any]) -> list[bool]:
        return [True for _ in job_ids]

    @property
    def status_polling_interval(self) -> float:
        return 1


def test_jobs_are_asked_for_when_there_are_some() -> None:
    provider = Mine()
    assert (provider.label, provider.walltime, provider.cmd_timeout, provider.script_dir) == ("mine", "1h", 10, None)
    assert provider.status([]) == []
    assert provider.asked == 0
    assert provider.status([provider.submit("run", 1)])[0].state is JobState.RUNNING


def test_a_script_is_made_of_its_template(tmp_path: Path) -> None:
    provider = Mine()
    provider._write_submit_script("$jobname: ${text} $$HOME\n", str(tmp_path / "s"), "job", {"text": "run", "more": 1})
    assert (tmp_path / "s").read_text() == "job: run $HOME\n"
    with pytest.raises(SchedulerMissingArgs, match="mine needs text"):
        provider._write_submit_script("${text}", str(tmp_path / "s"), "job", {})
    with pytest.raises(ScriptPathError):
        provider._write_submit_script("", str(tmp_path / "no" / "s"), "job", {})


def test_commands_run_as_long_as_they_may() -> None:
    provider = Mine()
    assert provider.execute_wait("echo out; echo err >&2; exit 3") == (3, "out\n", "err\n")
    provider.cmd_timeout = 0.1
    with pytest.raises(CommandTimeout, match=r"has not ended after 0\.1 s"):
        provider.execute_wait("sleep 20")
    assert provider.execute_wait("true", timeout=20)[0] == 0


# -- subclasses of Trellis's own ---------------------------------------------------------------------------------


class ByWayOf(SlurmProvider):
    """Runs the commands on another host."""

    said: tuple[str, ...] = ()

    def execute_wait(self, cmd: str, timeout: float | None = None) -> tuple[int, str, str]:
        self.said = (*self.said, cmd)
        return super().execute_wait(f"echo {cmd} | tail -n 1 >&2; echo Submitted batch job 9", timeout)


def test_a_subclass_that_changes_how_commands_run_changes_all_of_them(tmp_path: Path) -> None:
    provider = ByWayOf()
    provider.script_dir = str(tmp_path)
    assert provider.submit("run", 1, "it's") == "9"
    (script,) = tmp_path.glob("*.sh")
    assert provider.said == (f"sbatch {script}",)
    assert provider.resources["9"]["status"].state is JobState.PENDING
    assert provider.resources["9"]["job_stdout_path"] == f"{script}.out"
    assert isinstance(provider, ClusterProvider)
    provider._orphans.forget("9")


class Corrected(SlurmProvider):
    def _status(self) -> None:
        super()._status()
        for entry in self.resources.values():
            if entry["status"].state is JobState.RUNNING:
                entry["status"] = JobStatus(JobState.HELD, "says the subclass")


def test_a_subclass_that_changes_the_look_at_jobs_is_believed(tmp_path: Path) -> None:
    it = Stage(Corrected, tmp_path, answers=ANSWERS)
    job_id = it.provider.submit("run", 1)
    status = it.provider.status([job_id])[0]
    assert (status.state, status.message) == (JobState.HELD, "says the subclass")


class OfItsOwn(SlurmProvider):
    """Submits in its own way, and leaves the rest to the base."""

    def submit(self, command: str, tasks_per_node: int, job_name: str = "parsl.slurm") -> str:
        self.resources["7"] = {"job_id": "7", "status": JobStatus(JobState.PENDING)}
        return "7"


def test_jobs_that_a_subclass_has_submitted_itself_are_looked_at_and_cancelled(tmp_path: Path) -> None:
    it = Stage(OfItsOwn, tmp_path, answers=ANSWERS)
    assert it.provider.submit("run", 1) == "7"
    assert it.provider.status(["7"])[0].state is JobState.RUNNING
    assert it.provider.resources["7"]["status"].state is JobState.RUNNING
    assert it.provider.cancel(["7"]) == [True]
    assert len(it.runner.asked("scancel")) == 1


class Configured(GridEngineProvider):
    def get_configs(self, command: str, tasks_per_node: int) -> dict[str, Any]:
        configs = super().get_configs(command, tasks_per_node)
        configs["user_script"] = f"echo before\n{configs['user_script']}"
        configs["scheduler_options"] += "#$ -P project"
        configs["worker_init"] += "module load mine"
        return configs


def test_a_subclass_changes_what_grid_engines_script_is_made_of(tmp_path: Path) -> None:
    answer = 'Your job 5 ("x") has been submitted\n'
    it = Stage(Configured, tmp_path, answers={"qsub": answer}, worker_init="export A=1", scheduler_options="#$ -V")
    assert it.provider.submit("run me", 1) == "5"
    (script,) = tmp_path.glob("*.sh")
    lines = script.read_text().splitlines()
    assert {"#$ -V", "#$ -P project", "export A=1", "module load mine", "echo before"} <= set(lines)


def test_an_override_that_nothing_calls_is_told_of() -> None:
    class Templated(SlurmProvider):
        def _write_submit_script(self, *args: Any) -> None: ...

    with pytest.warns(UserWarning, match="Templated overrides _write_submit_script, which only a submit"):
        Templated()


# -- what programs set afterwards ----------------------------------------------------------------------------------


def test_what_is_set_after_construction_counts(tmp_path: Path) -> None:
    it = Stage(
        SlurmProvider, tmp_path, answers=ANSWERS, worker_init="module load gcc", scheduler_options="#SBATCH -A a"
    )
    provider = it.provider
    provider.worker_init += "export A=1"
    provider.scheduler_options += "#SBATCH --requeue"
    provider.walltime = "02:00:00"
    provider.launcher = lambda command, tasks_per_node, nodes_per_block: f"launched {command}"
    provider.submit("run", 1)
    (script,) = tmp_path.glob("*.sh")
    lines = script.read_text().splitlines()
    assert {"module load gcc", "export A=1", "#SBATCH -A a", "#SBATCH --requeue", "launched run"} <= set(lines)
    assert "#SBATCH --time=02:00:00" in lines
    assert provider.walltime_s == 7200

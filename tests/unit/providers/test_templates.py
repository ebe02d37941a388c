"""Texts of jobs, as providers on ``ClusterProvider`` of users' own fill them in."""

from __future__ import annotations

import string
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from trellis.errors import SchedulerMissingArgs
from trellis.jobs.states import JobState, JobStatus
from trellis.launchers import SimpleLauncher
from trellis.providers.cluster_provider import ClusterProvider

COMMON = {"scheduler_options": "#XX own", "worker_init": "export A=1", "user_script": "echo $A $JOBNAME"}
FOLDER = {"submit_script_dir": "/scripts"}
OUTPUT = {"job_stdout_path": "/out", "job_stderr_path": "/err"}
SYSTEMS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "slurm": (
        {**COMMON, **OUTPUT, "nodes": 2, "tasks_per_node": 3, "walltime": 10},
        ["#SBATCH -J job", "#SBATCH -N 2", "#SBATCH --ntasks-per-node=3", "#SBATCH -t 10", "#SBATCH -o /out"],
    ),
    "pbspro": (
        {**COMMON, **OUTPUT, "nodes_per_block": 2, "ncpus": 4, "select_options": ":ngpus=1", "walltime": "1:0:0"},
        ["#PBS -N job", "#PBS -l select=2:ncpus=4:ngpus=1", "#PBS -l walltime=1:0:0", "#PBS -e /err"],
    ),
    "torque": (
        {**COMMON, **FOLDER, "nodes_per_block": 2, "tasks_per_node": 3, "walltime": "1:0:0"},
        ["#PBS -N job", "#PBS -l nodes=2:ppn=3", "#PBS -o /scripts/job.submit.stdout"],
    ),
    "lsf": ({**COMMON, **FOLDER, "walltime": 10}, ["#BSUB -J job", "#BSUB -W 10"]),
    "grid_engine": ({**COMMON, **FOLDER, "walltime": "1:0:0"}, ["#$ -S /bin/bash", "#$ -l h_rt=1:0:0"]),
}


class Own(ClusterProvider):
    def __init__(self) -> None:
        super().__init__("own", 1, 1, 0, 1, 1, "00:10:00", SimpleLauncher())

    def submit(self, command: str, tasks_per_node: int, job_name: str = "job") -> str:
        raise NotImplementedError

    def cancel(self, job_ids: list[Any]) -> list[bool]:
        raise NotImplementedError

    def _status(self) -> None:
        self.resources = {"1": {"status": JobStatus}}

    @property
    def status_polling_interval(self) -> int:
        return 60


def template(system: str) -> str:
    text: str = import_module(f"trellis.providers.{system}.template").template_string
    return text


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_script_runs_the_command_with_what_was_asked_for(system: str, tmp_path: Path) -> None:
    given, lines = SYSTEMS[system]
    script = tmp_path / "job.sh"
    Own()._write_submit_script(template(system), str(script), "job", given)
    assert set(lines) <= set(script.read_text().splitlines())
    assert "#XX own" in script.read_text()
    done = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("1 job\n", "")


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_is_not_given_is_named(system: str, tmp_path: Path) -> None:
    given = {name: value for name, value in SYSTEMS[system][0].items() if name != "walltime"}
    with pytest.raises(SchedulerMissingArgs, match="walltime"):
        Own()._write_submit_script(template(system), str(tmp_path / "job.sh"), "job", given)


def test_a_description_for_condor() -> None:
    given = {"job_name": "job", "nodes": 1, "requirements": "", "job_script": "job.sh", "input_files": "a,b"}
    rest = {"environment": "A=1", "submit_script_dir": "/scripts", "project": "p", "scheduler_options": "+own = 1"}
    lines = string.Template(template("condor")).substitute(given | rest).splitlines()
    expected = {"arguments = job.sh", 'environment = "A=1"', "output = /scripts/job.stdout", "+own = 1", "queue"}
    assert expected <= set(lines)


@pytest.mark.parametrize(
    ("table", "said", "state"),
    [
        ("condor.condor.translate_table", "2", JobState.RUNNING),
        ("lsf.lsf.translate_table", "PEND", JobState.PENDING),
        ("slurm.slurm.sacct_translate_table", "TIMEOUT", JobState.TIMEOUT),
        ("slurm.slurm.squeue_translate_table", "CG", JobState.RUNNING),
        ("torque.torque.translate_table", "C", JobState.COMPLETED),
        ("torque.torque.translate_table", "Q", JobState.PENDING),
    ],
)
def test_states_have_the_names_of_their_systems(table: str, said: str, state: JobState) -> None:
    module, _, name = table.rpartition(".")
    states: dict[str, JobState] = getattr(import_module(f"trellis.providers.{module}"), name)
    assert states[said] is state

"""Each parameter of each provider for a batch system does something: a test for each one, and none without a test."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.providers.runner import Answer, Stage
from trellis.errors import BadLauncher, ConfigurationError, ParameterTypeError
from trellis.launchers import AprunLauncher, SimpleLauncher, SingleNodeLauncher, WrappedLauncher
from trellis.providers import (
    BatchProvider,
    CondorProvider,
    GridEngineProvider,
    LSFProvider,
    PBSProProvider,
    SlurmProvider,
    TorqueProvider,
)

ANSWERS: dict[type[BatchProvider], dict[str, Answer]] = {
    CondorProvider: {"condor_submit": "1 job(s) submitted to cluster 7.", "condor_q": ""},
    GridEngineProvider: {"qsub": 'Your job 7 ("x") has been submitted', "qstat": ""},
    LSFProvider: {"bsub": "Job <7> is submitted to queue <normal>.", "/bin/sh": "Job <7> is submitted."},
    PBSProProvider: {"qsub": "7.server", "qstat": ""},
    SlurmProvider: {"sbatch": "Submitted batch job 7", "squeue": "7|RUNNING|None\n8|RUNNING|None\n"},
    TorqueProvider: {"qsub": "7.server", "qstat": ""},
}


def stage(provider: type[BatchProvider], directory: Path, **settings: Any) -> Stage:
    return Stage(provider, directory, answers=dict(ANSWERS[provider]), **settings)


def script(provider: type[BatchProvider], directory: Path, tasks_per_node: int = 1, **settings: Any) -> str:
    """All that is written when a job is submitted with these settings."""
    it = stage(provider, directory, **settings)
    it.provider.submit("run me", tasks_per_node, "job")
    return it.scripts()


# What each parameter adds to the script. Of a set, each line has to be there with the parameter, and not without it.
Lines = set[str]
IN_SCRIPT: dict[type[BatchProvider], dict[str, tuple[Any, Lines]]] = {
    CondorProvider: {
        "nodes_per_block": (2, {"machine_count = 2", "universe = parallel"}),
        "cores_per_slot": (4, {"request_cpus = 4", "export PARSL_CORES=4"}),
        "mem_per_slot": (1.5, {"request_memory = 1536MB", "export PARSL_MEMORY_GB=1.5"}),
        "environment": ({"A": "b c"}, {"environment = \"A='b c'\""}),
        "project": ("physics", {'+ProjectName = "physics"'}),
        "scheduler_options": ("+Extra = 1", {"+Extra = 1"}),
        "transfer_input_files": (["a", "b"], {"transfer_input_files = a, b"}),
        "walltime": (
            "01:00:00",
            {"periodic_remove = (JobStatus == 2) && (time() - EnteredCurrentStatus > 3600)"},
        ),
        "worker_init": ("module load x", {"module load x"}),
        "requirements": ("Memory > 100", {"requirements = Memory > 100"}),
        "launcher": (WrappedLauncher("nice", debug=False), {"nice run me"}),
    },
    GridEngineProvider: {
        "walltime": ("1-00:00:00", {"#$ -l h_rt=24:00:00"}),
        "scheduler_options": ("#$ -l h_vmem=4G", {"#$ -l h_vmem=4G"}),
        "worker_init": ("module load x", {"module load x"}),
        "launcher": (WrappedLauncher("nice", debug=False), {"nice run me"}),
        "queue": ("long.q", {"#$ -q long.q"}),
    },
    LSFProvider: {
        "nodes_per_block": (3, {"#BSUB -nnodes 3"}),
        "walltime": ("01:00:01", {"#BSUB -W 01:01"}),
        "scheduler_options": ("#BSUB -x", {"#BSUB -x"}),
        "worker_init": ("module load x", {"module load x"}),
        "project": ("physics", {"#BSUB -P physics"}),
        "queue": ("long", {"#BSUB -q long"}),
        "launcher": (WrappedLauncher("nice", debug=False), {"nice run me"}),
    },
    PBSProProvider: {
        "account": ("physics", {"#PBS -A physics"}),
        "queue": ("long", {"#PBS -q long"}),
        "scheduler_options": ("#PBS -l place=scatter", {"#PBS -l place=scatter"}),
        "select_options": ("ngpus=4", {"#PBS -l select=1:ncpus=1:ngpus=4"}),
        "worker_init": ("module load x", {"module load x"}),
        "nodes_per_block": (3, {"#PBS -l select=3:ncpus=1"}),
        "cpus_per_node": (16, {"#PBS -l select=1:ncpus=16"}),
        "launcher": (WrappedLauncher("nice", debug=False), {"nice run me"}),
        "walltime": ("01:00:00", {"#PBS -l walltime=01:00:00"}),
    },
    SlurmProvider: {
        "partition": ("long", {"#SBATCH --partition=long"}),
        "account": ("physics", {"#SBATCH --account=physics"}),
        "qos": ("high", {"#SBATCH --qos=high"}),
        "constraint": ("skx&ib", {'#SBATCH --constraint="skx&ib"'}),
        "clusters": ("big", {"#SBATCH --clusters=big"}),
        "nodes_per_block": (3, {"#SBATCH --nodes=3"}),
        "cores_per_node": (
            4,
            {"#SBATCH --cpus-per-task=4", "export PARSL_CORES=4", "export SRUN_CPUS_PER_TASK=4"},
        ),
        "mem_per_node": (1.5, {"#SBATCH --mem=1536M", "export PARSL_MEMORY_GB=1.5"}),
        "walltime": ("2-00:00:00", {"#SBATCH --time=48:00:00"}),
        "scheduler_options": ("#SBATCH --reservation=x", {"#SBATCH --reservation=x"}),
        "worker_init": ("module load x", {"module load x"}),
        "launcher": (WrappedLauncher("nice", debug=False), {"nice run me"}),
        "gpus_per_node": ("a100:2", {"#SBATCH --gpus-per-node=a100:2"}),
        "gres": ("tmp:100G", {"#SBATCH --gres=tmp:100G"}),
    },
    TorqueProvider: {
        "account": ("physics", {"#PBS -A physics"}),
        "queue": ("long", {"#PBS -q long"}),
        "scheduler_options": ("#PBS -l mem=4gb", {"#PBS -l mem=4gb"}),
        "worker_init": ("module load x", {"module load x"}),
        "nodes_per_block": (3, {"#PBS -l nodes=3:ppn=1"}),
        "launcher": (WrappedLauncher("nice", debug=False), {"nice run me"}),
        "walltime": ("01:00:00", {"#PBS -l walltime=01:00:00"}),
    },
}
# Tested one by one below, or the same for all.
ELSEWHERE: dict[type[BatchProvider], set[str]] = {
    CondorProvider: {"cmd_chunk_size"},
    GridEngineProvider: {"nodes_per_block"},
    LSFProvider: {"cores_per_block", "cores_per_node", "bsub_redirection", "request_by_nodes"},
    PBSProProvider: set(),
    SlurmProvider: {"regex_job_id", "exclusive", "status_batch_size"},
    TorqueProvider: {"label"},
}
FOR_ALL = {"init_blocks", "min_blocks", "max_blocks", "parallelism", "cmd_timeout"}

CASES = [(provider, name) for provider, names in IN_SCRIPT.items() for name in names]


def test_every_parameter_has_a_test() -> None:
    for provider in ANSWERS:
        tested = set(IN_SCRIPT[provider]) | ELSEWHERE[provider] | FOR_ALL
        assert set(inspect.signature(provider).parameters) == tested, provider


@pytest.mark.parametrize(("provider", "name"), CASES)
def test_parameters_of_the_script(tmp_path: Path, provider: type[BatchProvider], name: str) -> None:
    value, lines = IN_SCRIPT[provider][name]
    for directory in ("with", "without"):
        (tmp_path / directory).mkdir()
    assert lines <= set(script(provider, tmp_path / "with", **{name: value}).splitlines())
    assert lines.isdisjoint(script(provider, tmp_path / "without").splitlines())


@pytest.mark.parametrize("provider", ANSWERS)
def test_parameters_that_the_controller_of_blocks_reads(provider: type[BatchProvider]) -> None:
    made: Any = provider(init_blocks=2, min_blocks=1, max_blocks=5, parallelism=0.5)
    assert (made.init_blocks, made.min_blocks, made.max_blocks, made.parallelism) == (2, 1, 5, 0.5)
    default: Any = provider()
    assert (default.init_blocks, default.min_blocks, default.max_blocks, default.parallelism) == (1, 0, 1, 1)


@pytest.mark.parametrize("provider", ANSWERS)
def test_commands_may_take_so_long(tmp_path: Path, provider: type[BatchProvider]) -> None:
    it = stage(provider, tmp_path, cmd_timeout=7)
    it.provider.submit("x", 1)
    assert it.runner.timeouts == [7]


@pytest.mark.parametrize("provider", ANSWERS)
def test_the_walltime_is_told_in_seconds(provider: type[BatchProvider]) -> None:
    made: Any = provider(walltime="1-01:00:00")
    assert made.walltime_s == 90_000


DEFAULTS = {
    CondorProvider: (60, 600, SingleNodeLauncher),
    GridEngineProvider: (60, 600, SingleNodeLauncher),
    LSFProvider: (120, 600, SingleNodeLauncher),
    PBSProProvider: (120, 1200, SingleNodeLauncher),
    SlurmProvider: (10, 600, SingleNodeLauncher),
    TorqueProvider: (120, 1200, AprunLauncher),
}


@pytest.mark.parametrize("provider", ANSWERS)
def test_defaults_that_differ(provider: type[BatchProvider]) -> None:
    made: Any = provider()
    assert (made.cmd_timeout, made.walltime_s, type(made.launcher)) == DEFAULTS[provider]


# -- one by one ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "options", "seconds"),
    [
        (SlurmProvider, "#SBATCH --time=30", 1800),
        (SlurmProvider, "#SBATCH --mem=1G -t 2:30", 150),
        (SlurmProvider, "#SBATCH --time=1:00:00\n#SBATCH --time 2-12", 60 * 3600),
        (SlurmProvider, "#SBATCH --time=1-00:30", 24 * 3600 + 1800),
        (SlurmProvider, "#SBATCH --time-min=5", 600),
        (SlurmProvider, "#SBATCH --time=UNLIMITED", 600),
        (PBSProProvider, "#PBS -l mem=4gb,walltime=01:30:00", 5400),
        (TorqueProvider, "#PBS -l walltime=90", 90),
        (GridEngineProvider, "#$ -l h_vmem=4G,h_rt=7200", 7200),
        (GridEngineProvider, "#$ -l h_rt=0:30:0", 1800),
        (LSFProvider, "#BSUB -W 90", 5400),
        (LSFProvider, "#BSUB -W 1:30/hostA", 5400),
        (LSFProvider, "", 600),
    ],
)
def test_a_walltime_among_the_users_own_options_is_known(
    provider: type[BatchProvider], options: str, seconds: int
) -> None:
    made: Any = provider
    assert made(walltime="00:10:00", scheduler_options=options).walltime_s == seconds


@pytest.mark.parametrize(
    ("provider", "lines"),
    [
        (GridEngineProvider, ['#$ -o "/dev/null"', '#$ -e "/dev/null"']),
        (PBSProProvider, ["#PBS -o /dev/null"]),
        (TorqueProvider, ["#PBS -o /dev/null"]),
        (LSFProvider, ['#BSUB -o "/dev/null"']),
        (SlurmProvider, ["#SBATCH --output=/dev/null", "#SBATCH --error=/dev/null"]),
    ],
)
def test_a_path_that_a_batch_system_would_read_otherwise_is_the_scripts_business(
    tmp_path: Path, provider: type[BatchProvider], lines: list[str]
) -> None:
    directory = tmp_path / "host:$USER \\ runs"
    directory.mkdir()
    text = script(provider, directory)
    assert set(lines) <= set(text.splitlines())
    assert re.search(r"^exec >>'\S+/host:\$USER \\ runs/[^']+\.sh\.out' 2>>", text, re.MULTILINE)


def test_lsf_reads_a_script_of_an_odd_name_itself(tmp_path: Path) -> None:
    directory = tmp_path / "my runs"
    directory.mkdir()
    it = stage(LSFProvider, directory)
    it.provider.submit("x", 1)
    assert it.runner.ran[0][:2] == ["/bin/sh", "-c"]


def test_slurm_takes_a_users_settings_of_sbatch_for_what_nobody_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in {"ACCOUNT": "theirs", "PARTITION": "short", "TIMELIMIT": "1"}.items():
        monkeypatch.setenv(f"SBATCH_{name}", value)
    lines = script(SlurmProvider, tmp_path, partition="debug").splitlines()
    # What comes later wins.
    assert lines.index("#SBATCH --partition=short") < lines.index("#SBATCH --partition=debug")
    assert "#SBATCH --account=theirs" in lines
    assert "blocks do not use SBATCH_TIMELIMIT;" in caplog.text


def test_slurm_starts_managers_with_all_that_the_script_has_set(tmp_path: Path) -> None:
    lines = script(SlurmProvider, tmp_path, worker_init="export SLURM_EXPORT_ENV=PATH").splitlines()
    assert lines.index("unset SLURM_EXPORT_ENV") < lines.index("export SLURM_EXPORT_ENV=PATH")


def test_slurm_whole_nodes_or_parts_of_them(tmp_path: Path) -> None:
    assert "#SBATCH --exclusive\n" in script(SlurmProvider, tmp_path)
    (tmp_path / "parts").mkdir()
    assert "--exclusive" not in script(SlurmProvider, tmp_path / "parts", exclusive=False)


def test_slurm_shares_cores_and_memory_among_the_managers_of_a_node(tmp_path: Path) -> None:
    text = script(SlurmProvider, tmp_path, tasks_per_node=2, cores_per_node=9, mem_per_node=8)
    for line in ("--ntasks-per-node=2", "--cpus-per-task=4", "--mem=8192M"):
        assert f"#SBATCH {line}\n" in text
    assert "export PARSL_CORES=4\n" in text
    assert "export PARSL_MEMORY_GB=4\n" in text


def test_slurm_number_of_gpus(tmp_path: Path) -> None:
    assert "#SBATCH --gpus-per-node=4\n" in script(SlurmProvider, tmp_path, gpus_per_node=4)


def test_slurm_finds_the_id_as_it_is_told(tmp_path: Path) -> None:
    it = stage(SlurmProvider, tmp_path, regex_job_id=r"job number (?P<id>\d+)")
    it.runner.answers["sbatch"] = "Submitted job number 42 to big"
    assert it.provider.submit("x", 1) == "42"


def test_slurm_names_the_cluster_in_each_command(tmp_path: Path) -> None:
    it = stage(SlurmProvider, tmp_path, clusters="big")
    it.runner.answers |= {"scancel": "", "scontrol": "", "sacct": ""}
    it.provider.submit("x", 1)
    it.provider.cancel(["7"])
    it.runner.answers["squeue"] = ""
    it.provider.status(["7"])
    for command in ("sbatch", "squeue", "scontrol", "sacct", "scancel"):
        assert it.runner.asked(command)[0][1] == "--clusters=big", command


def questions(
    provider: type[BatchProvider], directory: Path, command: str, answer: Callable[[int], str], **settings: Any
) -> int:
    """How many questions there are for five jobs."""
    it = stage(provider, directory, **settings)
    numbers = iter(range(1, 6))
    (submit,) = (name for name in it.runner.answers if "submit" in name or name == "sbatch")
    it.runner.answers[submit] = lambda _: answer(next(numbers))
    it.runner.answers |= {"scontrol": "JobState=RUNNING", "condor_history": ""}
    it.provider.status([it.provider.submit("x", 1, f"job{number}") for number in range(5)])
    return len(it.runner.asked(command))


@pytest.mark.parametrize(("size", "expected"), [(2, 3), (5, 1), (50, 1)])
def test_slurm_jobs_in_one_question(tmp_path: Path, size: int, expected: int) -> None:
    answer = "Submitted batch job {}".format
    assert questions(SlurmProvider, tmp_path, "squeue", answer, status_batch_size=size) == expected


@pytest.mark.parametrize(("size", "expected"), [(2, 3), (100, 1)])
def test_condor_jobs_in_one_question(tmp_path: Path, size: int, expected: int) -> None:
    answer = "1 job(s) submitted to cluster {}.".format
    assert questions(CondorProvider, tmp_path, "condor_q", answer, cmd_chunk_size=size) == expected


def test_condor_starts_the_script_on_each_node_itself(tmp_path: Path) -> None:
    text = script(CondorProvider, tmp_path, nodes_per_block=3, launcher=SingleNodeLauncher())
    assert "export WORKERCOUNT=1\n" in text
    (script_path,) = tmp_path.glob("*.sh")
    assert f"output = {script_path}.out.$(Node)\n" in text


def test_condor_shows_the_output_of_the_first_node(tmp_path: Path) -> None:
    it = stage(CondorProvider, tmp_path, nodes_per_block=3)
    it.runner.answers["condor_history"] = ""
    status = it.provider.status([it.provider.submit("x", 1)])[0]
    assert status.stdout_path.endswith(".sh.out.0")


@pytest.mark.parametrize("provider", [GridEngineProvider, SlurmProvider, TorqueProvider, PBSProProvider, LSFProvider])
def test_the_launcher_is_told_of_the_nodes(tmp_path: Path, provider: type[BatchProvider]) -> None:
    settings = {"launcher": SingleNodeLauncher(), "nodes_per_block": 3}
    assert "export WORKERCOUNT=6\n" in script(provider, tmp_path, 2, **settings)


@pytest.mark.parametrize(("more", "select"), [("", "select=2"), ("ncpus=8:mpiprocs=8", "select=2:ncpus=8:mpiprocs=8")])
def test_pbspro_may_say_itself_how_many_processors_a_node_gives(tmp_path: Path, more: str, select: str) -> None:
    written = script(PBSProProvider, tmp_path, nodes_per_block=2, cpus_per_node=None, select_options=more)

    assert f"#PBS -l {select}\n" in written


@pytest.mark.parametrize("named", [True, False])
def test_torque_has_a_name_for_messages(named: bool) -> None:
    assert (TorqueProvider(label="maui") if named else TorqueProvider()).label == ("maui" if named else "torque")


def test_lsf_by_cores(tmp_path: Path) -> None:
    text = script(LSFProvider, tmp_path, request_by_nodes=False, cores_per_block=8, cores_per_node=4)
    assert "#BSUB -n 8\n" in text
    assert '#BSUB -R "span[ptile=4]"\n' in text
    assert "nnodes" not in text


@pytest.mark.parametrize("redirection", [True, False])
def test_lsf_reads_the_script_as_it_is_told(tmp_path: Path, redirection: bool) -> None:
    it = stage(LSFProvider, tmp_path, bsub_redirection=redirection)
    it.provider.submit("x", 1)
    assert it.runner.ran[0][0] == ("/bin/sh" if redirection else "bsub")


def test_cores_and_memory_are_known_before_a_block_runs() -> None:
    slurm = SlurmProvider(cores_per_node=4, mem_per_node=8)
    condor = CondorProvider(cores_per_slot=4, mem_per_slot=8)
    lsf = LSFProvider(cores_per_node=4)
    assert [(p.cores_per_node, p.mem_per_node) for p in (slurm, condor, lsf)] == [(4, 8), (4, 8), (4, None)]


# -- what cannot work ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "settings", "error", "words"),
    [
        (SlurmProvider, {"launcher": "srun"}, BadLauncher, "srun"),
        (SlurmProvider, {"walltime": "10"}, ConfigurationError, "walltime must be HH:MM:SS"),
        (SlurmProvider, {"walltime": 600}, ParameterTypeError, "walltime"),
        (SlurmProvider, {"cmd_timeout": 0}, ConfigurationError, "cmd_timeout"),
        (SlurmProvider, {"worker_init": None}, ParameterTypeError, "worker_init"),
        (SlurmProvider, {"scheduler_options": ["#SBATCH"]}, ParameterTypeError, "scheduler_options"),
        (SlurmProvider, {"min_blocks": 2}, ConfigurationError, "min_blocks"),
        (SlurmProvider, {"partition": 1}, ParameterTypeError, "partition"),
        (SlurmProvider, {"gres": 1}, ParameterTypeError, "gres"),
        (SlurmProvider, {"cores_per_node": 0}, ConfigurationError, "cores_per_node"),
        (SlurmProvider, {"mem_per_node": "8g"}, ParameterTypeError, "mem_per_node"),
        (SlurmProvider, {"gpus_per_node": 1.5}, ParameterTypeError, "gpus_per_node"),
        (SlurmProvider, {"exclusive": 1}, ParameterTypeError, "exclusive"),
        (SlurmProvider, {"regex_job_id": "("}, ConfigurationError, "no regular expression"),
        (SlurmProvider, {"regex_job_id": r"(\d+)"}, ConfigurationError, r"group \(\?P<id>"),
        (SlurmProvider, {"status_batch_size": 0}, ConfigurationError, "status_batch_size"),
        (GridEngineProvider, {"queue": 1}, ParameterTypeError, "queue"),
        (TorqueProvider, {"account": 1}, ParameterTypeError, "account"),
        (PBSProProvider, {"cpus_per_node": 0}, ConfigurationError, "cpus_per_node"),
        (PBSProProvider, {"select_options": None}, ParameterTypeError, "select_options"),
        (LSFProvider, {"request_by_nodes": False}, ConfigurationError, "needs cores_per_block and cores_per_node"),
        (LSFProvider, {"cores_per_block": 8}, ConfigurationError, "cores_per_block is for request_by_nodes=False"),
        (LSFProvider, {"cores_per_node": 0}, ConfigurationError, "cores_per_node"),
        (LSFProvider, {"bsub_redirection": "yes"}, ParameterTypeError, "bsub_redirection"),
        (CondorProvider, {"cores_per_slot": 0}, ConfigurationError, "cores_per_slot"),
        (CondorProvider, {"cmd_chunk_size": 0}, ConfigurationError, "cmd_chunk_size"),
        (CondorProvider, {"environment": {"A": 1}}, ParameterTypeError, "environment"),
        (CondorProvider, {"transfer_input_files": "a"}, ParameterTypeError, "transfer_input_files"),
    ],
)
def test_settings_that_cannot_work_are_refused(
    provider: type[BatchProvider], settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        provider(**settings)


@pytest.mark.parametrize("provider", ANSWERS)
@pytest.mark.parametrize("name", ["channel", "move_files"])
def test_what_parsl_had_once_is_refused_by_name(provider: type[BatchProvider], name: str) -> None:
    with pytest.raises(TypeError, match=f"has no parameter {name} any more: leave it out"):
        provider(**{name: None})  # type: ignore[call-arg]


def test_repr_shows_the_settings() -> None:
    assert "partition='debug'" in repr(SlurmProvider("debug"))
    assert "SimpleLauncher" in repr(SlurmProvider(launcher=SimpleLauncher()))

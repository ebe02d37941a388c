"""What all providers for batch systems do, with the commands of Slurm: what is asked, what is made of the answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.providers.runner import Answer, Stage
from trellis.core.interfaces import CommandResult
from trellis.core.jobs import JobState
from trellis.errors import ExecutionProviderException, ScriptPathError, SubmitException
from trellis.launchers import SingleNodeLauncher
from trellis.providers import SlurmProvider
from trellis.providers.batch import GONE_AFTER_S
from trellis.providers.command import CommandTimeout

UNKNOWN = CommandResult(1, "", "slurm_load_jobs error: Invalid job id specified\n")
UNREACHABLE = CommandResult(1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n")


def stage(directory: Path, **answers: Answer) -> Stage:
    known: dict[str, Answer] = {
        "sbatch": "Submitted batch job 7\n",
        "squeue": "7|RUNNING|None\n",
        "scontrol": UNKNOWN,
        "sacct": CommandResult(1, "", "Slurm accounting storage is disabled\n"),
        "scancel": "",
    }
    return Stage(SlurmProvider, directory, answers=known | answers)


def state(stage: Stage, job_id: str = "7") -> JobState:
    return JobState(stage.provider.status([job_id])[0].state)


# -- submitting ------------------------------------------------------------------------------------------------


def test_a_job_is_pending_until_the_system_says_otherwise(tmp_path: Path) -> None:
    it = stage(tmp_path, squeue="7|PENDING|Priority\n")
    assert it.provider.submit("run me", 1, "parsl.htex.block-0") == "7"
    status = it.provider.status(["7"])[0]
    assert (status.state, status.message) == (JobState.PENDING, "pending: Priority")
    (script,) = tmp_path.glob("parsl.htex.block-0.*.sh")
    assert "\nrun me\n" in script.read_text()
    assert it.runner.asked("sbatch") == [["sbatch", str(script)]]
    assert (status.stdout_path, status.stderr_path) == (f"{script}.out", f"{script}.err")


def test_output_is_shown_by_its_ends(tmp_path: Path) -> None:
    it = stage(tmp_path)
    it.provider.submit("x", 1)
    (script,) = tmp_path.glob("*.sh")
    Path(f"{script}.err").write_text("a" * 5000)
    summary = it.provider.status(["7"])[0].stderr_summary
    assert summary is not None
    assert len(summary) < 2100


def test_a_refusal_tells_what_the_system_said_and_what_to_try(tmp_path: Path) -> None:
    refusal = CommandResult(1, "", "sbatch: error: invalid partition specified: nosuch\n")
    it = stage(tmp_path, sbatch=refusal)
    with pytest.raises(SubmitException, match=r"sbatch refused .*`sinfo` lists the partitions") as caught:
        it.provider.submit("x", 1, "job")
    assert (caught.value.retcode, caught.value.stderr) == (1, refusal.stderr)
    assert "invalid partition specified: nosuch" in str(caught.value)
    assert it.guard.watched == {}


def test_a_refusal_without_known_advice(tmp_path: Path) -> None:
    it = stage(tmp_path, sbatch=CommandResult(2, "", "the site says no\n"))
    with pytest.raises(SubmitException, match=r"sbatch refused \S+; exit code 2; stderr: the site says no"):
        it.provider.submit("x", 1)


def test_a_job_that_was_made_although_the_command_failed_is_not_left_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    it = stage(tmp_path, sbatch=CommandResult(1, "Submitted batch job 7\n", "the site's plugin failed\n"))
    assert it.provider.submit("x", 1) == "7"
    assert it.guard.watched == {"7": ["scancel", "7"]}
    assert "sbatch made job 7, and ended with exit code 1: the site's plugin failed" in caplog.text


def test_a_command_that_is_missing_is_named(tmp_path: Path) -> None:
    it = stage(tmp_path, sbatch=ExecutionProviderException("cannot run sbatch: No such file; is it on PATH?"))
    with pytest.raises(SubmitException, match="is it on PATH"):
        it.provider.submit("x", 1)
    assert it.guard.watched == {}


def test_a_job_whose_submission_hangs_is_cancelled_by_its_name(tmp_path: Path) -> None:
    it = stage(tmp_path, sbatch=CommandTimeout("sbatch has not ended after 10 s"))
    with pytest.raises(SubmitException, match="cmd_timeout"):
        it.provider.submit("x", 1, "job")
    ((name, argv),) = it.guard.watched.items()  # it may still appear
    assert it.runner.ran[-1] == argv == ["scancel", f"--name={name}"]


def test_a_job_that_cannot_be_cancelled_by_its_name_either(tmp_path: Path) -> None:
    hang = CommandTimeout("it has not ended after 10 s")
    it = stage(tmp_path, sbatch=hang, scancel=hang)
    with pytest.raises(SubmitException):
        it.provider.submit("x", 1)
    assert len(it.guard.watched) == 1


def test_a_job_nobody_heard_of_is_cancelled_until_the_system_has_answered_twice(tmp_path: Path) -> None:
    hang = CommandTimeout("it has not ended after 10 s")
    it = stage(tmp_path, sbatch=hang, scancel=hang)
    with pytest.raises(SubmitException):
        it.provider.submit("x", 1)
    it.provider.status([])
    assert len(it.runner.asked("scancel")) == 2
    it.runner.answers["scancel"] = ""  # it is back, and may just have made the job
    it.provider.status([])
    assert len(it.guard.watched) == 1
    it.provider.status([])
    assert it.guard.watched == {}
    it.provider.status([])
    assert len(it.runner.asked("scancel")) == 4


def test_an_answer_without_an_id_is_no_job(tmp_path: Path) -> None:
    it = stage(tmp_path, sbatch="Welcome to our cluster\n")
    with pytest.raises(SubmitException, match="no job id"):
        it.provider.submit("x", 1)
    assert it.runner.ran[-1][0] == "scancel"


def test_without_a_directory_nothing_is_submitted(tmp_path: Path) -> None:
    it = stage(tmp_path)
    it.provider.script_dir = None
    with pytest.raises(SubmitException, match="script_dir is not set"):
        it.provider.submit("x", 1)


def test_a_script_that_cannot_be_written(tmp_path: Path) -> None:
    it = stage(tmp_path / "missing")
    with pytest.raises(ScriptPathError, match="missing"):
        it.provider.submit("x", 1)
    assert it.runner.ran == []


# -- asking ----------------------------------------------------------------------------------------------------


def test_one_question_for_all_jobs(tmp_path: Path) -> None:
    ids = iter("123")
    it = stage(
        tmp_path,
        sbatch=lambda _: f"Submitted batch job {next(ids)}",
        squeue="1|RUNNING|None\n3|PENDING|Resources\n2|RUNNING|None\n",
    )
    for _ in range(3):
        it.provider.submit("x", 1)
    states = [status.state for status in it.provider.status(["3", "1", "2", "1"])]
    assert states == [JobState.PENDING, JobState.RUNNING, JobState.RUNNING, JobState.RUNNING]
    assert it.runner.asked("squeue") == [["squeue", "--noheader", "--states=all", "--format=%i|%T|%r", "--jobs=3,1,2"]]


def test_a_system_that_does_not_answer_raises(tmp_path: Path) -> None:
    it = stage(tmp_path, squeue=UNREACHABLE)
    it.provider.submit("x", 1)
    with pytest.raises(ExecutionProviderException, match=r"squeue failed with exit code 1: .*Unable to contact"):
        it.provider.status(["7"])
    it.runner.answers["squeue"] = "7|RUNNING|None\n"
    assert state(it) is JobState.RUNNING


def test_an_end_is_told_with_its_exit_code_and_never_asked_about_again(tmp_path: Path) -> None:
    it = stage(
        tmp_path,
        squeue="7|FAILED|NonZeroExitCode\n",
        scontrol="JobId=7 JobState=FAILED Reason=NonZeroExitCode ExitCode=3:0",
    )
    it.provider.submit("x", 1)
    for _ in range(2):
        status = it.provider.status(["7"])[0]
        assert (status.state, status.exit_code, status.message) == (JobState.FAILED, 3, "failed: NonZeroExitCode")
    assert len(it.runner.asked("squeue")) == 1
    assert it.guard.watched == {}


def test_an_end_without_an_exit_code_takes_that_of_the_script(tmp_path: Path) -> None:
    it = stage(tmp_path, squeue="7|FAILED|None\n")
    it.provider.submit("x", 1)
    it.leave_exit_code("4 1\n")
    assert it.provider.status(["7"])[0].exit_code == 4


def test_a_job_that_is_not_listed_is_unknown_first_and_missing_after_a_while(tmp_path: Path) -> None:
    it = stage(tmp_path, squeue=UNKNOWN)
    it.provider.submit("x", 1)
    assert state(it) is JobState.UNKNOWN
    it.clock.advance(GONE_AFTER_S - 1)
    assert state(it) is JobState.UNKNOWN
    it.clock.advance(1)
    status = it.provider.status(["7"])[0]
    assert (status.state, status.message) == (
        JobState.MISSING,
        "slurm does not know it any more, and it left no exit code",
    )


def test_a_job_that_is_listed_again_was_never_away(tmp_path: Path) -> None:
    it = stage(tmp_path, squeue=UNKNOWN)
    it.provider.submit("x", 1)
    assert state(it) is JobState.UNKNOWN
    it.clock.advance(GONE_AFTER_S - 1)
    it.runner.answers["squeue"] = "7|RUNNING|None\n"
    assert state(it) is JobState.RUNNING
    it.clock.advance(1)
    it.runner.answers["squeue"] = UNKNOWN
    assert state(it) is JobState.UNKNOWN


def test_a_state_that_nobody_knows_is_unknown(tmp_path: Path) -> None:
    it = stage(tmp_path, squeue="7|SOMETHING_NEW|None\n")
    it.provider.submit("x", 1)
    it.clock.advance(10 * GONE_AFTER_S)
    assert state(it) is JobState.UNKNOWN


@pytest.mark.parametrize(
    ("answers", "left", "expected"),
    [
        ({"scontrol": "JobId=7 JobState=TIMEOUT Reason=TimeLimit ExitCode=0:15"}, "0 1\n", JobState.TIMEOUT),
        ({"sacct": "7|COMPLETED|0:0\n"}, None, JobState.COMPLETED),
        ({}, "0 12\n", JobState.COMPLETED),
        ({}, "3 12\n", JobState.FAILED),
        ({}, "143 600\n", JobState.TIMEOUT),
    ],
)
def test_a_second_source_decides_on_a_job_that_is_not_listed(
    tmp_path: Path, answers: dict[str, Answer], left: str | None, expected: JobState
) -> None:
    it = stage(tmp_path, squeue=UNKNOWN, **answers)
    it.provider.submit("x", 1)
    if left is not None:
        it.leave_exit_code(left)
    assert state(it) is expected


def test_a_second_source_that_does_not_answer_decides_nothing(tmp_path: Path) -> None:
    it = stage(tmp_path, squeue=UNKNOWN, scontrol=UNREACHABLE)
    it.provider.submit("x", 1)
    with pytest.raises(ExecutionProviderException, match="scontrol"):
        it.provider.status(["7"])


def test_nothing_is_asked_about_jobs_of_others(tmp_path: Path) -> None:
    it = stage(tmp_path)
    assert state(it, "8") is JobState.MISSING
    assert it.provider.cancel(["8"]) == [False]
    assert it.runner.ran == []


# -- cancelling ------------------------------------------------------------------------------------------------


def test_a_job_that_was_cancelled_and_is_listed_no_more_is_cancelled(tmp_path: Path) -> None:
    it = stage(tmp_path, squeue=UNKNOWN)
    it.provider.submit("x", 1)
    assert it.provider.cancel(["7"]) == [True]
    assert it.guard.watched == {}
    assert state(it) is JobState.CANCELLED


def test_a_job_that_fails_of_our_cancel_is_cancelled(tmp_path: Path) -> None:
    it = stage(tmp_path, squeue=UNKNOWN)
    it.provider.submit("x", 1)
    it.provider.cancel(["7"])
    it.leave_exit_code("143 5\n")
    status = it.provider.status(["7"])[0]
    assert (status.state, status.exit_code) == (JobState.CANCELLED, 143)


def test_a_cancel_that_comes_too_late_is_done(tmp_path: Path) -> None:
    said = iter(["7|RUNNING|None\n", "7|COMPLETED|None\n"])
    it = stage(tmp_path, scancel=CommandResult(1, "", "Invalid job id specified"), squeue=lambda _: next(said))
    it.provider.submit("x", 1)
    assert it.provider.cancel(["7"]) == [True]
    assert state(it) is JobState.COMPLETED


def test_a_job_that_has_ended_is_not_cancelled(tmp_path: Path) -> None:
    it = stage(tmp_path, squeue="7|COMPLETED|None\n")
    it.provider.submit("x", 1)
    assert it.provider.cancel(["7"]) == [True]
    assert it.runner.asked("scancel") == []


def test_a_job_that_cannot_be_cancelled_is_not_in_the_way_of_others(tmp_path: Path) -> None:
    ids = iter("12")
    it = stage(
        tmp_path,
        sbatch=lambda _: f"Submitted batch job {next(ids)}",
        squeue="1|RUNNING|None\n2|RUNNING|None\n",
        scancel=lambda argv: CommandResult(1 if "1" in argv else 0, "", "denied"),
    )
    jobs = [it.provider.submit("x", 1, f"job{number}") for number in range(2)]
    assert it.provider.cancel(jobs) == [False, True]
    assert it.runner.asked("scancel") == [["scancel", "1", "2"], ["scancel", "1"], ["scancel", "2"]]
    assert list(it.guard.watched) == ["1"]


def test_a_cancel_that_is_refused_is_not_done(tmp_path: Path) -> None:
    it = stage(tmp_path, scancel=CommandResult(1, "", "Access/permission denied"))
    it.provider.submit("x", 1)
    assert it.provider.cancel(["7"]) == [False]
    assert it.guard.watched == {"7": ["scancel", "7"]}


def test_a_cancel_that_nobody_answers_raises(tmp_path: Path) -> None:
    it = stage(tmp_path, scancel=UNREACHABLE, squeue=UNREACHABLE)
    it.provider.submit("x", 1)
    with pytest.raises(ExecutionProviderException):
        it.provider.cancel(["7"])


# -- the rest --------------------------------------------------------------------------------------------------


def test_what_is_the_same_for_all() -> None:
    first, second = SlurmProvider(walltime="1-00:00:00"), SlurmProvider()
    assert isinstance(first.launcher, SingleNodeLauncher)
    assert first.launcher is not second.launcher
    assert (first.walltime_s, second.walltime_s) == (86400, 600)
    assert (first.status_polling_interval, first.label) == (60, "slurm")
    assert not getattr(first, "same_host", False)


def test_the_older_name_of_a_jobs_name_goes_with_a_warning() -> None:
    error = SubmitException("one", "no such queue")
    with pytest.warns(DeprecationWarning, match="job_name"):
        assert error.task_name == error.job_name == "one"

"""LocalProvider with real processes: nothing of a job that ended or was cancelled may be left."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from trellis.core.jobs import JobState, JobStatus
from trellis.errors import ScriptPathError, SubmitException
from trellis.launchers import Launcher, SimpleLauncher, SingleNodeLauncher, WrappedLauncher
from trellis.providers import LocalProvider

# Bash that waits without a process of its own: what it ignores, nobody else ends.
STUBBORN = "trap '' TERM INT; touch ready.$$; while :; do read -t 1 <> <(:); done"


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., LocalProvider]]:
    made = []

    def make_provider(**settings: object) -> LocalProvider:
        provider = LocalProvider(**settings)  # type: ignore[arg-type]
        provider.script_dir = str(tmp_path)
        made.append(provider)
        return provider

    yield make_provider
    for provider in made:
        provider.cancel(list(provider._jobs))


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def wait_for_end(provider: LocalProvider, job_id: str) -> JobStatus:
    wait_for(lambda: provider.status([job_id])[0].terminal)
    return provider.status([job_id])[0]


def session_of(job_id: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == int(job_id):
                found.append(process)
        except ProcessLookupError:
            continue
    return found


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_job_that_succeeds_leaves_its_output_and_exit_code(
    make: Callable[..., LocalProvider], tmp_path: Path
) -> None:
    provider = make(launcher=SimpleLauncher(debug=False))
    job_id = provider.submit("echo out; echo err >&2", 1, "trellis.x.block-0")
    status = wait_for_end(provider, job_id)
    assert (status.state, status.exit_code, status.stdout, status.stderr) == (JobState.COMPLETED, 0, "out\n", "err\n")
    (script,) = tmp_path.glob("trellis.x.block-0.*.sh")
    assert status.stdout_path == f"{script}.out"
    assert status.stderr_path == f"{script}.err"
    assert Path(f"{script}.ec").read_text() == "0\n"


def test_a_job_that_fails_tells_its_exit_code(make: Callable[..., LocalProvider]) -> None:
    provider = make()
    status = wait_for_end(provider, provider.submit("exit 9", 1))
    assert (status.state, status.exit_code) == (JobState.FAILED, 9)
    assert "exit code 9" in (status.message or "")


def test_a_job_killed_from_outside_has_failed_and_nothing_of_it_stays(make: Callable[..., LocalProvider]) -> None:
    provider = make(launcher=SingleNodeLauncher())
    job_id = provider.submit(STUBBORN, 2)
    wait_for(lambda: len(session_of(job_id)) >= 3)  # the script and two copies
    processes = session_of(job_id)
    os.kill(int(job_id), signal.SIGKILL)
    status = wait_for_end(provider, job_id)
    assert (status.state, status.exit_code) == (JobState.FAILED, -signal.SIGKILL)
    assert "SIGKILL" in (status.message or "")
    assert not [process for process in processes if alive(process)]


def test_worker_init_comes_first_and_the_job_knows_its_name(make: Callable[..., LocalProvider]) -> None:
    provider = make(launcher=SimpleLauncher(debug=False), worker_init="COLOUR=blue; cd /")
    status = wait_for_end(provider, provider.submit('echo "$COLOUR $PWD $JOBNAME"', 1, "it's.me"))
    words = (status.stdout or "").split()
    assert words[:2] == ["blue", "/"]
    assert words[2].startswith("it's.me.")


def test_a_block_is_part_of_the_job_that_the_program_runs_in(
    make: Callable[..., LocalProvider], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_MEM_PER_NODE", "SRUN_CPUS_PER_TASK", "PBS_NODEFILE", "SBATCH_QOS"):
        monkeypatch.setenv(name, "7")
    monkeypatch.setenv(
        "SLURM_EXPORT_ENV", "NONE"
    )  # of a job with --export=NONE: srun would start managers with nothing
    command = 'echo "$SLURM_JOB_ID $SLURM_MEM_PER_NODE $SRUN_CPUS_PER_TASK $PBS_NODEFILE $SBATCH_QOS $SLURM_EXPORT_ENV"'
    provider = make(launcher=SimpleLauncher(debug=False))
    assert wait_for_end(provider, provider.submit(command, 1)).stdout == "7 7 7 7 7 \n"


def test_the_launcher_gets_nodes_and_tasks(make: Callable[..., LocalProvider]) -> None:
    provider = make(nodes_per_block=2, launcher=SingleNodeLauncher(debug=False))
    assert wait_for_end(provider, provider.submit("echo copy", 3)).stdout == "copy\n" * 6


@pytest.mark.parametrize("launcher", [SimpleLauncher(), SingleNodeLauncher(), WrappedLauncher("nice")])
def test_cancel_ends_a_job_and_all_it_started(make: Callable[..., LocalProvider], launcher: Launcher) -> None:
    provider = make(launcher=launcher)
    job_id = provider.submit("bash -c 'sleep 1000 & sleep 1000; true'", 1)
    wait_for(lambda: [p.name() for p in session_of(job_id) if alive(p)].count("sleep") == 2)
    processes = session_of(job_id)
    assert provider.cancel([job_id]) == [True]
    assert not [process for process in processes if alive(process)]
    (status,) = provider.status([job_id])
    assert (status.state, status.exit_code is not None) == (JobState.CANCELLED, True)


def test_what_ignores_sigterm_is_killed_after_cmd_timeout(make: Callable[..., LocalProvider]) -> None:
    provider = make(cmd_timeout=0.05, launcher=SimpleLauncher())
    job_ids = [provider.submit(STUBBORN, 1), provider.submit(f"( {STUBBORN} ) & wait", 1)]
    wait_for(lambda: Path(f"ready.{job_ids[0]}").exists() and Path(f"ready.{job_ids[1]}").exists())
    processes = [process for job_id in job_ids for process in session_of(job_id)]
    assert provider.cancel(job_ids) == [True, True]
    assert [status.state for status in provider.status(job_ids)] == [JobState.CANCELLED] * 2
    assert not [process for process in processes if alive(process)]


def test_what_left_the_process_group_is_ended_too(make: Callable[..., LocalProvider]) -> None:
    # Job control gives each background job a process group of its own.
    provider = make(cmd_timeout=0.05, launcher=SimpleLauncher())
    job_id = provider.submit("set -m; sleep 1000 & wait", 1)
    wait_for(lambda: "sleep" in [p.name() for p in session_of(job_id) if alive(p)])
    processes = session_of(job_id)
    provider.cancel([job_id])
    assert not [process for process in processes if alive(process)]


def test_what_a_job_leaves_running_is_killed_at_its_end(make: Callable[..., LocalProvider]) -> None:
    provider = make(launcher=SimpleLauncher())
    job_id = provider.submit("sleep 1000 & touch started; read -t 0.2 <> <(:); exit 0", 1)
    wait_for(lambda: Path("started").exists())
    processes = session_of(job_id)
    assert wait_for_end(provider, job_id).state == JobState.COMPLETED
    assert not [process for process in processes if alive(process)]


def test_output_files_that_exist_are_appended_to(
    make: Callable[..., LocalProvider], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 7)
    (tmp_path / "job.7.sh.out").write_text("before\n")
    provider = make(launcher=SimpleLauncher(debug=False))
    assert wait_for_end(provider, provider.submit("echo after", 1, "job")).stdout == "before\nafter\n"


def test_submit_without_a_directory_for_scripts_is_refused() -> None:
    with pytest.raises(SubmitException, match="script_dir"):
        LocalProvider().submit("true", 1)


def test_a_script_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    provider = LocalProvider()
    provider.script_dir = str(tmp_path / "absent")
    with pytest.raises(ScriptPathError, match="absent"):
        provider.submit("true", 1)


def test_jobs_are_in_resources_with_their_status(make: Callable[..., LocalProvider]) -> None:
    provider = make()
    job_id = provider.submit("sleep 1000", 1)
    assert provider.resources[job_id]["status"].state is JobState.RUNNING
    assert provider.cancel([job_id]) == [True]
    assert provider.resources[job_id]["status"].state is JobState.CANCELLED

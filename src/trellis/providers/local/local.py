"""LocalProvider: each block is a bash script on this host. No threads; processes are handled by ``command``."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import time
from dataclasses import dataclass
from typing import Any

from trellis.core.jobs import JobState, JobStatus
from trellis.core.validation import arguments, knows_former_names
from trellis.errors import ScriptPathError, SubmitException
from trellis.launchers.base import Launcher, block_script, stays_here
from trellis.providers.base import FORMER_NAMES, ScriptProvider
from trellis.providers.command import ScriptProcess, end_scripts

# What a job may take to end after SIGTERM: enough for a manager to stop its workers, short enough for a Ctrl-C.
TERM_GRACE_S = 5.0

# In a job of Slurm's that was submitted with --export=NONE, srun would start the managers without what the program has.
_SCRIPT = """\
export JOBNAME={job_name}
unset SLURM_EXPORT_ENV
# A shell with a trap waits for its current command before it ends, so the job ends after what it runs.
trap 'exit 143' TERM
trap 'exit 130' INT
{worker_init}
{command}
"""


@dataclass(slots=True)
class _LocalJob:
    process: ScriptProcess
    script_path: str
    status: JobStatus
    being_cancelled: bool = False


class LocalProvider(ScriptProvider):
    """Runs blocks on this host, each as a script in a session of its own.

    A job's script, output and exit code lie in ``script_dir`` as ``<name>.sh``, ``.sh.out``, ``.sh.err`` and
    ``.sh.ec``. The executor sets ``script_dir`` when it starts.

    Args:
        nodes_per_block: How many nodes a block pretends to have.
        launcher: Starts the command; a ``SingleNodeLauncher()`` when None.
        init_blocks: Blocks at the start.
        min_blocks: Blocks that are always kept.
        max_blocks: The most blocks at a time, also at the start.
        worker_init: Shell commands run before the launched command, for example to activate an environment.
        cmd_timeout: Seconds that a cancelled job may take to end after SIGTERM, 5 at most; then it is killed.
        parallelism: Worker slots wanted per outstanding task.

    Raises:
        BadLauncher: ``launcher`` is not a ``Launcher``.
        ConfigurationError: another parameter makes no sense.
    """

    @knows_former_names(**FORMER_NAMES, walltime="blocks of this host have no limit of time")
    def __init__(
        self,
        nodes_per_block: int = 1,
        launcher: Launcher | None = None,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        worker_init: str = "",
        cmd_timeout: float = 30,
        parallelism: float = 1,
    ) -> None:
        self._keep_parameters(arguments(locals()))
        self._jobs: dict[str, _LocalJob] = {}

    @property
    def label(self) -> str:
        return "local"

    @property
    def status_polling_interval(self) -> float:
        """1 second: looking at processes of this host costs next to nothing (Parsl has 5)."""
        return 1

    runs_at_once = True  # a job runs as soon as it is submitted

    @property
    def same_host(self) -> bool:
        """Whether blocks reach the loopback addresses of this process's host."""
        return stays_here(self.launcher)

    def submit(self, command: str, tasks_per_node: int, job_name: str = "parsl.localprovider") -> str:
        """Start the block; its id is the script's process id.

        Raises:
            ScriptPathError: the script could not be written.
            SubmitException: ``script_dir`` is not set, or the script could not be started.
        """
        if self.script_dir is None:
            raise SubmitException(job_name, "script_dir is not set; an executor does that when it starts")
        name = f"{job_name}.{time.time_ns()}"
        script_path = os.path.join(self.script_dir, f"{name}.sh")
        launched = block_script(self.launcher, command, tasks_per_node, self.nodes_per_block, self.script_dir)
        try:
            with open(script_path, "x") as file:
                file.write(_SCRIPT.format(job_name=shlex.quote(name), worker_init=self.worker_init, command=launched))
        except OSError as error:
            raise ScriptPathError(script_path, error) from error
        stdout_path, stderr_path = f"{script_path}.out", f"{script_path}.err"
        try:
            process = ScriptProcess(script_path, stdout_path, stderr_path)
        except OSError as error:
            raise SubmitException(job_name, f"cannot start {script_path}: {error}") from error
        status = JobStatus(JobState.RUNNING, stdout_path=stdout_path, stderr_path=stderr_path)
        job_id = str(process.pid)
        self._jobs[job_id] = _LocalJob(process, script_path, status)
        self.resources[job_id] = {"job_id": job_id, "status": status, "remote_pid": job_id, "script_path": script_path}
        return job_id

    def status(self, job_ids: list[Any]) -> list[JobStatus]:
        """Give the jobs' status; a job that was never submitted here is ``MISSING``."""
        return [self._status(job_id) for job_id in job_ids]

    def cancel(self, job_ids: list[Any]) -> list[bool]:
        """End jobs and all they started, SIGTERM first; False for a job that was never submitted here.

        Returns when they have ended, after ``cmd_timeout`` or 5 seconds at the latest.
        """
        running = [job for job_id in job_ids if (job := self._jobs.get(job_id)) and not self._status(job_id).terminal]
        for job in running:
            job.being_cancelled = True  # whoever looks meanwhile shall not take its end for a failure
        end_scripts([job.process for job in running], min(self.cmd_timeout, TERM_GRACE_S))
        for job in running:
            self._record_end(job, JobState.CANCELLED, None)
        return [job_id in self._jobs for job_id in job_ids]

    def _status(self, job_id: Any) -> JobStatus:
        job = self._jobs.get(job_id)
        if job is None:
            return JobStatus(JobState.MISSING, f"no job {job_id} was started here")
        if not job.status.terminal and job.process.has_ended():
            # Like a batch system, leave nothing running of a job that is over.
            code = job.process.reap()
            if job.being_cancelled:
                self._record_end(job, JobState.CANCELLED, None)
            elif code == 0:
                self._record_end(job, JobState.COMPLETED, None)
            else:
                self._record_end(job, JobState.FAILED, _describe_exit(code))
        return job.status

    def _record_end(self, job: _LocalJob, state: JobState, message: str | None) -> None:
        code = job.process.reap()
        job.status = JobStatus(state, message, code, job.status.stdout_path, job.status.stderr_path)
        self.resources[str(job.process.pid)]["status"] = job.status
        # For people who look at the run afterwards; nobody here reads it, so a full disk is no reason to fail.
        with contextlib.suppress(OSError), open(f"{job.script_path}.ec", "w") as file:
            file.write(f"{code}\n")


def _describe_exit(code: int) -> str:
    if code >= 0:
        return f"the job's script ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"the job's script was ended by {name}"

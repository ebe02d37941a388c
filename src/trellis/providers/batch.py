"""Base of the providers for batch systems: write a script, run a command, read its answer. No system's text here."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import subprocess
import sys
import time
import warnings
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from trellis.core.clock import Clock, MonotonicClock
from trellis.core.foreign import is_foreign
from trellis.core.interfaces import CommandResult
from trellis.core.jobs import JobState, JobStatus
from trellis.core.kinds import Text
from trellis.core.validation import arguments, check, declares_parameters
from trellis.errors import ExecutionProviderException, ScriptPathError, SubmitException
from trellis.launchers.base import Launcher, block_script, stays_here
from trellis.providers.cluster_provider import ClusterProvider
from trellis.providers.command import CommandTimeout
from trellis.providers.orphans import OrphanGuard
from trellis.providers.reports import Hint, JobReport, find_advice, read_exit_file
from trellis.providers.script import JobRequest, Walltime, parse_walltime, render_environment, unique_name

logger = logging.getLogger(__name__)

# Batch systems serve thousands of users. Whoever asks may do so more often for a block that is young.
POLL_S = 60.0
# A job that no source knows any more has ended, but not at once: databases lag behind, and so do network file systems,
# where its exit code may appear a minute late.
GONE_AFTER_S = 120.0
# A submission that was not answered in time may still make a job, when the batch system comes round to it. It has done
# so when it answers what came later; twice, because it may read several at once.
ANSWERS_AFTER_UNHEARD = 2


@dataclass(slots=True)
class _BatchJob:
    request: JobRequest
    status: JobStatus
    unknown_since: float | None = None
    cancelled: bool = False  # the batch system has taken our cancel


@declares_parameters
class BatchProvider(ClusterProvider):
    """Gets blocks from a batch system: one job each.

    Subclasses give the texts (script, commands, what the answers mean). What holds for all:

    * One question for all jobs. A question that fails raises: the caller comes back later, and nothing is decided.
    * A job that is not in the answer is ``UNKNOWN``. Its end is believed when a second source tells of it: the
      system's records, or the exit code that the job's script left beside it. When no source knows of it for two
      minutes it is ``MISSING``, never ``COMPLETED``.
    * Jobs are cancelled by a helper process when this program dies without doing so (see ``reaper``).

    The nodes must reach ``script_dir``.

    Args:
        label: Name of the provider, for messages.
        nodes_per_block: Nodes of one job.
        init_blocks: Blocks at the start.
        min_blocks: Blocks that are always kept.
        max_blocks: The most blocks at a time, also at the start.
        parallelism: Worker slots wanted per outstanding task.
        walltime: Longest life of a block, ``HH:MM:SS`` or ``D-HH:MM:SS``, or a ``timedelta``.
        launcher: Starts the command on the block's nodes; mostly a ``SingleNodeLauncher()`` when None.
        cmd_timeout: Seconds that a command of the batch system may take.
        scheduler_options: Further lines for the head of the script, such as ``#SBATCH …``.
        worker_init: Shell commands run before the launched command, for example to load modules.
        own: Parameters that the subclass declares (see ``declares_parameters``).

    Raises:
        BadLauncher: ``launcher`` is not a ``Launcher``.
        ConfigurationError: another parameter makes no sense.
    """

    # Known refusals of this system, with advice.
    hints: ClassVar[Sequence[Hint]] = ()
    # What the paths of a job's output end in.
    output_suffix = ""

    walltime: Annotated[str, Walltime()]
    scheduler_options: Annotated[str, Text()]

    def __init__(
        self,
        label: str,
        nodes_per_block: int,
        init_blocks: int,
        min_blocks: int,
        max_blocks: int,
        parallelism: float,
        walltime: str | timedelta,
        launcher: Launcher | None,
        cmd_timeout: float = 10,
        *,
        scheduler_options: str = "",
        worker_init: str = "",
        **own: Any,
    ) -> None:
        given = arguments(locals()) | own
        del given["own"], given["label"]
        self._label: str = check(type(self).__name__, "label", label, Text(empty=False, lines=False))
        self._keep_parameters(given)
        if is_foreign(self, "_write_submit_script") and not is_foreign(self, "submit"):
            warnings.warn(
                f"{type(self).__name__} overrides _write_submit_script, which only a submit() of its own would call: "
                "Trellis's own scripts have no templates; override render_script() instead",
                stacklevel=3,
            )
        # Each ends its line, so that programs may add others: provider.worker_init += "module load gcc"
        self.scheduler_options = _whole_lines(self.scheduler_options)
        self.worker_init = _whole_lines(self.worker_init)
        self._clock: Clock = MonotonicClock()
        self._orphans = OrphanGuard()
        self._jobs: dict[str, _BatchJob] = {}
        # Names of jobs whose ids never reached us, and how often the system has answered a cancel of that name.
        self._unheard: dict[str, int] = {}

    # -- the texts of a batch system ---------------------------------------------------------------------------

    @abstractmethod
    def render_script(self, request: JobRequest) -> str:
        """Give the script of a job."""

    def render_files(self, request: JobRequest) -> dict[str, str]:
        """Give what has to be written before a job is submitted, by path."""
        return {request.script_path: self.render_script(request)}

    @staticmethod
    def walltime_in(_scheduler_options: str) -> int | None:
        """Give the seconds that the user's own lines for the script ask for; None when they do not."""
        return None

    @abstractmethod
    def submit_argv(self, script_path: str) -> list[str]:
        """Give the command that submits the job of this script."""

    @abstractmethod
    def parse_job_id(self, stdout: str) -> str | None:
        """Give the id of the job from what the submitting command says, None when there is none."""

    @abstractmethod
    def query(self, job_ids: Sequence[str]) -> dict[str, JobReport]:
        """Ask for all these jobs at once; those that the system does not list are absent.

        Raises:
            ExecutionProviderException: the system does not answer.
        """

    def look_up(self, job_id: str) -> JobReport | None:
        """Ask the system's records for a job that ``query`` did not find, or of whose end it did not tell enough.

        None: there are no records of it. Raises as ``query``.
        """
        return None

    @abstractmethod
    def cancel_argv(self, job_ids: Sequence[str]) -> list[str]:
        """Give the command that cancels these jobs."""

    @abstractmethod
    def cancel_by_name_argv(self, name: str) -> list[str]:
        """Give the command that cancels the job of this name, if there is one: when its id never reached us."""

    @property
    def nodes_per_launch(self) -> int:
        """Nodes on which the launcher has to start the command."""
        return self.nodes_per_block

    @property
    def launches_on_one(self) -> bool:
        """Whether the launcher starts the command on one node only, however many there are."""
        return stays_here(self.launcher)

    def launched(self, command: str, tasks_per_node: int) -> str:
        """Give what a block's script runs: what the launcher makes of the command."""
        return block_script(self.launcher, command, tasks_per_node, self.nodes_per_launch, self.script_dir or "")

    # -- what executors read -----------------------------------------------------------------------------------

    @property
    def walltime_s(self) -> int:
        """The walltime in seconds."""
        return self.walltime_in(self.scheduler_options) or parse_walltime(self.walltime)

    @property
    def status_polling_interval(self) -> float:
        return POLL_S

    # -- what executors do -------------------------------------------------------------------------------------

    def submit(self, command: str, tasks_per_node: int, job_name: str = "parsl.auto") -> str:
        """Submit a block; give the id that the batch system has for it.

        Raises:
            ScriptPathError: the script could not be written.
            SubmitException: the batch system took no job, or ``script_dir`` is not set.
        """
        if self.script_dir is None:
            raise SubmitException(job_name, "script_dir is not set; an executor does that when it starts")
        self.cancel_unheard()
        name = unique_name(job_name, time.time_ns())
        request = JobRequest(
            name,
            self.launched(command, tasks_per_node),
            tasks_per_node,
            os.path.join(self.script_dir, f"{name}.sh"),
            render_environment(sys.executable, os.environ),
            self.output_suffix,
        )
        for path, content in self.render_files(request).items():
            try:
                with open(path, "x") as file:
                    file.write(content)
                os.chmod(path, 0o755)  # some systems run it where it lies
            except OSError as error:
                raise ScriptPathError(path, error) from error
        job_id = self._submit(request)
        status = JobStatus(JobState.PENDING, stdout_path=request.stdout_path, stderr_path=request.stderr_path)
        self._jobs[job_id] = _BatchJob(request, status)
        self.resources[job_id] = {"job_id": job_id, "status": status} | _output_paths(status)
        return job_id

    def status(self, job_ids: list[Any]) -> list[JobStatus]:
        """Give the jobs' status; a job that was never submitted here is ``MISSING``.

        Raises:
            ExecutionProviderException: the batch system does not answer.
        """
        self.cancel_unheard()
        if is_foreign(self, "_status"):
            if job_ids:
                self._status()
            self._believe_resources()
        else:
            self._believe_resources()
            self._refresh(job_ids)
        return [self._status_of(job_id) for job_id in job_ids]

    def _status(self) -> None:
        """Bring ``resources`` up to date, for subclasses that do it in a way of their own, or look at it afterwards."""
        self._believe_resources()
        self._refresh(list(self._jobs))

    def cancel(self, job_ids: list[Any]) -> list[bool]:
        """Cancel jobs; False for one that was never submitted here, or that the batch system did not let go.

        Raises:
            ExecutionProviderException: the batch system does not answer.
        """
        self._believe_resources()
        # Many have ended by now, because their managers were told to: a cancel of those would fail.
        with contextlib.suppress(ExecutionProviderException):
            self._refresh(job_ids)
        open_ids = self._open(job_ids)
        if open_ids and not self._cancel(open_ids):
            self._refresh(open_ids)
            if len(open_ids) > 1:  # some of them may have been in the way of the others
                for job_id in self._open(open_ids):
                    self._cancel([job_id])
        known = map(self._jobs.get, job_ids)
        return [job is not None and (job.cancelled or job.status.terminal) for job in known]

    def cancel_unheard(self) -> bool:
        """Cancel jobs whose ids never reached us, by their names, until they cannot appear any more.

        Called with every other question; a program that asks none for a long time calls it. True when nothing is left
        to do. The guard knows of these jobs as well.
        """
        for name in list(self._unheard):
            try:
                self._run(self.cancel_by_name_argv(name))
            except ExecutionProviderException as error:
                logger.info("%s: %s", self.label, error)
                return False
            self._unheard[name] += 1
            if self._unheard[name] >= ANSWERS_AFTER_UNHEARD:
                del self._unheard[name]
                self._orphans.forget(name)
        return not self._unheard

    # -- commands ----------------------------------------------------------------------------------------------

    def _run(self, argv: Sequence[str]) -> CommandResult:
        if not is_foreign(self, "execute_wait"):
            return self._runner.run(argv, self.cmd_timeout)
        try:
            code, stdout, stderr = self.execute_wait(shlex.join(argv))
        except subprocess.TimeoutExpired as error:
            raise CommandTimeout(f"{argv[0]} has not ended after {error.timeout:g} s") from error
        return CommandResult(code, stdout, stderr)

    def _ask(self, argv: Sequence[str]) -> str:
        """Run a command and give its output.

        Raises:
            ExecutionProviderException: it failed.
        """
        return self._checked(argv, self._run(argv))

    @staticmethod
    def _checked(argv: Sequence[str], result: CommandResult) -> str:
        if result.exit_code != 0:
            said = result.stderr.strip() or result.stdout.strip()
            raise ExecutionProviderException(f"{argv[0]} failed with exit code {result.exit_code}: {said}")
        return result.stdout

    def _submit(self, request: JobRequest) -> str:
        argv = self.submit_argv(request.script_path)
        # From here on there may be a job, even if we die before we hear its id.
        self._orphans.expect(request.name, self.cancel_by_name_argv(request.name))
        try:
            result = self._run(argv)
        except CommandTimeout as error:
            self._give_up_hearing(request.name)
            raise SubmitException(request.name, f"{error} (cmd_timeout); is the batch system overloaded?") from error
        except ExecutionProviderException as error:
            self._orphans.forget(request.name)
            raise SubmitException(request.name, str(error)) from error
        job_id = self.parse_job_id(result.stdout)
        if result.exit_code != 0 and not job_id:
            self._orphans.forget(request.name)
            advice = find_advice(f"{result.stderr}\n{result.stdout}", self.hints)
            message = f"{argv[0]} refused {request.script_path}" + (f" ({advice})" if advice else "")
            raise SubmitException(request.name, message, result.stdout, result.stderr, result.exit_code)
        if not job_id:
            self._give_up_hearing(request.name)
            message = f"{argv[0]} gave no job id that could be recognized"
            raise SubmitException(request.name, message, result.stdout, result.stderr, result.exit_code)
        self._orphans.watch(job_id, self.cancel_argv([job_id]))
        self._orphans.forget(request.name)
        if result.exit_code != 0:  # there is a job all the same: to give it up would leave it behind
            said = result.stderr.strip()
            logger.warning("%s made job %s, and ended with exit code %d: %s", argv[0], job_id, result.exit_code, said)
        return job_id

    def _give_up_hearing(self, name: str) -> None:
        """There may be a job of this name, or there may be one soon; its id never reached us. Nobody shall run it."""
        self._unheard[name] = 0
        self.cancel_unheard()
        if not self._unheard.get(name):
            logger.warning("%s: job %s may have been submitted, and cannot be cancelled yet", self.label, name)

    def _cancel(self, job_ids: Sequence[str]) -> bool:
        """Whether the batch system has taken our cancel."""
        result = self._run(self.cancel_argv(job_ids))
        if result.exit_code != 0:
            logger.info("%s: cancel ended with exit code %d: %s", self.label, result.exit_code, result.stderr.strip())
            return False
        for job_id in job_ids:
            self._jobs[job_id].cancelled = True
            self._orphans.forget(job_id)
        return True

    # -- what is known of jobs ---------------------------------------------------------------------------------

    def _open(self, job_ids: Sequence[Any]) -> list[str]:
        """Jobs of these that are ours and have not ended, each once."""
        return [id_ for id_ in dict.fromkeys(job_ids) if (job := self._jobs.get(id_)) and not job.status.terminal]

    def _status_of(self, job_id: Any) -> JobStatus:
        job = self._jobs.get(job_id)
        return JobStatus(JobState.MISSING, f"no job {job_id} was submitted here") if job is None else job.status

    def _refresh(self, job_ids: Sequence[Any]) -> None:
        open_ids = self._open(job_ids)
        if not open_ids:
            return
        reports = self.query(open_ids)
        for job_id in open_ids:
            report = self._judge(job_id, reports.get(job_id))
            job = self._jobs[job_id]
            if report != (job.status.state, job.status.exit_code, job.status.message):
                request = job.request
                job.status = JobStatus(
                    report.state, report.message, report.exit_code, request.stdout_path, request.stderr_path
                )
                if job_id in self.resources:
                    self.resources[job_id]["status"] = job.status
            if job.status.terminal:
                self._orphans.forget(job_id)

    def _believe_resources(self) -> None:
        """Take over what a subclass, or a program, has written into ``resources``: statuses, and jobs of its own."""
        for job_id, entry in self.resources.items():
            job = self._jobs.get(job_id)
            if job is None:
                request = JobRequest(str(job_id), "", 1, os.path.join(self.script_dir or "", str(job_id)))
                self._jobs[job_id] = _BatchJob(request, entry["status"])
            else:
                job.status = entry["status"]

    def _judge(self, job_id: str, report: JobReport | None) -> JobReport:
        """Weigh what the sources say of a job."""
        job = self._jobs[job_id]
        if report is None or report.state is JobState.UNKNOWN:
            report = self.look_up(job_id) or self._left_behind(job) or report
        elif report.exit_code is None and JobStatus(report.state).terminal:
            more = self.look_up(job_id) or self._left_behind(job)
            report = report if more is None else report._replace(exit_code=more.exit_code)
        if report is None:
            return self._unknown(job)
        job.unknown_since = None
        if job.cancelled and report.state is JobState.FAILED:
            return report._replace(state=JobState.CANCELLED)
        return report

    def _unknown(self, job: _BatchJob) -> JobReport:
        """No source knows of it."""
        if job.cancelled:
            return JobReport(JobState.CANCELLED)
        now = self._clock.now()
        if job.unknown_since is None:
            job.unknown_since = now
        if now - job.unknown_since < GONE_AFTER_S:
            return JobReport(JobState.UNKNOWN, message=f"{self.label} does not list it")
        return JobReport(JobState.MISSING, message=f"{self.label} does not know it any more, and it left no exit code")

    def _left_behind(self, job: _BatchJob) -> JobReport | None:
        """What the job's own script says: its exit code, once it has ended."""
        try:
            with open(job.request.exit_code_path) as file:
                return read_exit_file(file.read(), self.walltime_s)
        except OSError:
            return None


def _output_paths(status: JobStatus) -> dict[str, str | None]:
    return {"job_stdout_path": status.stdout_path, "job_stderr_path": status.stderr_path}


def _whole_lines(text: str) -> str:
    return f"{text}\n" if text and not text.endswith("\n") else text

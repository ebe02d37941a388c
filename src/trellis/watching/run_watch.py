"""All that watches one run: begun before its executors start, ended when they have ended. Only puts the parts together.

A part that cannot begin, or fails, is told to the user and harms no task.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from trellis.core.measurements import Measurements
from trellis.dataflow.taskrecord import TaskRecord
from trellis.watching.pace import Pace
from trellis.watching.view import WatchedKernel

if TYPE_CHECKING:
    from trellis.watching.snapshot import Explanation, RunStatus

logger = logging.getLogger(__name__)


class Part(Protocol):
    """Something that watches a run."""

    def begin(self) -> None:
        """Called when the run directory is there, before the executors start. Quick."""

    def end(self) -> None:
        """Called when all tasks are final and the observers have been told. Once, also if ``begin`` has failed."""


class RunWatch:
    """The parts that watch a kernel, in the order in which they begin; they end in reverse."""

    def __init__(self, kernel: WatchedKernel) -> None:
        self._kernel = kernel
        self.pace = Pace()
        self.measurements: Measurements | None = None  # for the executors, when the run is recorded
        self._parts: list[Part] = self._choose_parts()

    def _choose_parts(self) -> list[Part]:
        """What is watched, as the configuration says; modules are loaded when they are needed."""
        config = self._kernel.config
        from trellis.watching.run_socket import RunSocket

        parts: list[Part] = [RunSocket(self._kernel, self.pace)]
        if config.monitoring is not None or config.dashboard:
            from trellis.monitoring.hub import MonitoringHub
            from trellis.monitoring.recording import Recording

            hub = config.monitoring or MonitoringHub()
            recording = Recording(self._kernel, hub)
            self.measurements = recording
            parts.append(recording)
            if config.dashboard:
                from trellis.dashboard.server_process import DashboardServer

                parts.append(DashboardServer(self._kernel, hub.database_url(config.run_dir)))
        if config.stall_warning_s is not None:
            from trellis.watching.stall_watch import StallWatch

            parts.append(StallWatch(self._kernel, config.stall_warning_s))
        if config.progress:
            from trellis.watching.progress import Progress

            parts.append(Progress(self._kernel))
        if config.report_failures:
            from trellis.watching.failure_report import FailureReport

            parts.append(FailureReport(self._kernel))
        return parts

    def begin(self) -> None:
        for part in self._parts:
            try:
                part.begin()
            except Exception as error:
                self._tell_of(part, error)

    def end(self) -> None:
        for part in reversed(self._parts):
            try:
                part.end()
            except Exception as error:
                self._tell_of(part, error)

    def leave_behind(self) -> None:
        """Close what a forked child has inherited of the watchers of its parent."""
        for part in self._parts:
            leave_behind = getattr(part, "leave_behind", None)
            if leave_behind is not None:
                leave_behind()

    # -- asked by the program itself; modules are loaded when somebody asks -------------------------------------

    def status(self, timeout_s: float) -> RunStatus:
        """See ``trellis.DataFlowKernel.status``."""
        from trellis.watching.status import take_status

        return take_status(self._kernel, self.pace, timeout_s)

    def explain(self, record: TaskRecord, timeout_s: float) -> Explanation:
        """See ``trellis.DataFlowKernel.explain``."""
        from trellis.watching.explain import explain

        return explain(self._kernel, record, timeout_s)

    def find(self, task_id: int) -> TaskRecord:
        """The record of a task; see ``trellis.watching.tasks.find_record``."""
        from trellis.watching.tasks import find_record

        return find_record(self._kernel, task_id)

    def tell(self, record: TaskRecord) -> str:
        """What a task is doing, in a few words."""
        from trellis.watching.explain import tell

        return tell(self._kernel, record)

    def _tell_of(self, part: Part, error: Exception) -> None:
        name = type(part).__name__
        logger.exception("%s failed", name)
        self._kernel.notify(f"{name} failed ({type(error).__name__}: {error}); the tasks go on without it")

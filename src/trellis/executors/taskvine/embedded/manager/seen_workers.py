"""What a manager says to workers that come, and of workers and what runs there: only what it knows to be so. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from trellis.executors.taskvine.embedded.manager.records import Running, VineTask
from trellis.executors.taskvine.settings import VineSettings
from trellis.wire.measures import TaskSamples
from trellis.wire.vine import RegisterWorker, WelcomeWorker, WorkerJoined
from trellis.wire.vine_watching import VineTasksRunning


def _is_running_at(task: VineTask | None, worker: str) -> bool:
    """Whether it runs there, and somebody waits for its result."""
    return task is not None and isinstance(task.place, Running) and task.place.worker == worker and not task.recovers


def running(
    tasks: Mapping[int, VineTask], worker: str, message: VineTasksRunning | TaskSamples
) -> VineTasksRunning | TaskSamples | None:
    """What to pass on of a worker's message; None: nothing."""
    positions = [n for n, id_ in enumerate(message.ids) if _is_running_at(tasks.get(id_), worker)]
    ids = [message.ids[n] for n in positions]
    if not ids:
        return None
    if isinstance(message, VineTasksRunning):
        return VineTasksRunning(worker, ids, [message.started[n] for n in positions])
    return TaskSamples(worker, ids, [message.samples[n] for n in positions], message.at, message.left_out)


def joined(registration: RegisterWorker) -> WorkerJoined:
    """What to say of a worker that is welcome."""
    return WorkerJoined(
        registration.worker,
        registration.hostname,
        registration.resources,
        registration.block,
        registration.python_version,
        registration.started_at,
    )


def welcome(settings: VineSettings) -> WelcomeWorker:
    """The answer to a worker that has registered."""
    return WelcomeWorker(
        settings.import_paths, settings.heartbeat_period_s, settings.worker_timeout_s, settings.sample_every_s
    )

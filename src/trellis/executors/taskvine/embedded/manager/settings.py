"""What the submit side says of a manager, as its machine wants it. Values only."""

from __future__ import annotations

from trellis.executors.taskvine.embedded.manager.categories import STEADY_TASKS
from trellis.executors.taskvine.embedded.manager.store import VineManagerSettings
from trellis.executors.taskvine.settings import VineSettings


def machine_settings(settings: VineSettings) -> VineManagerSettings:
    """TaskVine's tuning parameters, by the names that they have there."""
    tune = settings.tune
    return VineManagerSettings(
        heartbeat_threshold_s=settings.heartbeat_threshold_s,
        policy=settings.scheduler,
        autolabel=settings.autolabel,
        autolabel_window=settings.autolabel_window or STEADY_TASKS,
        wait_for_workers=int(tune.get("wait-for-workers", settings.wait_for_workers)),
        temp_replicas=int(tune.get("temp-replica-count", 1)),
        slow_factor=tune.get("disconnect-slow-worker-factor", 0.0),
        worker_transfers=int(tune.get("worker-source-max-transfers", 10)) if settings.peer_transfers else 0,
        url_transfers=int(tune.get("file-source-max-transfers", 1)),
    )

"""Asks a provider for the statuses of jobs. When it does not answer, the log has it once, until it answers again."""

from __future__ import annotations

import logging
from typing import Any

from trellis.blocks.polling import PollSchedule
from trellis.core.clock import Clock
from trellis.core.interfaces import Provider
from trellis.core.jobs import JobStatus

logger = logging.getLogger(__name__)


class Questions:
    """Questions to one provider; its schedule is told of each."""

    def __init__(self, label: str, provider: Provider, schedule: PollSchedule, clock: Clock) -> None:
        self._label = label
        self._provider = provider
        self._schedule = schedule
        self._clock = clock

    def ask(self, job_ids: list[Any]) -> dict[Any, JobStatus]:
        """Give what the provider says of these jobs; nothing when it does not answer."""
        unanswered = self._schedule.unanswered
        try:
            statuses = self._provider.status(job_ids) if job_ids else []
            if len(statuses) != len(job_ids):
                raise ValueError(f"it gave {len(statuses)} statuses for {len(job_ids)} jobs")
            if odd := [status for status in statuses if not isinstance(status, JobStatus)]:
                raise TypeError(f"it must give JobStatus objects, not {odd[0]!r}")
        except Exception as error:
            self._schedule.asked(self._clock.now(), answered=False)
            if not unanswered:
                logger.warning("%s: cannot ask %s: %s", self._label, self._provider.label, error)
            return {}
        self._schedule.asked(self._clock.now(), answered=True)
        if unanswered:
            logger.info("%s: %s answers again", self._label, self._provider.label)
        return dict(zip(job_ids, statuses, strict=True))

    def cancel_unheard(self) -> bool:
        """Let the provider cancel jobs whose ids it never heard; False when there may still be one."""
        cancel_unheard = getattr(self._provider, "cancel_unheard", None)  # ours have it, users' need not
        return cancel_unheard is None or bool(cancel_unheard())

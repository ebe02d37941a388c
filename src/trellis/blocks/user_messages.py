"""Telling the user of blocks that fail or stay silent: each thing once, with its likely cause. Decides nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from trellis.blocks.pool import SILENT_S, WAITING_S, Troubles
from trellis.core.diagnosis import diagnose
from trellis.core.jobs import JobState, JobStatus
from trellis.core.waiting import why_it_waits

logger = logging.getLogger(__name__)

# Warnings of one executor on the console: who has not looked after so many will not after more. The log has them all.
MOST_WARNINGS = 10
# Blocks and jobs named in one message.
MOST_NAMES = 5


def has_failed(job: JobStatus) -> bool:
    return job.state in (JobState.FAILED, JobState.MISSING)


def describe_failure(job: JobStatus) -> str:
    """Why a block failed, with the ends of what its job wrote, and the likely cause; several lines."""
    parts = [job.message or job.status_name]
    if job.exit_code is not None:
        parts.append(f"exit code {job.exit_code}")
    return "\n".join([", ".join(parts), *_outputs(job)])


def by_cause(jobs: Iterable[tuple[str, JobStatus]]) -> dict[str, list[str]]:
    """Ids of failed blocks by the description of their failures, in the order given.

    Jobs of one likely cause never write quite the same (times, hosts, numbers): the first one speaks for all.
    """
    first: dict[object, str] = {}
    blocks: dict[str, list[str]] = {}
    for block_id, job in jobs:
        hint = likely_cause(job)
        text = describe_failure(job)
        text = first.setdefault((job.state, job.exit_code, hint) if hint else text, text)
        blocks.setdefault(text, []).append(block_id)
    return blocks


def name_blocks(blocks: Sequence[str]) -> str:
    """``block 3``, ``blocks 3, 4`` or ``blocks 0, 1, 2, 3, 4 and 95 more``."""
    return f"block {blocks[0]}" if len(blocks) == 1 else f"blocks {_first(blocks)}"


def _first(names: Sequence[Any]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(map(str, names[:MOST_NAMES])) + (f" and {more} more" if more > 0 else "")


def likely_cause(job: JobStatus) -> str | None:
    """What a job's output and message point to; None when that is not known."""
    return diagnose("\n".join(filter(None, (job.stderr_summary, job.stdout_summary, job.message))))


def _outputs(job: JobStatus) -> list[str]:
    lines = []
    for name, output in (("stderr", job.stderr_summary), ("stdout", job.stdout_summary)):
        if output and output.strip():
            lines += [f"  {name}:", *(f"    {line}" for line in output.strip().splitlines())]
    hint = likely_cause(job)
    return [*lines, f"  likely cause: {hint}"] if hint else lines


class UserMessages:
    """Messages of an executor to its user, in the log and on the console.

    Args:
        label: The executor's.
        notify: Puts a text on the console; None: the log only.
    """

    def __init__(self, label: str, notify: Callable[[str], None] | None) -> None:
        self._label = label
        self._notify = notify
        self._told: set[str] = set()  # topics
        self._ended: set[str] = set()  # blocks whose end was looked at
        self._silent: set[str] = set()  # blocks whose silence was
        self._waiting: set[str] = set()  # blocks whose waiting was
        self._suspended: set[str] = set()

    def tell(self, text: str, topic: str | None = None) -> None:
        """Warn the user, but only once of a topic (by itself, the text)."""
        if (topic or text) in self._told:
            logger.info("%s: %s", self._label, text)
            return
        logger.warning("%s: %s", self._label, text)
        if self._notify is not None and len(self._told) < MOST_WARNINGS:
            self._notify(f"{self._label}: {text}")
        self._told.add(topic or text)

    def tell_of_fewer(self, init_blocks: int, max_blocks: int) -> None:
        """Say that not all of the first blocks are started."""
        self.tell(
            f"{max_blocks} blocks are started, not {init_blocks}: init_blocks ({init_blocks}) of its provider is above "
            f"max_blocks ({max_blocks}), which is the most there may be; raise max_blocks for more"
        )

    def tell_of_failures(self, statuses: Mapping[str, JobStatus]) -> None:
        """Look through all blocks for such as have failed since the last time."""
        new = [(block_id, job) for block_id, job in statuses.items() if job.terminal and block_id not in self._ended]
        self._ended.update(block_id for block_id, _ in new)
        failed = {block_id: job for block_id, job in new if has_failed(job)}
        for cause, blocks in by_cause(failed.items()).items():
            self.tell(f"{name_blocks(blocks)} failed: {cause}", likely_cause(failed[blocks[0]]) or cause)

    def tell_of_troubles(self, troubles: Troubles, jobs: Mapping[str, tuple[Any, JobStatus]]) -> None:
        """Tell of live blocks that are not well; ``jobs`` has the job's id and status of each."""

        def of(blocks: Sequence[str]) -> dict[str, tuple[Any, JobStatus]]:
            return {block_id: jobs[block_id] for block_id in blocks}

        self._tell_of_silence(of(troubles.silent))
        self._tell_of_waiting(of([block_id for block_id in troubles.waiting if block_id not in self._waiting]))
        self._waiting.update(troubles.waiting)
        for block_id, (job_id, _) in of(troubles.suspended).items():
            if block_id in self._suspended:
                continue
            self._suspended.add(block_id)
            self.tell(
                f"block {block_id} (job {job_id}) has been suspended, by the batch system or by somebody: its tasks "
                "stand still, and are given up when its managers have been silent for too long",
                "suspended",
            )
        for block_id, (job_id, _) in of(troubles.deserted).items():
            self.tell(
                f"block {block_id} (job {job_id}) is cancelled and makes room for another: its job runs, but all its "
                "managers have gone (Config(lost_block_timeout=...) says how long that may last)",
                "deserted",
            )

    def _tell_of_waiting(self, waiting: Mapping[str, tuple[Any, JobStatus]]) -> None:
        """Tell of blocks that wait for a reason which may pass: each reason once."""
        groups: dict[str, list[str]] = {}
        for block_id, (_, job) in waiting.items():
            groups.setdefault(job.message or "", []).append(block_id)
        for reason, blocks in groups.items():
            cause = why_it_waits(reason)
            if cause is not None:  # otherwise its reason has changed meanwhile
                jobs = _first([waiting[block_id][0] for block_id in blocks])
                self.tell(
                    f"{name_blocks(blocks)} (job {jobs}) has not started for more than {WAITING_S:.0f} s: {reason}\n"
                    f"  likely cause: {cause.hint}",
                    f"waiting: {cause.hint}",
                )

    def _tell_of_silence(self, running: Mapping[str, tuple[Any, JobStatus]]) -> None:
        """Tell of blocks (with job ids and status) that have been running for so long without any manager."""
        groups: dict[str, list[str]] = {}
        for block_id in running.keys() - self._silent:
            groups.setdefault("\n".join(_outputs(running[block_id][1])), []).append(block_id)
        self._silent.update(running)
        for words, group in groups.items():
            blocks = [block_id for block_id in running if block_id in group]  # oldest first
            text = (
                f"{name_blocks(blocks)} (job {_first([running[block_id][0] for block_id in blocks])}) has been running "
                f"for more than {SILENT_S:.0f} s, but no manager has connected"
            )
            self.tell(
                f"{text}; its job says:\n{words}"
                if words
                else f"{text}, and its job has written nothing: slow to start, or unable to reach this host?",
                f"silence: {likely_cause(running[blocks[0]][1]) or words}",
            )

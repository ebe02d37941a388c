"""What a user's executor does with its blocks in its own way, under the names that Parsl calls.

A method of the user's that fails is told of, and the blocks are looked after without it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, NamedTuple, TypeVar

from trellis.blocks.book import BlockBook
from trellis.blocks.user_messages import UserMessages
from trellis.core.foreign import is_foreign
from trellis.core.jobs import JobState, JobStatus

logger = logging.getLogger(__name__)

T = TypeVar("T")

_ALIVE = (JobState.PENDING, JobState.RUNNING)


class Overrides(NamedTuple):
    """Methods of an executor that were written outside of Trellis; None: what the block controller does holds."""

    poll: Callable[[], object] | None = None
    status: Callable[[], Mapping[str, JobStatus]] | None = None
    status_facade: Callable[[], Mapping[str, JobStatus]] | None = None
    scale_out: Callable[[int], Sequence[str] | None] | None = None
    scale_in: Callable[..., Sequence[str] | None] | None = None  # of a number, and perhaps max_idletime
    send_monitoring_info: Callable[[dict[str, JobStatus]], object] | None = None  # ours when it records
    jobs: Callable[[], Mapping[str, Any]] | None = None  # by block id, also those that it started by itself


NO_OVERRIDES = Overrides()


def overrides_of(executor: Any) -> Overrides:
    """Look at the methods of an executor as they are now: programs set them on objects, too."""

    def own(name: str) -> bool:
        return is_foreign(executor, name)

    scales_out, records = own("scale_out_facade"), getattr(executor, "is_recorded", False)
    return Overrides(
        poll=executor.poll_facade if own("poll_facade") else None,
        status=executor.status if own("status") else None,
        status_facade=(lambda: executor.status_facade) if own("status_facade") else None,
        scale_out=executor.scale_out_facade if scales_out else None,
        scale_in=executor.scale_in_facade if own("scale_in_facade") or own("scale_in") else None,
        send_monitoring_info=executor.send_monitoring_info if own("send_monitoring_info") or records else None,
        jobs=(lambda: executor.blocks_to_job_id) if scales_out else None,
    )


class UsersWord:
    """Calls the methods of a user's executor, and keeps what it says of its blocks.

    Args:
        overrides: Gives the methods, as they are now.
        messages: Tell the user of methods that fail.
        book: What is known without the user's word.
    """

    def __init__(self, overrides: Callable[[], Overrides], messages: UserMessages, book: BlockBook) -> None:
        self._book = book
        self._overrides = overrides
        self._messages = messages
        self._said: dict[str, JobStatus] = {}
        self._known: Mapping[str, JobStatus] = {}  # when it was said
        self._reported: dict[str, JobState] = {}  # to send_monitoring_info

    @property
    def methods(self) -> Overrides:
        return self._overrides()

    def call(self, name: str, function: Callable[..., T], *args: Any, **kwargs: Any) -> T | None:
        """Call a user's method; None when it fails."""
        try:
            return function(*args, **kwargs)
        except Exception as error:
            logger.debug("the %s failed", name, exc_info=True)
            self._messages.tell(f"the {name} failed: {type(error).__name__}: {error}", name)
            return None

    def hear(self, known: Mapping[str, JobStatus]) -> dict[str, JobStatus]:
        """Ask for the statuses of all blocks; ``known``: what they are without the user's word."""
        methods = self.methods
        self._said, self._known = {}, known
        if methods.status is not None:
            self._take(self.call("method status", methods.status))
        if methods.status_facade is not None:
            self._take(self.call("property status_facade", methods.status_facade))
        return self._said

    def _take(self, said: object) -> None:
        if isinstance(said, Mapping):
            self._said = {block_id: copy(status) for block_id, status in said.items()}

    def statuses(self, known: Mapping[str, JobStatus]) -> dict[str, JobStatus]:
        """Statuses of all blocks: what was said holds until something happens to a block."""
        said = {block: job for block, job in self._said.items() if known.get(block) is self._known.get(block)}
        return {block: copy(job) for block, job in {**known, **said}.items()}

    def blocks_of_its_own(self) -> list[str]:
        """Blocks that live, and only the user's executor knows."""
        return [block for block, job in self._said.items() if block not in self._known and job.state in _ALIVE]

    def own_jobs(self) -> dict[str, Any]:
        """Jobs by block id, among them those that the executor has started by itself."""
        jobs = self.methods.jobs
        return {} if jobs is None else {block: job for block, job in jobs().items() if job is not None}

    def report(self) -> None:
        """Pass on the blocks whose states have changed, for the record, by the method that Parsl has for that."""
        for statuses in (*self._book.take_changes(), self.statuses(self._book.statuses)):
            self._report(statuses)

    def _report(self, statuses: Mapping[str, JobStatus]) -> None:
        changed = {block: job for block, job in statuses.items() if self._reported.get(block) is not job.state}
        self._reported.update({block: job.state for block, job in changed.items()})
        send = self.methods.send_monitoring_info
        if changed and send is not None:
            self.call("method send_monitoring_info", send, changed)

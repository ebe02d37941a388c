"""What happens to blocks, and what the pool asks its shell to do. Plain values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from trellis.core.jobs import JobStatus

# -- events ------------------------------------------------------------------------------------------------------


class BlocksWanted(NamedTuple):
    """So many more blocks shall be started."""

    number: int


class JobSubmitted(NamedTuple):
    block_id: str
    job_id: Any


class BlockAdopted(NamedTuple):
    """A block that the user's executor has started by itself."""

    block_id: str
    job_id: Any


class StatusSaid(NamedTuple):
    """The user's executor says how a block that the batch system knows has ended."""

    block_id: str
    status: JobStatus


class JobRejected(NamedTuple):
    """The provider took no job for this block."""

    block_id: str
    reason: str


class StatusesObserved(NamedTuple):
    """What the provider says of jobs, by job id. Jobs that are not named keep their status."""

    statuses: Mapping[Any, JobStatus]


class ManagersSeen(NamedTuple):
    """Blocks from which a manager has ever connected; ``deserted`` are those of them that have none now.

    A block that was named before, and is not now, has none either.
    """

    block_ids: Sequence[str]
    deserted: Collection[str] = ()


class ScaleInWanted(NamedTuple):
    """Blocks shall end."""

    block_ids: Sequence[str]


class DrainWanted(NamedTuple):
    """Blocks shall end when their work is done: somebody will say ``ScaleInWanted`` then."""

    block_ids: Sequence[str]


class ReplaceWanted(NamedTuple):
    """Blocks are of no more use: they shall end, and make room for others."""

    block_ids: Sequence[str]
    reason: str


class JobCancelled(NamedTuple):
    """The provider has ended the job of this block."""

    block_id: str


Event = (
    BlocksWanted
    | JobSubmitted
    | BlockAdopted
    | StatusSaid
    | JobRejected
    | StatusesObserved
    | ManagersSeen
    | DrainWanted
    | ScaleInWanted
    | ReplaceWanted
    | JobCancelled
)


# -- actions -----------------------------------------------------------------------------------------------------


class SubmitJob(NamedTuple):
    block_id: str


class CancelJob(NamedTuple):
    block_id: str
    job_id: Any


Action = SubmitJob | CancelJob

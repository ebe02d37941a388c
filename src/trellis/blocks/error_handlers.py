"""When failing blocks mean that an executor cannot work. Called with all blocks' statuses after each look at them.

A handler gets the executor and the statuses by block id. To give the executor up it calls the executor's
``set_bad_state_and_fail_all``. Blocks that were scaled in, or ended with exit code 0 after work, have not failed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from trellis.blocks.user_messages import by_cause, has_failed, name_blocks
from trellis.core.jobs import JobStatus
from trellis.errors import TooManyJobFailuresError

# Different causes told in one message; more would hide the first ones.
MAX_CAUSES = 3


class FailingExecutor(Protocol):
    """What handlers use of an executor."""

    def set_bad_state_and_fail_all(self, exception: Exception) -> None: ...


class HasProvider(FailingExecutor, Protocol):
    @property
    def provider(self) -> Any: ...


# (executor, statuses by block id) -> None
BlockErrorHandler = Callable[[Any, dict[str, JobStatus]], None]


def noop_error_handler(executor: FailingExecutor, status: Mapping[str, JobStatus], threshold: int = 3) -> None:
    """Never gives an executor up, whatever ``threshold`` says."""


def simple_error_handler(executor: HasProvider, status: Mapping[str, JobStatus], threshold: int = 3) -> None:
    """Gives the executor up when all blocks that there were have failed, and at least ``init_blocks`` of them.

    ``threshold`` is there for handlers that are called by Parsl's programs; it does not count here.
    """
    failed = _failures(status.values())
    if len(failed) == len(status) and len(failed) >= max(1, executor.provider.init_blocks):
        executor.set_bad_state_and_fail_all(too_many_failures(status))


def windowed_error_handler(executor: FailingExecutor, status: Mapping[str, JobStatus], threshold: int = 3) -> None:
    """Gives the executor up when the last ``threshold`` blocks have failed."""
    last = sorted(status.items(), key=_block_number)[-threshold:]
    if len(last) == threshold and len(_failures(job for _, job in last)) == threshold:
        executor.set_bad_state_and_fail_all(too_many_failures(dict(last)))


def resolve_error_handler(block_error_handler: bool | BlockErrorHandler) -> BlockErrorHandler:
    """Give the handler that a user's setting stands for."""
    if block_error_handler is True:
        return simple_error_handler
    if block_error_handler is False:
        return noop_error_handler
    return block_error_handler


def too_many_failures(status: Mapping[str, JobStatus]) -> TooManyJobFailuresError:
    """Make the error that tells why blocks failed: each cause once, with the blocks that it hit."""
    failed = [(block, job) for block, job in sorted(status.items(), key=_block_number) if has_failed(job)]
    causes = by_cause(failed)
    states = Counter(job.status_name for _, job in failed)
    text = [f"{len(failed)} of {len(status)} blocks failed ({', '.join(f'{n} {name}' for name, n in states.items())})"]
    for cause, blocks in list(causes.items())[:MAX_CAUSES]:
        text.append(f"{name_blocks(blocks)}: {cause}")
    if len(causes) > MAX_CAUSES:
        text.append(f"and {len(causes) - MAX_CAUSES} other causes")
    return TooManyJobFailuresError("\n".join(text))


def _failures(jobs: Iterable[JobStatus]) -> list[JobStatus]:
    return [job for job in jobs if has_failed(job)]


def _block_number(item: tuple[str, JobStatus]) -> tuple[int, str]:
    """Sorts "10" after "9"; ids that are no numbers (users' own executors) come first, by name."""
    block = item[0]
    return (int(block) if block.isdecimal() else -1, block)

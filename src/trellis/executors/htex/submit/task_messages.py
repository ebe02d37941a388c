"""What the interchange is told: of tasks, and, when it takes the place of another, all that that one knew. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple, assert_never

from trellis.core.interfaces import Attempt
from trellis.core.users_errors import describe
from trellis.errors import SerializationError
from trellis.executors.common.known_functions import define_functions
from trellis.wire.codec import BATCH, Buffer, Payload, encode_checked, encode_header, pack
from trellis.wire.messages import (
    CancelTasks,
    Demand,
    DrainBlocks,
    HoldManagers,
    ResumeEnd,
    Tasks,
)


class TaskPayload(NamedTuple):
    """What an attempt carries, as its ``executor_note``; kept until it has its outcome."""

    function: int
    arguments: Payload
    priority: float
    demand: Demand | None


class StandingOrders:
    """What the interchange was told for good."""

    def __init__(self) -> None:
        self.held_managers: set[str] = set()
        self.held_blocks: set[str] = set()
        self.drained_blocks: set[str] = set()

    def note(self, message: HoldManagers | DrainBlocks) -> None:
        match message:
            case HoldManagers(managers, blocks):
                self.held_managers.update(managers)
                self.held_blocks.update(blocks)
            case DrainBlocks(blocks):
                self.drained_blocks.update(blocks)
            case _:
                assert_never(message)


def send_all_that_can(attempts: Sequence[Attempt]) -> tuple[list[list[Buffer]], dict[int, SerializationError]]:
    """Messages with these tasks, one if possible; and why not, for each that cannot be sent."""
    try:
        return [send_tasks(attempts)], {}
    except Exception as error:  # values of users': whatever is wrong with one of them
        if len(attempts) == 1:
            if not isinstance(error, SerializationError):
                error = SerializationError(f"what is said of {attempts[0].name}", describe(error))
            return [], {attempts[0].executor_id: error}
    found = [send_all_that_can([attempt]) for attempt in attempts]
    return [frames for messages, _ in found for frames in messages], {
        id_: error for _, failures in found for id_, error in failures.items()
    }


def send_tasks(attempts: Sequence[Attempt], resumed: bool = False) -> list[Buffer]:
    """Raises:
    SerializationError: what is said of one of them cannot be encoded.
    """
    calls: list[TaskPayload] = [attempt.executor_note for attempt in attempts]
    functions, arguments, priorities, demands = zip(*calls, strict=True)
    walltimes_s = [attempt.walltime_s or 0.0 for attempt in attempts]
    sizes, frames = pack(arguments)
    header = Tasks(
        [attempt.executor_id for attempt in attempts],
        list(functions),
        sizes,
        list(priorities) if any(priorities) else None,
        walltimes_s if any(walltimes_s) else None,
        list(demands) if any(demands) else None,
        resumed,
    )
    return [encode_checked(header), *frames]


def resume_messages(
    functions: Mapping[int, bytes],
    attempts: Sequence[Attempt],
    unwanted: list[int],
    managers: Collection[str],
    orders: StandingOrders,
) -> Iterator[list[Buffer]]:
    """Messages to an interchange that takes the place of another.

    Args:
        functions: all that tasks may name.
        attempts: what has no outcome, in the order of submission.
        unwanted: those of them that are to be cancelled.
        managers: that were connected.
        orders: that were given.
    """
    if functions:
        yield define_functions(functions)
    for start in range(0, len(attempts), BATCH):
        yield send_tasks(attempts[start : start + BATCH], resumed=True)
    if unwanted:
        yield [encode_header(CancelTasks(unwanted))]
    if orders.drained_blocks:
        yield [encode_header(DrainBlocks(sorted(orders.drained_blocks)))]
    yield [encode_header(ResumeEnd(sorted(managers), sorted(orders.held_managers), sorted(orders.held_blocks)))]

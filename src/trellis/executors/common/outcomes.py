"""What has come of attempts, from what workers send."""

from __future__ import annotations

from trellis.core.interfaces import Outcome, RunInfo
from trellis.wire.codec import Payload
from trellis.wire.payload import load_exception, load_result


def outcome_of(payload: Payload, failed: bool, run_info: RunInfo) -> Outcome:
    """The outcome of a task that ran to its end. A result that cannot be made here is a failure."""
    if failed:
        return Outcome(None, load_exception(payload), run_info)
    try:
        return Outcome(load_result(payload), None, run_info)
    except Exception as error:
        return Outcome(None, error, run_info)

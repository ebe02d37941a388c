"""Results that stay at the workers. Moves nothing itself."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from trellis.errors import TaskVineTaskFailure
from trellis.wire.payload import load_result


class TempResult:
    """The result of an app that was called with ``{"temp_output": True}``: it lies at the workers.

    As an argument of another app it is the value itself, read where that app runs; ``fetch()`` brings it home.
    """

    def __init__(self, number: int, fetch: Callable[[int], Future[bytes]]) -> None:
        self.number = number
        self._fetch = fetch

    def fetch(self, timeout: float | None = None) -> Any:
        """The value.

        Args:
            timeout: seconds; None: as long as it takes.

        Raises:
            TaskVineTaskFailure: no worker has it any more, and it could not be made again; with what went wrong then.
            TimeoutError: it took longer.
            DeserializationError: the value cannot be made again here.
        """
        from trellis.executors.taskvine.remote.runner import ERROR, parse_payload

        content = self._fetch(self.number).result(timeout)
        try:
            kind, buffers, *_ = parse_payload(content)
        except ValueError as error:
            raise TaskVineTaskFailure(f"the result did not come whole: {error}", "input_missing") from None
        if kind == ERROR:
            text = load_result(buffers[0])[1]
            raise TaskVineTaskFailure(f"it was lost, and its task failed when it ran again:\n{text}", "input_missing")
        return load_result(buffers if len(buffers) > 1 else buffers[0])

    def __reduce__(self) -> Any:
        raise TypeError(
            "a result that stays at the workers can only be an argument of an app of the same executor, by itself: "
            "not within another object"
        )

    def __repr__(self) -> str:
        return f"<TempResult {self.number}, at the workers>"


class ResultHere:
    """What travels in a TempResult's place: where the task finds it. Unpickled, it is the value."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        from trellis.executors.taskvine.remote.runner import load_result_file

        return load_result_file, (self._path,)

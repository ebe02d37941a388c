"""What the block controller hears of TaskVine's workers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from trellis.core.interfaces import BlockLoad
from trellis.executors import TaskVineExecutor


class Client:
    """Answers, or does not."""

    outstanding = 0

    def __init__(self) -> None:
        self.workers: list[Any] | None = []

    def status(self, _timeout_s: float) -> Any:
        if self.workers is None:
            raise TimeoutError
        return SimpleNamespace(workers=self.workers)


def test_while_the_manager_does_not_answer_no_block_has_lost_its_workers() -> None:
    executor = TaskVineExecutor(engine="embedded")
    client = Client()
    made: Any = executor
    made._client = client
    client.workers = [SimpleNamespace(block="0", idle_s=idle_s, tasks=1) for idle_s in (5.0, 3.0)]
    known = {"0": BlockLoad(2, 2, 3.0)}
    assert executor.load().blocks == known
    client.workers = None
    assert executor.load().blocks == known
    client.workers = []
    assert executor.load().blocks == {}

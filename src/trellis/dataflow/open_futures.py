"""Which futures tasks wait for, and as what the graph knows them. Used under the runner's lock; waits for nothing."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from trellis.dataflow.arguments import has_failed
from trellis.dataflow.taskrecord import TaskRecord
from trellis.futures import AppFuture


class OpenFutures:
    """Futures of the kernel's own tasks have the tasks' ids; those from elsewhere get keys below zero.

    Args:
        tasks: of the kernel, by id.
    """

    def __init__(self, tasks: Mapping[int, TaskRecord]) -> None:
        self._tasks = tasks
        self._foreign: dict[Future[Any], int] = {}
        self._foreign_keys = itertools.count(-1, -1)

    def keys_of(self, futures: Sequence[Future[Any]], new_futures: list[Future[Any]]) -> tuple[list[int], bool]:
        """Keys of the futures that are not done, and whether one that is done has failed.

        Futures from elsewhere that are seen for the first time are added to ``new_futures``: they are to be watched.
        """
        keys: list[int] = []
        failed = False
        for future in futures:
            if future.done():
                failed = failed or has_failed(future)
            elif type(future) is AppFuture and self._tasks.get(future.task_record.id) is future.task_record:
                keys.append(future.task_record.id)
            else:
                key = self._foreign.get(future)
                if key is None:
                    key = self._foreign[future] = next(self._foreign_keys)
                    new_futures.append(future)
                keys.append(key)
        return keys, failed

    def done(self, future: Future[Any]) -> int:
        """A future from elsewhere is done: gives its key, which is not used again."""
        return self._foreign.pop(future)

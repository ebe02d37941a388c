"""Results that stay at the workers, brought home. Knows no sockets."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from trellis.executors.taskvine.ndcctools import mapping
from trellis.executors.taskvine.ndcctools.adapter import TaskVine
from trellis.executors.taskvine.ndcctools.file_book import FileBook
from trellis.executors.taskvine.remote import runner

_CATEGORY = "trellis-fetch"


class Fetched(NamedTuple):
    """What came of a fetch, as in ``FileFetched``."""

    request: int
    error: str
    content: bytes = b""


class _Asked(NamedTuple):
    request: int
    file: int
    buffer: Any


class Fetches:
    """Each ``start`` comes to one ``Fetched``, now or later.

    A task reads the file, for which TaskVine makes again what was lost. Its own call for this is not used: when the
    worker is gone, that of 7.14.5 gives whatever was in memory before, which may be another's result, or crashes.
    """

    def __init__(self, vine: TaskVine, files: FileBook) -> None:
        self._vine = vine
        self._files = files
        self._tasks: dict[int, _Asked] = {}  # by TaskVine's number

    def start(self, request: int, file: int) -> Fetched | None:
        try:
            known = self._files.get(file)
        except KeyError:
            return Fetched(request, "it was given up")
        task = self._vine.new_task(f"cat {mapping.RESULT} > {mapping.REPORT}")
        buffer = self._vine.buffer(None)
        task.add_input(known, mapping.RESULT)
        task.add_output(buffer, mapping.REPORT)
        task.set_category(_CATEGORY)
        task.set_cores(1)
        task.set_max_forsaken(mapping.MAX_FORSAKEN)
        try:
            number = self._vine.submit(task)
        except (ValueError, TypeError, OSError) as error:
            return Fetched(request, f"TaskVine cannot bring it: {error}")
        self._tasks[number] = _Asked(request, file, buffer)
        return None

    def ended(self, task: Any) -> Fetched | None:
        """What came of a task that TaskVine gives back; None: it is none of these."""
        if task.id not in self._tasks:
            return None
        request, _, buffer = self._tasks.pop(task.id)
        content = bytes(buffer.contents() or b"")
        self._vine.drop(buffer)
        try:
            runner.parse_payload(content)
        except ValueError:
            return Fetched(request, f"no worker has it any more, and it could not be made again ({task.result})")
        return Fetched(request, "", content)

    def lost(self, files: Collection[int]) -> list[Fetched]:
        """Note that these files cannot be made again."""
        answers = []
        for number, asked in list(self._tasks.items()):
            if asked.file in files:
                del self._tasks[number]
                self._vine.cancel(number)
                answers.append(Fetched(asked.request, "its worker is gone, and it could not be made again"))
        return answers

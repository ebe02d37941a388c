"""The thread of an executor's submit side: what others put is done by it alone, and nothing that was put is forgotten.

Knows nothing of what the items are.
"""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from typing import Any

from trellis.errors import InternalConsistencyError
from trellis.transport.inbox import Inbox

logger = logging.getLogger(__name__)


class SubmitThread(ABC):
    """A subclass says what the thread does, and gives every item what it waits for, also at the end.

    Args:
        label: of the executor.
        kind: of the executor, for the name of the thread.
    """

    def __init__(self, label: str, kind: str) -> None:
        self._label = label
        self._kind = kind
        self._inbox: Inbox[Any] = Inbox()
        self._closing = False
        # Held by who takes the inbox's last items; a future's callback may put another one meanwhile.
        self._closed = threading.RLock()
        self._finished = False

    @abstractmethod
    def _work(self) -> None:
        """Wait and serve until ``_closing``; on the thread."""

    @abstractmethod
    def _on_inbox(self) -> None:
        """Do all that is in the inbox."""

    @abstractmethod
    def _on_defect(self, failure: InternalConsistencyError) -> None:
        """The thread has failed: end what is outstanding with this."""

    def _start_thread(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"trellis-{self._kind}-{self._label}", daemon=True)
        self._thread.start()

    def _end_thread(self, last: object) -> None:
        """Put a last item, and wait for the end of the thread."""
        self._closing = True
        self._inbox.put(last)
        self._thread.join()

    def _put(self, item: object) -> None:
        self._inbox.put(item)
        if self._finished:  # nobody drains any more: do it here, so that nothing waits for ever
            with self._closed:
                self._on_inbox()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:
            logger.exception("the thread of executor %s failed", self._label)
            self._on_defect(InternalConsistencyError(f"the thread of executor {self._label} failed: {error!r}"))
        finally:
            with self._closed:
                self._finished = True
                self._on_inbox()
                self._inbox.close()

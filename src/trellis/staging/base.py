"""The interface of staging providers. Decides and moves nothing."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trellis.futures import DataFuture
    from trellis.staging.data_manager import DataManager
    from trellis.staging.files import File


class Staging:
    """A way of bringing files to tasks and away from them; this one takes no file.

    For each file of a task the providers in the executor's ``storage_access`` are asked in turn; the first that says
    it can is used. It may submit a task of its own (``stage_in``, ``stage_out``), or wrap the task's function
    (``replace_task``, ``replace_task_stage_out``), or both, or nothing.

    The file given is a copy for this one task: a provider sets its ``local_path`` to where the task will find it.
    ``executor`` is the label of the executor of the task; ``dm.dfk.executors[executor]`` is the executor.
    """

    def can_stage_in(self, file: File) -> bool:
        """Whether this provider brings such a file to a task."""
        return False

    def can_stage_out(self, file: File) -> bool:
        """Whether this provider takes such a file away from a task."""
        return False

    def stage_in(self, dm: DataManager, executor: str, file: File, parent_fut: Future[Any] | None) -> DataFuture | None:
        """Begin to bring a file.

        Args:
            parent_fut: what has to be done before there is a file; None when it is there already.

        Returns:
            a future that the task will wait for, with the file as its result; None when there is nothing to wait for.
        """
        return None

    def stage_out(self, dm: DataManager, executor: str, file: File, app_fu: Future[Any]) -> Future[Any] | None:
        """Arrange for a file to be taken away after its task; called before the task runs.

        Args:
            app_fu: done when the task is.

        Returns:
            a future that is done when the file is in its place; None when it is there at the end of the task.
        """
        return None

    def replace_task(
        self, dm: DataManager, executor: str, file: File, func: Callable[..., Any]
    ) -> Callable[..., Any] | None:
        """A function that brings the file and then does what ``func`` does; None to leave ``func`` as it is."""
        return None

    def replace_task_stage_out(
        self, dm: DataManager, executor: str, file: File, func: Callable[..., Any]
    ) -> Callable[..., Any] | None:
        """A function that does what ``func`` does and then takes the file away; None to leave ``func`` as it is."""
        return None

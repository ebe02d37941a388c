"""Staging providers, and the manager that chooses one for each file of a task. Moves nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from trellis.core.interfaces import Kernel
from trellis.futures import DataFuture
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


class DataManager:
    """The staging providers of a kernel's executors. Executors are given by their labels.

    Args:
        dfk: the kernel that has the executors and will run tasks of staging.
        default: the providers of executors with ``storage_access=None``; None: those of the kernel's own data manager.
    """

    def __init__(self, dfk: Kernel, default: Sequence[Staging] | None = None) -> None:
        self.dfk = dfk
        self._default = default

    def optionally_stage_in(
        self, input: Any, func: Callable[..., Any], executor: str
    ) -> tuple[Any, Callable[..., Any]]:
        """An argument, and the function of its task, with stage-in arranged if the argument is a File or DataFuture.

        Each task gets a copy of the file of its own.

        Raises:
            ValueError: no provider of the executor takes the file.
        """
        if isinstance(input, DataFuture):
            file = input.file_obj.cleancopy()
            input = DataFuture(input, file, tid=input.tid)
        elif isinstance(input, File):
            file = input = input.cleancopy()
        else:
            return input, func
        replacement = self.stage_in(file, input, executor)
        return replacement, self.replace_task(file, func, executor)

    def stage_in(self, file: File, input: Any, executor: str) -> Any:
        """Begin to bring a file.

        Args:
            input: the argument that stands for the file: a DataFuture of it, or the file.

        Returns:
            what the task gets in place of ``input``.
        """
        parent = input if isinstance(input, DataFuture) else None
        staged = self._provider_in(file, executor).stage_in(self, executor, file, parent_fut=parent)
        return input if staged is None else staged

    def replace_task(self, file: File, func: Callable[..., Any], executor: str) -> Callable[..., Any]:
        """The function of a task, wrapped if the file is to be brought within it."""
        return self._provider_in(file, executor).replace_task(self, executor, file, func) or func

    def stage_out(self, file: File, executor: str, app_fu: Future[Any]) -> Future[Any] | None:
        """Arrange for a file to be taken away when ``app_fu`` is done; a future when that takes a task of its own."""
        return self._provider_out(file, executor).stage_out(self, executor, file, app_fu)

    def replace_task_stage_out(self, file: File, func: Callable[..., Any], executor: str) -> Callable[..., Any]:
        """The function of a task, wrapped if the file is to be taken away within it."""
        return self._provider_out(file, executor).replace_task_stage_out(self, executor, file, func) or func

    def _provider_in(self, file: File, executor: str) -> Staging:
        for provider in self._providers(executor):
            if provider.can_stage_in(file):
                return provider
        raise ValueError(f"Executor {executor} cannot stage file {file!r}{_advice(file, 'can_stage_in')}")

    def _provider_out(self, file: File, executor: str) -> Staging:
        for provider in self._providers(executor):
            if provider.can_stage_out(file):
                return provider
        raise ValueError(f"Executor {executor} cannot stage out file {file!r}{_advice(file, 'can_stage_out')}")

    def _providers(self, executor: str) -> Sequence[Staging]:
        providers: Sequence[Staging] | None = getattr(self.dfk.executors[executor], "storage_access", None)
        if providers is None:
            providers = self._default
        return self.dfk.data_manager._providers(executor) if providers is None else providers


def _advice(file: File, method: str) -> str:
    return (
        f": nothing in its storage_access knows {file.scheme}: URLs (its {method}(file) is True); give it what "
        "does, or bring the file here and write File('/path')"
    )

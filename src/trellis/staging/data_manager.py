"""Chooses the staging provider for each file of a task. Moves nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from trellis.futures import DataFuture
from trellis.staging.base import Staging
from trellis.staging.files import File
from trellis.staging.ftp import FTPSeparateTaskStaging
from trellis.staging.http import HTTPSeparateTaskStaging
from trellis.staging.noop import NoOpFileStaging
from trellis.staging.zip import ZipFileStaging

if TYPE_CHECKING:
    from trellis.dataflow.kernel import DataFlowKernel

# For executors with storage_access=None. Shared by all of them, so it must know nothing of any.
default_staging: Sequence[Staging] = (
    NoOpFileStaging(),
    FTPSeparateTaskStaging(),
    HTTPSeparateTaskStaging(),
    ZipFileStaging(),
)


class DataManager:
    """The staging providers of a kernel's executors. Executors are given by their labels.

    Args:
        dfk: the kernel that has the executors and will run tasks of staging.
    """

    def __init__(self, dfk: DataFlowKernel) -> None:
        self.dfk = dfk

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
        raise ValueError(f"Executor {executor} cannot stage file {file!r}")

    def _provider_out(self, file: File, executor: str) -> Staging:
        for provider in self._providers(executor):
            if provider.can_stage_out(file):
                return provider
        raise ValueError(f"Executor {executor} cannot stage out file {file!r}")

    def _providers(self, executor: str) -> Sequence[Staging]:
        providers: Sequence[Staging] | None = getattr(self.dfk.executors[executor], "storage_access", None)
        return default_staging if providers is None else providers

"""A kernel as staging sees it, and a way to run tasks of staging at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

from trellis.futures import DataFuture
from trellis.staging.base import DataManager, Staging
from trellis.staging.default import default_staging
from trellis.staging.files import File


class InlineKernel:
    """Runs what staging submits at once, and keeps the labels of executors that it was submitted to."""

    def __init__(self, **executors: Any) -> None:
        self.executors = executors
        self.labels: list[Any] = []

    def submit(self, func: Any, app_args: Sequence[Any], *, executors: Any, app_kwargs: dict[str, Any]) -> Any:
        self.labels.append(executors)
        kwargs = dict(app_kwargs)
        assert kwargs.pop("_parsl_staging_inhibit") is True
        future: Any = Future()
        try:
            future.set_result(func(*app_args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        future.outputs = [DataFuture(future, file) for file in kwargs.get("outputs", ())]
        return future


def make_manager(storage_access: Sequence[Staging] | None = None, working_dir: str | None = None) -> DataManager:
    executor = SimpleNamespace(storage_access=storage_access, working_dir=working_dir)
    return DataManager(InlineKernel(e=executor), default_staging)  # type: ignore[arg-type]


def done(value: Any = None) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


class OneScheme(Staging):
    """Takes files of one scheme and records what it is asked to do."""

    def __init__(self, scheme: str, stage: Future[Any] | None = None, wrap: bool = False) -> None:
        self.scheme = scheme
        self.stage = stage
        self.wrap = wrap
        self.asked: list[tuple[Any, ...]] = []

    def can_stage_in(self, file: File) -> bool:
        return file.scheme == self.scheme

    can_stage_out = can_stage_in

    def stage_in(self, dm: DataManager, executor: str, file: File, parent_fut: Future[Any] | None) -> Any:
        self.asked.append(("stage_in", executor, file, parent_fut))
        return self.stage

    def stage_out(self, dm: DataManager, executor: str, file: File, app_fu: Future[Any]) -> Future[Any] | None:
        self.asked.append(("stage_out", executor, file, app_fu))
        return self.stage

    def replace_task(self, dm: DataManager, executor: str, file: File, func: Callable[..., Any]) -> Any:
        return (lambda: ("in", func())) if self.wrap else None

    def replace_task_stage_out(self, dm: DataManager, executor: str, file: File, func: Callable[..., Any]) -> Any:
        return (lambda: ("out", func())) if self.wrap else None

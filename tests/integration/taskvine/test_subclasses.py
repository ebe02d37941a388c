"""Subclasses of TaskVineExecutor as Parsl's users write them: what they override is called, and files go as ever."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import trellis
from tests.integration.taskvine.vines import WAIT_S
from trellis import Config, File
from trellis.errors import AppTimeout
from trellis.executors.taskvine import TaskVineExecutor


class Mine(TaskVineExecutor):
    def __init__(self) -> None:
        super().__init__(label="mine", engine="embedded")
        self.called: list[str] = []

    def start(self) -> None:  # type: ignore[override]
        self.called.append("start")
        super().start()

    def initialize_scaling(self) -> None:
        self.called.append("initialize_scaling")
        super().initialize_scaling()

    def submit(self, func: Any, resource_specification: Any, *args: Any, **kwargs: Any) -> Future[Any]:
        if resource_specification.get("cores") == 7:
            raise PermissionError("not so many")
        self.called.append("submit")
        return super().submit(func, resource_specification, *args, **kwargs)

    def shutdown(self, timeout: float = 10.0) -> None:
        self.called.append("shutdown")
        super().shutdown(timeout)


@trellis.python_app
def upper(inputs: Any = (), outputs: Any = ()) -> None:
    Path(outputs[0]).write_text(Path(inputs[0]).read_text().upper())


@trellis.python_app
def one(parsl_resource_specification: Any = None) -> int:
    return 1


@trellis.python_app
def forever() -> None:
    while True:
        pass


def test_a_subclass_is_asked_for_each_task(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abc")
    mine = Mine()
    with trellis.load(Config(executors=[mine], run_dir=str(tmp_path / "runs"))):
        made = upper(inputs=[File(tmp_path / "a.txt")], outputs=[File(tmp_path / "b.txt")])
        assert made.outputs[0].result(WAIT_S).filepath == str(tmp_path / "b.txt")
        assert isinstance(one(parsl_resource_specification={"cores": 7}).exception(WAIT_S), PermissionError)
        assert isinstance(forever(walltime=1).exception(WAIT_S), AppTimeout)
    assert (tmp_path / "b.txt").read_text() == "ABC"
    assert mine.called == ["start", "initialize_scaling", "submit", "submit", "shutdown"]

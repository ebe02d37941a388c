from __future__ import annotations

from concurrent.futures import Future

import pytest

from tests.unit.staging.fakes import OneScheme, done, make_manager
from trellis.futures import DataFuture
from trellis.staging.base import Staging
from trellis.staging.default import default_staging
from trellis.staging.files import File
from trellis.staging.noop import NoOpFileStaging


def body() -> str:
    return "ran"


def test_other_arguments_pass_through() -> None:
    assert make_manager().optionally_stage_in(5, body, "e") == (5, body)


def test_a_file_is_copied_for_each_task() -> None:
    file = File("a")
    staged, func = make_manager().optionally_stage_in(file, body, "e")
    assert staged is not file
    assert (staged.url, func) == ("a", body)


def test_the_first_provider_that_can_is_used() -> None:
    providers = [Staging(), OneScheme("x"), OneScheme("y"), OneScheme("y")]
    staged, _ = make_manager(providers).optionally_stage_in(File("y:a"), body, "e")
    assert [len(provider.asked) for provider in providers if isinstance(provider, OneScheme)] == [0, 1, 0]
    assert providers[2].asked == [("stage_in", "e", staged, None)]  # type: ignore[attr-defined]


def test_what_staging_gives_takes_the_place_of_the_file() -> None:
    future = DataFuture(done(), File("x:a"))
    staged, func = make_manager([OneScheme("x", stage=future, wrap=True)]).optionally_stage_in(File("x:a"), body, "e")
    assert staged is future
    assert func() == ("in", "ran")


def test_a_data_future_is_staged_when_it_is_done() -> None:
    parent: Future[None] = Future()
    provider = OneScheme("x")
    original = DataFuture(parent, File("x:a"), tid=3)
    staged, _ = make_manager([provider]).optionally_stage_in(original, body, "e")
    assert (staged.tid, staged.done()) == (3, False)
    parent.set_result(None)
    assert staged.result(timeout=0) is provider.asked[0][2] is not original.file_obj
    assert provider.asked == [("stage_in", "e", staged.file_obj, staged)]


def test_outputs_are_staged_out() -> None:
    app_future, stage_future, file = done(), done(), File("x:a")
    provider = OneScheme("x", stage=stage_future, wrap=True)
    manager = make_manager([provider])
    assert manager.stage_out(file, "e", app_future) is stage_future
    assert provider.asked == [("stage_out", "e", file, app_future)]
    assert manager.replace_task_stage_out(file, body, "e")() == ("out", "ran")


def test_no_wrapper_leaves_the_function() -> None:
    manager = make_manager([OneScheme("x")])
    assert manager.replace_task_stage_out(File("x:a"), body, "e") is body
    assert manager.stage_out(File("x:a"), "e", done()) is None


def test_a_file_that_nobody_takes_is_refused() -> None:
    manager = make_manager([NoOpFileStaging(), Staging()])
    file = File("x:a")
    for attempt in (
        lambda: manager.optionally_stage_in(file, body, "e"),
        lambda: manager.replace_task(file, body, "e"),
    ):
        with pytest.raises(ValueError, match=r"Executor e cannot stage file .*x:a"):
            attempt()
    for attempt in (
        lambda: manager.stage_out(file, "e", done()),
        lambda: manager.replace_task_stage_out(file, body, "e"),
    ):
        with pytest.raises(ValueError, match=r"Executor e cannot stage out file .*x:a"):
            attempt()


def test_the_default_takes_the_usual_schemes() -> None:
    def taker(url: str, out: bool = False) -> str | None:
        file = File(url)
        takers = (p for p in default_staging if (p.can_stage_out(file) if out else p.can_stage_in(file)))
        return next((repr(provider) for provider in takers), None)

    assert [taker(url) for url in ("a", "ftp://h/a", "http://h/a", "https://h/a", "zip:/a.zip/b", "x:a")] == [
        "NoOpFileStaging()",
        "FTPSeparateTaskStaging()",
        "HTTPSeparateTaskStaging()",
        "HTTPSeparateTaskStaging()",
        "ZipFileStaging()",
        None,
    ]
    assert [taker(url, out=True) for url in ("a", "ftp://h/a", "http://h/a", "zip:/a.zip/b")] == [
        "NoOpFileStaging()",
        None,
        None,
        "ZipFileStaging()",
    ]


def test_executors_without_the_attribute_have_the_default() -> None:
    manager = make_manager()
    del manager.dfk.executors["e"].storage_access
    assert manager.stage_in(file := File("a"), file, "e") is file

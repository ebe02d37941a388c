"""Every parameter of ``map``, of apps and of pools, given anything: it works, or is refused by name at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import trellis
from tests.properties.odd_values import ODD
from trellis.concurrent import ParslPoolExecutor
from trellis.errors import TrellisError


def double(x: int) -> int:
    return 2 * x


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[trellis.DataFlowKernel]:
    run_dir: Path = tmp_path_factory.mktemp("run")
    config = trellis.Config(executors=[trellis.ThreadPoolExecutor()], run_dir=str(run_dir), initialize_logging=False)
    with trellis.load(config) as kernel:
        yield kernel


def named(call: Callable[[], Any], name: str) -> Any:
    """What a call gives; None when it is refused as it should be."""
    try:
        return call()
    except TrellisError as error:
        refusal = error
    assert isinstance(refusal, TypeError | ValueError)
    assert name in str(refusal)
    return None


def keywords(function: Callable[..., Any]) -> list[str]:
    found = [name for name, p in inspect.signature(function).parameters.items() if p.kind is p.KEYWORD_ONLY]
    assert found
    return found


@pytest.mark.shared_kernel
def test_map_of_an_app(kernel: trellis.DataFlowKernel) -> None:
    app = trellis.python_app(double)
    for value in ODD:
        for name in keywords(app.map):
            futures = named(lambda name=name, value=value: app.map([1, 2], **{name: value}), name)  # type: ignore[misc]
            assert futures is None or [future.result(30) for future in futures] == [2, 4]
        named(lambda value=value: app.map(value, [1]), "iterables")  # type: ignore[misc]


@pytest.mark.shared_kernel
def test_map_of_a_pool(kernel: trellis.DataFlowKernel) -> None:
    pool = ParslPoolExecutor(dfk=kernel)
    for value in ODD:
        for name in keywords(pool.map):
            results = named(lambda name=name, value=value: pool.map(double, [1, 2], **{name: value}), name)  # type: ignore[misc]
            if results is not None and name != "timeout":
                assert list(results) == [2, 4]
        named(lambda value=value: pool.map(value, [1]), "fn")  # type: ignore[misc]
        named(lambda value=value: pool.map(double, value, [1]), "iterables")  # type: ignore[misc]


@pytest.mark.shared_kernel
def test_a_pool(kernel: trellis.DataFlowKernel) -> None:
    for value in ODD:
        for name in ("config", "dfk"):
            if value is not None:
                assert named(lambda name=name, value=value: ParslPoolExecutor(**{name: value}), name) is None  # type: ignore[misc]
        named(lambda value=value: ParslPoolExecutor(dfk=kernel, executors=value), "executors")  # type: ignore[misc]

"""``ParslPoolExecutor`` and the run that it starts, or is given."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path

import pytest

import trellis
from trellis.concurrent import ParslPoolExecutor
from trellis.errors import NoDataFlowKernelError

WAIT_S = 30


def config(run_dir: Path) -> trellis.Config:
    return trellis.Config([trellis.ThreadPoolExecutor(max_threads=2)], run_dir=str(run_dir), initialize_logging=False)


@trellis.python_app
def double(x: int) -> int:
    return 2 * x


def test_its_run_is_the_programs(tmp_path: Path) -> None:
    pool = ParslPoolExecutor(config(tmp_path))
    assert trellis.dfk() is pool.dfk
    assert double(pool.submit(pow, 2, 3)).result(WAIT_S) == 16
    pool.shutdown()
    with pytest.raises(NoDataFlowKernelError):
        trellis.dfk()
    with ParslPoolExecutor(config(tmp_path)) as pool:
        assert trellis.dfk() is pool.dfk
        assert double(3).result(WAIT_S) == 6


def test_while_the_program_has_one_it_is_another(tmp_path: Path) -> None:
    with trellis.load(config(tmp_path)) as kernel:
        with ParslPoolExecutor(config(tmp_path)) as pool:
            assert pool.dfk is not kernel
            assert pool.submit(pow, 2, 3).result(WAIT_S) == 8
        assert pool.dfk.cleanup_called
        assert trellis.dfk() is kernel
        assert double(3).result(WAIT_S) == 6


def test_a_run_that_it_is_given_goes_on(tmp_path: Path) -> None:
    with trellis.load(config(tmp_path)) as kernel:
        with ParslPoolExecutor(dfk=kernel) as pool:
            assert pool.dfk is kernel
            assert pool.submit(pow, 2, 3).result(WAIT_S) == 8
        assert not kernel.cleanup_called


@pytest.mark.parametrize("cancel", [True, False])
def test_an_end_that_is_not_waited_for(cancel: bool, tmp_path: Path) -> None:
    gate: Future[int] = Future()
    pool = ParslPoolExecutor(config(tmp_path))
    future = pool.submit(pow, gate, 2)  # type: ignore[arg-type]
    pool.shutdown(wait=False, cancel_futures=cancel)
    assert future.cancelled() == cancel
    gate.set_result(3)
    if not cancel:
        assert future.result(WAIT_S) == 9
    pool.shutdown()
    assert pool.dfk.cleanup_called

"""What holds for every test: it leaves nothing behind, and its child processes find the same code."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.leaks import Snapshot
from trellis.watching import failure_report

_ROOT = Path(__file__).parents[1]
_PROCESS_TESTS = ("tests/integration/", "tests/contract/", "tests/fuzz/", "tests/providers/", "tests/real/")

# Workers started by tests import Trellis and the tests' own functions, also where Trellis is not installed.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(_ROOT / "src"), str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
)

# Started with nohup, or in the background of a script, all processes would ignore these: also those that tests end.
for _number, _handler in ((signal.SIGHUP, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

# "ci" gives the same examples every time; HYPOTHESIS_PROFILE=explore looks for new ones, and for longer.
settings.register_profile(
    "ci", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "shared_kernel: uses a kernel of its module, whose threads may outlive the test but not the module"
    )


def pytest_unconfigure() -> None:
    # Many a test's tasks fail on purpose: there is nothing to tell of them.
    failure_report.forget_all()


def _uses_processes(request: pytest.FixtureRequest) -> bool:
    return request.path.relative_to(_ROOT).as_posix().startswith(_PROCESS_TESTS)


def _check(snapshot: Snapshot, owner: str) -> None:
    leaks = snapshot.leaks()
    if leaks:
        pytest.fail(f"{owner} left behind:\n  " + "\n  ".join(leaks), pytrace=False)


@pytest.fixture(scope="module", autouse=True)
def _no_leaks_of_module(request: pytest.FixtureRequest) -> Iterator[None]:
    """Finds what fixtures of a module leave behind."""
    before = Snapshot(processes=_uses_processes(request))
    yield
    _check(before, request.path.name)


@pytest.fixture(autouse=True)
def _no_leaks(request: pytest.FixtureRequest, _no_leaks_of_module: None) -> Iterator[None]:
    """Fails a test that leaves a thread behind, or in tests with real processes a child process or open file."""
    if request.node.get_closest_marker("shared_kernel"):
        yield
        return
    before = Snapshot(processes=_uses_processes(request))
    yield
    _check(before, request.node.name)

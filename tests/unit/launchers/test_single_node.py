"""What launchers for one node take and say, without running anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trellis.errors import ParameterTypeError
from trellis.launchers import Launcher, SimpleLauncher, SingleNodeLauncher, WrappedLauncher
from trellis.launchers.errors import BadLauncher
from trellis.providers import LocalProvider


def test_simple_launcher_leaves_the_command_as_it_is() -> None:
    assert SimpleLauncher(debug=False)("hostname -f", 1, 1) == "hostname -f"


def test_wrapped_launcher_prepends() -> None:
    assert WrappedLauncher("nice -n 10", debug=False)("hostname", 1, 1) == "nice -n 10 hostname"


def test_wrapped_launcher_warns_about_copies_that_it_does_not_start(caplog: pytest.LogCaptureFixture) -> None:
    WrappedLauncher("nice")("true", 2, 3)
    assert "not 2 times on 3 nodes" in caplog.text


def test_who_reaches_loopback() -> None:
    launchers = [SimpleLauncher(), SingleNodeLauncher(), WrappedLauncher("ssh other")]
    assert [launcher.same_host for launcher in launchers] == [True, True, False]


@pytest.mark.parametrize(
    "make",
    [
        lambda: SimpleLauncher(debug="yes"),  # type: ignore[arg-type]
        lambda: SingleNodeLauncher(debug=1),  # type: ignore[arg-type]
        lambda: SingleNodeLauncher(fail_on_any=1),  # type: ignore[arg-type]
        lambda: WrappedLauncher(prepend=None),  # type: ignore[arg-type]
    ],
)
def test_parameters_of_the_wrong_type_are_refused(make: Callable[[], Launcher]) -> None:
    with pytest.raises(ParameterTypeError):
        make()


def test_repr_shows_the_settings() -> None:
    assert repr(SingleNodeLauncher(fail_on_any=True)) == "SingleNodeLauncher(debug=True, fail_on_any=True)"


def test_what_is_no_launcher_is_a_bad_launcher() -> None:
    with pytest.raises(BadLauncher, match="SimpleLauncher"):
        LocalProvider(launcher=SimpleLauncher)  # type: ignore[arg-type]


class OfThree(Launcher):
    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int) -> str:  # type: ignore[override]
        return f"{command} {tasks_per_node} {nodes_per_block}"


class OfFour(Launcher):
    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        return f"{command} {tasks_per_node} {nodes_per_block} {script_dir}"


def test_a_launcher_of_three_arguments_is_called_with_three() -> None:
    assert OfThree().script("work", 2, 3, "/scripts") == "work 2 3"
    assert OfFour().script("work", 2, 3, "/scripts") == "work 2 3 /scripts"

"""What launchers for one node take and say, without running anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trellis.errors import ParameterTypeError
from trellis.launchers import Launcher, SimpleLauncher, SingleNodeLauncher, WrappedLauncher
from trellis.launchers.base import block_script, stays_here
from trellis.launchers.errors import BadLauncher
from trellis.providers import LocalProvider


def test_simple_launcher_leaves_the_command_as_it_is() -> None:
    assert SimpleLauncher()("hostname -f", 1, 1) == "hostname -f"


def test_wrapped_launcher_prepends() -> None:
    assert WrappedLauncher("nice -n 10")("hostname", 1, 1) == "nice -n 10 hostname"


@pytest.mark.parametrize("launcher", [SimpleLauncher, lambda debug: WrappedLauncher("nice", debug=debug)])
def test_debug_traces_what_stands_in_the_script_as_it_is(launcher: Callable[..., Launcher]) -> None:
    assert block_script(launcher(debug=True), "hostname", 1, 1).startswith("set -x\n")
    assert "set -x" not in block_script(launcher(debug=False), "hostname", 1, 1)


def test_wrapped_launcher_warns_about_copies_that_it_does_not_start(caplog: pytest.LogCaptureFixture) -> None:
    WrappedLauncher("nice")("true", 2, 3)
    assert "2 tasks per node and 3 nodes per block" in caplog.text


def test_who_reaches_loopback() -> None:
    launchers = [SimpleLauncher(), SingleNodeLauncher(), WrappedLauncher("ssh other")]
    assert [stays_here(launcher) for launcher in launchers] == [True, True, False]


class Elsewhere(SimpleLauncher):
    def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
        return f"ssh other {command}"


class Here(Elsewhere):
    same_host = True


def test_nobody_knows_where_a_subclass_runs_the_command_unless_it_says_so() -> None:
    assert not stays_here(Elsewhere())
    assert stays_here(Here())
    assert not stays_here(len)
    told = Elsewhere()
    told.same_host = True
    assert stays_here(told)


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
    assert block_script(OfThree(), "work", 2, 3, "/scripts") == "work 2 3"
    assert block_script(OfFour(), "work", 2, 3, "/scripts") == "work 2 3 /scripts"


def test_a_function_is_a_launcher() -> None:
    provider = LocalProvider(launcher=lambda command, *numbers: f"{command} {numbers}")
    assert block_script(provider.launcher, "work", 2, 3, "/scripts") == "work (2, 3, '/scripts')"
    assert not provider.same_host


@pytest.mark.parametrize("text", [None, b"work", 3])
def test_a_launcher_that_gives_no_text_is_named(text: object) -> None:
    class Odd(Launcher):
        def __call__(self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = "") -> str:
            return text  # type: ignore[return-value]

    with pytest.raises(TypeError, match="launcher Odd must give the text of a script, not "):
        block_script(Odd(), "work", 1, 1)

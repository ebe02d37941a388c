"""The text of launchers for several nodes; what it does is in tests/integration."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from trellis.errors import ParameterTypeError
from trellis.launchers import (
    AprunLauncher,
    GnuParallelLauncher,
    JsrunLauncher,
    Launcher,
    MpiExecLauncher,
    MpiRunLauncher,
    SrunLauncher,
    SrunMPILauncher,
)

ALL = [
    AprunLauncher,
    GnuParallelLauncher,
    JsrunLauncher,
    MpiExecLauncher,
    MpiRunLauncher,
    SrunLauncher,
    SrunMPILauncher,
]
WITH_OVERRIDES = [launcher for launcher in ALL if launcher is not GnuParallelLauncher]


def last_line(launcher: Launcher, tasks_per_node: int = 2, nodes: int = 3) -> str:
    return launcher("run me", tasks_per_node, nodes).splitlines()[-1]


@pytest.mark.parametrize(
    ("launcher", "line"),
    [
        (
            SrunLauncher(),
            "srun --ntasks=$WORKERCOUNT --kill-on-bad-exit=0 --cpu-bind=none --label /bin/bash -c 'run me'",
        ),
        (AprunLauncher(), "aprun -n $WORKERCOUNT -N 2 /bin/bash -c 'run me'"),
        (JsrunLauncher(), "jsrun -n $WORKERCOUNT -r 2 /bin/bash -c 'run me'"),
        (MpiRunLauncher(), "mpirun -np $WORKERCOUNT $trellis_placing /bin/bash -c 'run me'"),
        (
            MpiExecLauncher(),
            "mpiexec --bind-to none -n $WORKERCOUNT \"${trellis_hosts[@]}\" $trellis_placing /bin/bash -c 'run me'",
        ),
    ],
)
def test_the_starting_program_and_its_options(launcher: Launcher, line: str) -> None:
    assert last_line(launcher) == line


@pytest.mark.parametrize("launcher", ALL)
def test_the_number_of_copies(launcher: type[Launcher]) -> None:
    text = launcher()("run me", 2, 3)
    assert "export WORKERCOUNT=6\n" in text
    assert "export NODES=3\n" in text
    assert "export CORES=" in text


@pytest.mark.parametrize("launcher", ALL)
@pytest.mark.parametrize("debug", [True, False])
def test_debug_traces(launcher: type[Launcher], debug: bool) -> None:
    assert ("set -x" in launcher(debug=debug)("run me", 1, 1)) is debug
    assert ("set -x" in launcher()("run me", 1, 1)) is True


@pytest.mark.parametrize("launcher", WITH_OVERRIDES)
def test_overrides_come_last(launcher: Callable[..., Launcher]) -> None:
    assert " --my option /bin/bash -c 'run me'" in launcher(overrides="--my option")("run me", 1, 1)


def test_the_way_to_bind() -> None:
    assert last_line(MpiExecLauncher(bind_cmd="--cpu-bind")).startswith("mpiexec --cpu-bind none")


def test_where_bash_is() -> None:
    assert last_line(MpiRunLauncher(bash_location="/opt/bash")).endswith("/opt/bash -c 'run me'")


@pytest.mark.parametrize("overrides", ["--ppn 1", "-ppn 1", "--map-by node", "--npernode 1", "-x A -N 2"])
def test_who_places_the_copies_himself_is_left_alone(overrides: str) -> None:
    assert "trellis_placing" not in MpiExecLauncher(overrides=overrides)("run me", 2, 3)


def test_one_node_needs_no_placing() -> None:
    assert "trellis_placing" not in MpiRunLauncher()("run me", 2, 1)


def test_the_node_file_lies_with_the_scripts() -> None:
    assert "trellis_nodes='/run dir'/" in MpiExecLauncher()("run me", 1, 2, "/run dir")
    assert 'trellis_nodes="${TMPDIR:-/tmp}"/' in GnuParallelLauncher()("run me", 1, 2)


def test_none_of_them_stays_on_the_host_of_the_script() -> None:
    assert not any(launcher.same_host for launcher in ALL)


@pytest.mark.parametrize(
    "make",
    [
        lambda: GnuParallelLauncher(debug="yes"),  # type: ignore[arg-type]
        lambda: MpiExecLauncher(bind_cmd=None),  # type: ignore[arg-type]
        lambda: MpiRunLauncher(bash_location=None),  # type: ignore[arg-type]
        lambda: SrunLauncher(overrides=["--mem=0"]),  # type: ignore[arg-type]
    ],
)
def test_parameters_of_the_wrong_type_are_refused(make: Callable[[], Launcher]) -> None:
    with pytest.raises(ParameterTypeError):
        make()


def test_repr_shows_the_settings() -> None:
    assert repr(MpiExecLauncher(overrides="--x")) == (
        "MpiExecLauncher(debug=True, overrides='--x', bind_cmd='--bind-to')"
    )

"""What the launchers' scripts do when bash runs them."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from trellis.launchers import SimpleLauncher, SingleNodeLauncher, WrappedLauncher
from trellis.launchers.base import block_script


def run(script: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["/bin/bash", "-c", script], cwd=cwd, capture_output=True, text=True, timeout=30)


def test_simple_launcher_traces_the_command_when_debugging(tmp_path: Path) -> None:
    done = run(block_script(SimpleLauncher(), "echo hello; exit 3", 1, 1), tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (3, "hello\n", "+ echo hello\n+ exit 3\n")


def test_wrapped_launcher_prepends(tmp_path: Path) -> None:
    launcher = WrappedLauncher("env COLOUR=blue", debug=False)
    done = run(launcher("bash -c 'echo $COLOUR'", 1, 1), tmp_path)
    assert (done.stdout, done.stderr) == ("blue\n", "")


def test_wrapped_launcher_traces_the_command_when_debugging(tmp_path: Path) -> None:
    assert run(block_script(WrappedLauncher("nice"), "true", 1, 1), tmp_path).stderr == "+ nice true\n"


def test_single_node_launcher_runs_all_copies_with_their_number_and_the_cores(tmp_path: Path) -> None:
    done = run(SingleNodeLauncher()('echo "$WORKERCOUNT $((CORES > 0))"', 2, 3), tmp_path)
    assert (done.returncode, done.stdout) == (0, "6 1\n" * 6)


def test_single_node_launcher_takes_commands_of_several_lines_and_parts(tmp_path: Path) -> None:
    done = run(SingleNodeLauncher()("word=two; echo one\necho $word | tr t T # comment", 1, 1), tmp_path)
    assert done.stdout == "one\nTwo\n"


FIRST_COPY_FAILS = "mkdir first 2>/dev/null && exit 7; exit 0"


@pytest.mark.parametrize(
    ("command", "fail_on_any", "exit_code"),
    [
        ("exit 0", False, 0),
        ("exit 0", True, 0),
        (FIRST_COPY_FAILS, False, 0),
        (FIRST_COPY_FAILS, True, 7),
        ("exit 5", False, 5),
        ("exit 5", True, 5),
    ],
)
def test_single_node_launcher_exit_code(tmp_path: Path, command: str, fail_on_any: bool, exit_code: int) -> None:
    assert run(SingleNodeLauncher(fail_on_any=fail_on_any)(command, 3, 1), tmp_path).returncode == exit_code


def test_single_node_launcher_tells_what_it_does_when_debugging(tmp_path: Path) -> None:
    said = run(SingleNodeLauncher()("exit 4", 2, 1), tmp_path).stderr
    assert "starting 2 copies" in said
    assert "ended with exit code 4" in said
    assert "2 of 2 copies failed" in said


def test_single_node_launcher_is_silent_otherwise(tmp_path: Path) -> None:
    assert run(SingleNodeLauncher(debug=False)("exit 4", 2, 1), tmp_path).stderr == ""


@pytest.mark.parametrize("leads_its_group", [True, False])
@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_single_node_launcher_passes_a_signal_on_and_waits(
    tmp_path: Path, leads_its_group: bool, number: signal.Signals, exit_code: int
) -> None:
    # Each copy says that it has started, and after SIGTERM that it has ended, some work later.
    on_term = "kill $!; echo stopping; uname >/dev/null; echo stopped; exit 0"
    copy = f"exec bash -c 'sleep 1000 & trap \"{on_term}\" TERM; echo up; wait'"
    script = tmp_path / "script.sh"
    script.write_text(SingleNodeLauncher(debug=False)(copy, 2, 1))
    process = subprocess.Popen(
        ["/bin/bash", str(script)], stdout=subprocess.PIPE, text=True, start_new_session=leads_its_group
    )
    with process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["up\n", "up\n"]
        process.send_signal(number)
        said = process.stdout.read()
    assert process.returncode == exit_code
    assert sorted(said.split()) == ["stopped", "stopped", "stopping", "stopping"]

"""The scripts of batch jobs, run by bash as batch systems do."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trellis.launchers import SimpleLauncher, SingleNodeLauncher
from trellis.providers.script import JobRequest, render_body, render_environment, render_redirection

# Like a manager: it works until it is told to end, and takes a moment for it.
MANAGER = (
    'import signal, sys, time\ndef stop(*_):\n    time.sleep(0.1)\n    print("stopped", flush=True)\n    sys.exit(0)\n'
)
MANAGER += 'signal.signal(signal.SIGTERM, stop)\nprint("up", flush=True)\nwhile True:\n    time.sleep(0.05)\n'
RUN_MANAGER = f"{sys.executable} -c {shlex.quote(MANAGER)}"


def write(directory: Path, launched: str, worker_init: str = "", other_signals: str = "", head: str = "") -> str:
    environment = render_environment(sys.executable, os.environ)
    request = JobRequest("job.1", launched, 1, str(directory / "job.sh"), environment)
    path = Path(request.script_path)
    path.write_text(head + render_body(request, worker_init, other_signals))
    return str(path)


def run(script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["/bin/bash", script], capture_output=True, text=True, timeout=60, env=environ)


def test_a_script_leaves_its_exit_code_and_its_seconds(tmp_path: Path) -> None:
    assert run(write(tmp_path, "exit 3"), PATH=os.environ["PATH"]).returncode == 3
    code, seconds = (tmp_path / "job.sh.ec").read_text().split()
    assert (code, int(seconds) < 30) == ("3", True)


def test_what_comes_before_the_block_holds_in_it(tmp_path: Path) -> None:
    script = write(tmp_path, 'echo "$JOBNAME $COLOUR"', worker_init="export COLOUR=blue")
    assert run(script, PATH=os.environ["PATH"]).stdout == "job.1 blue\n"


def test_a_failing_start_is_the_end(tmp_path: Path) -> None:
    done = run(write(tmp_path, "echo started", worker_init="echo no such module >&2; exit 7"), PATH=os.environ["PATH"])
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "no such module\n")
    assert (tmp_path / "job.sh.ec").read_text().split()[0] == "7"


def test_the_interpreter_finds_its_modules_without_help(tmp_path: Path) -> None:
    # As on a node to which the batch system brings no environment.
    done = run(write(tmp_path, f"{sys.executable} -P -c 'import trellis; print(trellis.__name__)'"))
    assert (done.returncode, done.stdout) == (0, "trellis\n"), done.stderr


def test_programs_beside_the_interpreter_are_found(tmp_path: Path) -> None:
    done = run(write(tmp_path, f"type -p {Path(sys.executable).name}"))
    assert done.stdout.strip() == sys.executable


def test_output_goes_where_it_can_be_read_while_the_job_runs(tmp_path: Path) -> None:
    request = JobRequest("job.1", "", 1, str(tmp_path / "my job.sh"))
    done = run(write(tmp_path, "echo out; echo err >&2", head=render_redirection(request)), PATH=os.environ["PATH"])
    assert (done.stdout, done.stderr) == ("", "")
    assert (Path(request.stdout_path).read_text(), Path(request.stderr_path).read_text()) == ("out\n", "err\n")


@pytest.mark.parametrize("launcher", [SimpleLauncher(debug=False), SingleNodeLauncher(debug=False)])
@pytest.mark.parametrize("leads_its_group", [True, False])
def test_sigterm_reaches_the_managers_and_the_script_waits_for_them(
    tmp_path: Path, launcher: SimpleLauncher, leads_its_group: bool
) -> None:
    script = write(tmp_path, launcher(RUN_MANAGER, 1, 1))
    with subprocess.Popen(
        ["/bin/bash", script], stdout=subprocess.PIPE, text=True, start_new_session=leads_its_group
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)  # the script only
        assert process.wait(timeout=30) == 143
        assert process.stdout.read() == "stopped\n"
    assert (tmp_path / "job.sh.ec").read_text().split()[0] == "143"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_to_all_of_the_job_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    script = write(tmp_path, RUN_MANAGER, other_signals="USR2")
    with subprocess.Popen(["/bin/bash", script], stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        os.killpg(process.pid, number)
        assert process.wait(timeout=30) == 143
        assert process.stdout.read() == "stopped\n"


@pytest.mark.parametrize("leads_its_group", [True, False])
def test_sigterm_reaches_a_command_that_was_just_about_to_start(tmp_path: Path, leads_its_group: bool) -> None:
    # A shell that has been signalled goes on with its next command.
    script = write(tmp_path, "trap : TERM\necho up\nsleep 1000\necho next\nsleep 1001\necho last")
    with subprocess.Popen(
        ["/bin/bash", script], stdout=subprocess.PIPE, text=True, start_new_session=leads_its_group
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 143
        assert process.stdout.read() == "next\nlast\n"


def test_nobody_is_told_twice_to_end(tmp_path: Path) -> None:
    command = "import signal, time\ntold = []\nsignal.signal(signal.SIGTERM, lambda *_: told.append(1))\n"
    command += 'print("up", flush=True)\nwhile not told:\n    time.sleep(0.01)\ntime.sleep(1)\nprint(len(told))'
    script = write(tmp_path, f"{sys.executable} -c {shlex.quote(command)}")
    with subprocess.Popen(["/bin/bash", script], stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "1\n"


def test_a_signal_before_the_block_ends_the_script(tmp_path: Path) -> None:
    script = write(tmp_path, "echo started", worker_init="echo up")
    text = Path(script).read_text()
    # As if it came in the line after the trap: the next one would start the block.
    Path(script).write_text(text.replace("\n(\n", "\nkill -TERM $$\n(\n", 1))
    done = run(script, PATH=os.environ["PATH"])
    assert (done.returncode, done.stdout) == (143, "up\n")


def test_a_signal_just_after_the_block_has_begun_ends_it(tmp_path: Path) -> None:
    script = write(tmp_path, "sleep 1000")
    text = Path(script).read_text()
    # As if it came before the script has noted what it has begun.
    Path(script).write_text(text.replace("\n) &\n", "\n) &\nkill -TERM $$\n", 1))
    assert run(script, PATH=os.environ["PATH"]).returncode == 143

"""One command line in a shell: its length, and what an error says of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trellis.errors import BashExitFailure
from trellis.executors.taskvine.front.local_files import sandbox_path
from trellis.remote import shell
from trellis.remote.bash_runner import BashRunner

WORDS = "word " * 60_000  # 300 kB; an argument may have 128


def failure(command: str, **kwargs: Any) -> str:
    def app(**kwargs: Any) -> str:
        return command

    with pytest.raises(BashExitFailure) as caught:
        BashRunner(app)(**kwargs)
    return str(caught.value)


def test_a_command_may_be_longer_than_an_argument(tmp_path: Path) -> None:
    with open(tmp_path / "out", "w") as out:
        assert shell.run(f"# a remark\nset -- {WORDS}\necho $# $0; exit 3", out, None, None) == 3
    assert (tmp_path / "out").read_text() == "60000 /bin/bash\n"


def test_programs_of_a_long_command_have_the_same_descriptors_as_those_of_a_short_one(tmp_path: Path) -> None:
    counts = []
    for beginning in ("", f": {WORDS}\n"):
        with open(tmp_path / "out", "w") as out:
            assert (
                shell.run(f"{beginning}python3 -c 'import os; print(os.listdir(\"/proc/self/fd\"))'", out, None, 60)
                == 0
            )
        counts.append((tmp_path / "out").read_text())
    assert counts[0] == counts[1]


def test_a_failure_names_the_command() -> None:
    assert "no-such-program --level 7" in failure("no-such-program --level 7 2>&-")
    long = failure(f"false 'beginning' {WORDS} 'end'")
    assert "beginning" in long
    assert "'end'" in long
    assert len(long) < 400


def test_a_failure_tells_the_end_of_its_own_standard_error(tmp_path: Path) -> None:
    path = tmp_path / "err.txt"
    path.write_text("of an earlier command\n")
    text = failure("echo licence has expired >&2; exit 3", stderr=str(path))
    assert text.endswith(f"its standard error, in {path}, ends with: licence has expired")
    assert "standard output" not in text
    assert failure("exit 3", stderr=str(path)).endswith(f"its standard error, in {path}, is empty")
    words = failure("seq 10000 >&2; exit 3", stderr=(str(path), "w")).partition("ends with: ")[2].split("\n")
    assert words == [str(number) for number in range(10001 - len(words), 10001)]  # whole lines


@pytest.mark.parametrize("target", ["/dev/null"])
def test_what_cannot_be_read_back_is_named(target: str) -> None:
    assert failure("exit 3", stderr=target).endswith(f"its standard error went to {target}")


@pytest.mark.parametrize(
    ("command", "meaning"),
    [
        ("no-such-program", "exit code 127, a program was not found: is it installed where tasks run, and on PATH"),
        ("/etc/passwd", "exit code 126, a program cannot be executed"),
        ("kill -SEGV $$", "exit code -11, killed by signal 11 (SIGSEGV) (command: "),
        ("bash -c 'kill -TERM $$'; exit $?", "exit code 143, killed by signal 15 (SIGTERM) (command: "),
        ("kill -KILL $$", "exit code -9, killed by signal 9 (SIGKILL), perhaps by the system for lack of memory"),
        ("exit 3", "exit code 3 (command: "),
        ("exit 255", "exit code 255 (command: "),
    ],
)
def test_an_exit_code_is_explained(tmp_path: Path, command: str, meaning: str) -> None:
    assert meaning in failure(command, stderr=str(tmp_path / "err"))


def test_a_failure_tells_where_its_output_is_and_which_inputs_are_not_there(tmp_path: Path) -> None:
    there, absent, output = tmp_path / "there", tmp_path / "absent", tmp_path / "out.txt"
    there.touch()
    text = failure("exit 3", stdout=str(output), inputs=[str(there), str(absent), 5])
    assert f"; of its inputs, {absent} cannot be found (looked for in the directory {os.getcwd()} on host " in text
    assert str(there) not in text
    assert f"; its standard output is in {output}; " in text
    assert text.endswith("its standard error is in no file: give the call stderr=trellis.AUTO_LOGNAME for that")


def test_a_file_of_a_task_of_taskvine_is_called_as_its_user_calls_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = sandbox_path("/data/why.txt")
    assert failure("exit 3", stderr=place, stdout=sandbox_path("/data/out.txt")).endswith(
        "; its standard error, in /data/why.txt, is empty; its standard output is in /data/out.txt"
    )
    assert f"in {sandbox_path('../why.txt')}, is empty" in failure("exit 3", stderr=sandbox_path("../why.txt"))


def test_a_bash_app_may_have_a_parameter_named_self() -> None:
    app: Callable[..., str] = lambda self: f"exit {self}"  # noqa: E731
    assert BashRunner(app)(self=0) == 0

"""``trellis run``: a program does what it does under ``python``, to the last line of what it writes and how it ends."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from textwrap import dedent

import pytest

from tests.integration.as_parsl import SAYS, environment, run
from trellis.core.alias_path import ALIAS_PATH

RUN = [sys.executable, "-m", "trellis", "run"]
MODULE = [sys.executable, "-m", "trellis.as_parsl"]

PROGRAM = '''\
"""What it is."""
import sys

import parsl

print(sys.argv, sys.path[0], __name__, __file__, __doc__, __spec__, __package__, __cached__, type(__loader__).__name__)
print(sys.modules["__main__"].__dict__ is globals(), type(__builtins__).__name__, parsl.python_app.__module__)


def late():
    print("late", parsl.Config.__name__)


exec(sys.argv[1])
'''
ENDS = {
    "last line": "pass",
    "exit code": "sys.exit(3)",
    "exit words": "sys.exit('words')",
    "exit": "sys.exit()",
    "error": "1 / 0",
    "chained errors": "raise ValueError('two') from KeyError('one')",
    "missing module": "import parsl.nothing",
    "interrupted": "import os, signal; os.kill(os.getpid(), signal.SIGINT)",
    "ended by a signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "at exit": "import atexit; atexit.register(late)",
    "thread": "import threading; threading.Timer(0.2, late).start()",
    "pickle": "import pickle; print(pickle.loads(pickle.dumps(late)) is late)",
    "spawned": "import multiprocessing as m; p = m.get_context('spawn').Process(target=late); p.start(); p.join()",
    "hook of its own": "sys.excepthook = lambda *found: print('mine', found[0]); 1 / 0",
}


def start(command: list[str], *words: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *words], cwd=cwd, env=environment(**more), capture_output=True, text=True, timeout=60, check=False
    )


def outcome(done: subprocess.CompletedProcess[str]) -> tuple[int, str, str]:
    told = "".join(line for line in done.stderr.splitlines(True) if not line.startswith(SAYS))
    return done.returncode, done.stdout, told


@pytest.mark.parametrize("end", ENDS)
def test_a_program_does_as_under_python(end: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    words = ("program.py", ENDS[end], "--help", "-m", "x")
    plain = start([sys.executable], *words, cwd=tmp_path, PYTHONPATH=ALIAS_PATH)
    assert "What it is." in plain.stdout
    for command in (RUN, MODULE):
        done = start(command, *words, cwd=tmp_path)
        assert outcome(done) == outcome(plain)
        assert done.stderr.startswith(SAYS)


def test_the_command_itself_does_the_same(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [str(Path(sys.executable).with_name("trellis")), "run"]
    words = ("program.py", "import signal; signal.raise_signal(signal.SIGINT)")
    assert outcome(start(command, *words, cwd=tmp_path)) == outcome(start(RUN, *words, cwd=tmp_path))


def test_directories_archives_and_modules_are_programs(tmp_path: Path) -> None:
    package = tmp_path / "tool"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "beside.py").touch()
    text = "import sys, parsl\nprint(sys.argv, sys.path[0], __name__, __package__, __spec__.name, __file__)\n"
    (package / "__main__.py").write_text(text)
    (package / "other.py").write_text(text)
    with zipfile.ZipFile(tmp_path / "tool.pyz", "w") as archive:
        archive.write(package / "__main__.py", "__main__.py")
    for words in (["tool", "a"], ["tool.pyz", "-h"], ["-m", "tool", "--", "b"], ["-m", "tool.other"]):
        plain = start([sys.executable], *words, cwd=tmp_path, PYTHONPATH=ALIAS_PATH)
        assert plain.stderr == ""
        assert outcome(start(RUN, *words, cwd=tmp_path)) == outcome(plain)


def test_two_dashes_end_the_options(tmp_path: Path) -> None:
    (tmp_path / "-m").write_text("import sys; print(sys.argv)")
    assert start(RUN, "--", "-m", "--", "x", cwd=tmp_path).stdout == "['-m', '--', 'x']\n"


def test_a_link_finds_what_is_beside_its_program(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "program.py").write_text("import beside; print(__file__)")
    (tmp_path / "here" / "beside.py").touch()
    (tmp_path / "link").symlink_to("here/program.py")
    done = start(RUN, "link", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/link\n")


def test_a_safe_path_stays_safe(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import sys; print(sys.path)")
    words = [sys.executable, "-P", "-m", "trellis", "run", "program.py"]
    assert str(tmp_path) not in start(words, cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "which program?"),
        (["--"], "which program?"),
        (["-m"], "-m needs the name of a module"),
        (["-x", "program.py"], "-x is no option of this command"),
        (["nowhere.py"], "the program nowhere.py cannot be read: No such file or directory"),
        (["-m", "nowhere"], "there is no module nowhere"),
        (["-m", "json.nowhere"], "there is no module json.nowhere"),
        (["-m", "sys"], "sys has no code that Python could run"),
        (["-m", "..x"], "the module ..x cannot be run"),
        (["."], ". has no __main__.py, so it is not a program"),
    ],
)
def test_what_cannot_be_run_is_named(words: list[str], says: str, tmp_path: Path) -> None:
    done = start(RUN, *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"trellis run: {says}" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_is_of_the_command_before_the_program_and_of_the_program_after_it(tmp_path: Path) -> None:
    assert start(RUN, "--help", cwd=tmp_path).stdout.startswith("usage: trellis run [--] PROGRAM")
    (tmp_path / "program.py").write_text("import argparse; argparse.ArgumentParser('mine').parse_args()")
    assert start(RUN, "program.py", "--help", cwd=tmp_path).stdout.startswith("usage: mine")
    assert " run " in start([sys.executable, "-m", "trellis"], "--help", cwd=tmp_path).stdout


def test_a_program_that_is_not_python_is_shown_as_python_shows_it(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("x = (\n")
    words = ("program.py",)
    assert outcome(start(RUN, *words, cwd=tmp_path)) == outcome(start([sys.executable], *words, cwd=tmp_path))


def test_the_real_parsl_is_refused(tmp_path: Path) -> None:
    (tmp_path / "parsl").mkdir()
    (tmp_path / "parsl" / "__init__.py").touch()
    (tmp_path / "sitecustomize.py").write_text("import parsl")
    (tmp_path / "program.py").touch()
    done = start(RUN, "program.py", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"trellis run: parsl has been imported from {tmp_path}/parsl/__init__.py already")
    code = "import parsl, trellis.as_parsl"
    done = start([sys.executable], "-c", code, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert f"ImportError: parsl has been imported from {tmp_path}/parsl/__init__.py already" in done.stderr


def test_it_is_said_once(tmp_path: Path) -> None:
    program = """
        import os, subprocess, sys
        import parsl, trellis.as_parsl
        trellis.as_parsl.turn_on()
        if not os.fork():
            import parsl.providers
            os._exit(0)
        os.wait()
        for _ in range(2):
            subprocess.run([sys.executable, "-c", "import parsl, trellis.as_parsl"], check=True)
        subprocess.run([sys.executable, "-m", "trellis", "run", *sys.argv[1:]], check=True)
    """
    (tmp_path / "other.py").write_text(dedent("import parsl; print(parsl.__name__)"))
    assert run(program, tmp_path, "other.py") == "trellis\n"

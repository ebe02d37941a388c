"""A test bed: daemons, and everything they start, in a scratch directory; all of it gone at the end, whatever happens.

Knows no batch system, and uses nothing of this machine but its packages: the machine's own services, their
configuration and their data are left alone. Installed packages stay.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parents[2]

# Everything that is started here, and what that starts in turn, has this in its environment; its value is the scratch
# directory. So processes that a daemon leaves behind are found whoever their parents are.
MARK = "TRELLIS_TEST_BED"

# A daemon that is asked to end takes milliseconds; one that has lost its peers waits for some time-outs before.
_STOP_TIMEOUT_S = 20.0
# Batch systems take their time: the shortest walltime is a minute, which they look at twice a minute.
_TEST_TIMEOUT_S = 300
_POLICY = Path("/usr/sbin/policy-rc.d")


class BedError(Exception):
    """The bed cannot be made; the text says why, and what to try."""


def check_machine() -> None:
    """Raise ``BedError`` unless packages can be installed here."""
    if not Path("/etc/debian_version").exists() or shutil.which("apt-get") is None:
        raise BedError("this is not a Debian system: the bed takes its daemons from Debian's packages")
    if os.geteuid() != 0:
        raise BedError(
            "only root can install the packages and run the daemons: try as root, for example in a container"
        )


def install(packages: Sequence[str]) -> None:
    """Install those of these Debian packages that are missing. No service is started by that."""
    missing = [package for package in packages if not _is_installed(package)]
    if not missing:
        return
    say(f"installing {' '.join(missing)}")
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing]
    with _no_services():
        done = _apt(command)
        if done.returncode != 0:  # perhaps there are no lists of packages yet, as in a fresh container
            _apt(["apt-get", "update", "-q"])
            done = _apt(command)
    if done.returncode != 0:
        raise BedError(f"`{' '.join(command)}` failed:\n{done.stdout[-2000:]}")


def _is_installed(package: str) -> bool:
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Status}", package], capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout == "install ok installed"


def _apt(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """While this lasts, packages do not start their services: Debian asks this file first."""
    if _POLICY.exists():  # somebody else's policy holds
        yield
        return
    _POLICY.write_text("#!/bin/sh\nexit 101\n")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        _POLICY.unlink()


def say(text: str) -> None:
    print(f"bed: {text}", flush=True)


def free_ports(number: int) -> list[int]:
    """TCP ports that nobody listens on just now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Bed:
    """A scratch directory, and the daemons that run in it. Use it in a ``with``: everything is gone after that.

    Args:
        name: For the name of the directory.
    """

    def __init__(self, name: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"trellis-{name}-"))
        # Daemons of other users (munged is strict about its own) have to reach their directories in it.
        self.directory.chmod(0o755)
        self.environment = {**os.environ, MARK: str(self.directory)}
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Bed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _interrupts_ignored():
            self.close()

    def log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def start(self, name: str, argv: Sequence[str], **environment: str) -> None:
        """Start a daemon, which must stay in the foreground. Its process id is in ``<name>.pid``."""
        with open(self.log(name), "ab") as log:
            daemon = subprocess.Popen(
                # It ends with this process, too, should that be killed.
                ["setpriv", "--pdeathsig", "TERM", "--", *argv],
                env={**self.environment, **environment},
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests; the daemons are ended in order
            )
        self._daemons[name] = daemon
        (self.directory / f"{name}.pid").write_text(str(daemon.pid))

    def run(self, *argv: str, timeout_s: float = 60.0) -> str:
        """Run a command in the bed, and give what it printed.

        Raises:
            BedError: it failed; with what it printed.
        """
        done = subprocess.run(
            argv,
            env=self.environment,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode != 0:
            raise BedError(f"`{' '.join(argv)}` ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def wait_until(self, what: str, is_so: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Wait for that. Raises ``BedError``, with the ends of the logs, when it takes too long or a daemon ended."""
        deadline = time.monotonic() + timeout_s
        while not is_so():
            ended = [name for name, daemon in self._daemons.items() if daemon.poll() is not None]
            if ended or time.monotonic() > deadline:
                why = f"{', '.join(ended)} ended" if ended else f"not so after {timeout_s:g} s"
                raise BedError(f"waiting until {what}: {why}\n{self.last_words()}")
            time.sleep(0.1)

    def last_words(self, lines: int = 15) -> str:
        """The ends of the daemons' logs."""
        texts = []
        for name in self._daemons:
            tail = self.log(name).read_text(errors="replace").splitlines()[-lines:]
            texts.append(f"--- {name}.log\n" + "\n".join(tail))
        return "\n".join(texts)

    def run_tests(self, tests: Sequence[str], arguments: Sequence[str], **environment: str) -> int:
        """Run pytest in this bed, on these tests unless the arguments name others; give its exit code."""
        command = [sys.executable, "-m", "pytest", "--basetemp", str(self.directory / "tests")]
        if not any(argument.startswith("tests/") for argument in arguments):
            command += tests
        command += [
            "-o",
            f"timeout={_TEST_TIMEOUT_S}",
            "-o",
            f"faulthandler_timeout={_TEST_TIMEOUT_S - 20}",
            *arguments,
        ]
        process = subprocess.Popen(command, env={**self.environment, **environment}, cwd=ROOT)
        try:
            while True:
                try:
                    code = process.wait()
                    break
                except KeyboardInterrupt:  # the tests got it, too, and end in their own way
                    continue
        except SystemExit:  # SIGTERM came to this process only
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_TIMEOUT_S)
            raise
        if code != 0:
            say(f"the tests failed; this is what the daemons said last\n{self.last_words()}")
        return code

    def close(self) -> None:
        """Stop the daemons, the last one first, end what they have left behind, and remove the directory."""
        for name, daemon in reversed(self._daemons.items()):
            daemon.send_signal(signal.SIGCONT)  # a test may have stopped it
            daemon.terminate()
            try:
                daemon.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                say(f"{name} does not end, and is killed")
                daemon.kill()
                daemon.wait()
        self._end_marked()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _end_marked(self) -> None:
        """Kill every process that has this bed's mark, until there is none: they may start others meanwhile."""
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while (left := _marked(str(self.directory))) and time.monotonic() < deadline:
            for pid, title in left.items():
                say(f"ending process {pid}, left behind: {title}")
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.2)


def _marked(value: str) -> dict[int, str]:
    """Processes with this mark: their titles by process id."""
    mark, found = f"{MARK}={value}".encode(), {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # it has just ended
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return found


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Ending in order takes seconds; a second Ctrl-C in the middle of it would leave daemons behind."""
    before: Mapping[int, signal._HANDLER] = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(
    checks: Sequence[Callable[[], None]],
    packages: Sequence[str],
    run: Callable[[Sequence[str]], int],
    arguments: Sequence[str],
) -> int:
    """The command line of a bed: ``--prepare`` only checks the machine and installs packages; all else is for pytest.

    Gives the exit code: pytest's, or 1 when the bed cannot be made here.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        for check in checks:
            check()
        install(packages)
        return 0 if list(arguments) == ["--prepare"] else run(arguments)
    except BedError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130

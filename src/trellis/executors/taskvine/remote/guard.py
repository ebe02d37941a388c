"""What a task of the real TaskVine needs around it: inputs that stay as they are, limits, and a worker that can end it.

Sent to workers beside the runner, which it starts; Trellis need not be there, so only the standard library is.
``python trellis_guard.py FUNCTION ARGUMENTS RESULT OUTPUT…``, in the task's sandbox.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import sys

# The worker kills a task by its process group. It asks for the group when the task's shell runs already, so on a busy
# host it may have come too late: then nobody would be killed, and the worker would wait for ever. A task that finds
# that says so, ends, and is started again.
NO_GROUP = "trellis: this task is not the leader of a process group"
# Kind of a result: the task was ended because it used too much memory.
TOO_MUCH_MEMORY = b"M"
# Kind of a result: the task has made something that cannot come home.
NO_FILE = b"N"
# Variables for this program alone: the process group that the worker means, and MB that the task asked for.
GROUP, MEMORY = "TRELLIS_GROUP", "TRELLIS_MEMORY"

_LOOK_S = 0.5
_MB = 2**20
_COPY_BYTES = 2**30
_FICLONE = 0x40049409  # of Linux


# -- inputs --------------------------------------------------------------------------------------------------------


def protect_inputs(sandbox: str = ".", skipped: str = ".trellis") -> None:
    """Files that the sandbox shares with the worker's cache: what a task writes there would reach all after it.

    They are made read-only; for the superuser, who may write all the same, they become copies.
    """
    superuser = os.geteuid() == 0
    for directory, names, files in os.walk(sandbox):
        if directory == sandbox and skipped in names:
            names.remove(skipped)
        for name in files:
            path = os.path.join(directory, name)
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink < 2:
                continue
            if superuser:
                _replace_by_copy(path, status.st_mode)
            elif status.st_mode & 0o222:
                os.chmod(path, stat.S_IMODE(status.st_mode) & ~0o222)


def _replace_by_copy(path: str, mode: int) -> None:
    own = f"{path[:-1]}~" if path.endswith("+") else f"{path[:-1]}+"  # not longer than the name that it takes
    while os.path.lexists(own):
        own = f"{os.path.dirname(path)}/.{os.urandom(6).hex()}"
    with open(path, "rb") as source, open(own, "xb") as target:
        try:
            fcntl.ioctl(target, _FICLONE, source.fileno())
        except OSError:  # not on this file system
            while os.sendfile(target.fileno(), source.fileno(), None, _COPY_BYTES):
                continue
        os.fchmod(target.fileno(), stat.S_IMODE(mode))
    os.replace(own, path)


# -- outputs -------------------------------------------------------------------------------------------------------

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def settle_outputs(paths: list[str]) -> str:
    """Put what links lead to in their places, and take away what cannot come home; says what that is, if anything.

    The worker itself would say that nothing is there, bring a part of a directory home, or wait.
    """
    return "; ".join(filter(None, map(_settle, paths)))


def _settle(path: str) -> str:
    if os.path.islink(path) and os.path.exists(path):
        target = os.path.realpath(path)
        os.unlink(path)
        if os.path.isdir(target):
            import shutil

            shutil.copytree(target, path, symlinks=True)
        else:
            with open(target, "rb") as source, open(path, "xb") as own:
                while data := source.read(_MB) if stat.S_ISREG(os.fstat(source.fileno()).st_mode) else b"":
                    own.write(data)
            os.chmod(path, stat.S_IMODE(os.stat(target).st_mode))
    problems = [_take_away(path)]
    if os.path.isdir(path):
        for directory, names, files in os.walk(path):
            problems += [_take_away(os.path.join(directory, name)) for name in (*names, *files)]
    return "; ".join(filter(None, problems))


def _take_away(path: str) -> str:
    """Gives why it had to go."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:  # the worker will say that
        return ""
    words = _KINDS.get(stat.S_IFMT(mode), "")
    if stat.S_ISLNK(mode) and not os.path.exists(path):
        words = f"a link that leads nowhere (to {os.readlink(path)!r})"
    if words:
        os.unlink(path)
        return f"{path} is {words}: only files, directories and links to them can come home"
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in os.path.basename(path)):
        os.rename(path, os.path.join(os.path.dirname(path), f".{os.urandom(6).hex()}"))
        return f"{path!r}: TaskVine cannot bring home what has control characters in its name"
    return ""


# -- memory --------------------------------------------------------------------------------------------------------


def run_within(memory_mb: int, result_path: str) -> None:
    """Returns in a child process, which is to do the work; this one ends with it, and ends it when it uses more.

    Pages that its processes share count once.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD,))  # so that it can be waited for
    child = os.fork()
    if not child:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        if signal.sigtimedwait((signal.SIGCHLD,), _LOOK_S) is not None:
            continue
        used = _used_bytes(child)
        if used > memory_mb * _MB:
            _end(child)
            words = f"it used {-(-used // _MB)} MB of memory, and was given the {memory_mb} MB that it asked for"
            import trellis_runner  # type: ignore[import-not-found]

            trellis_runner.write_payload(result_path, TOO_MUCH_MEMORY, (words.encode(),))
            os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        signal.signal(number, signal.SIG_DFL) if number not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _end(child: int) -> None:
    """Kill it and all that it has started. They are stopped first, so that they start no others meanwhile."""
    seen: set[int] = set()
    while not seen.issuperset(family := _family(child)):
        seen.update(family)
        for pid in family:
            _signal(pid, signal.SIGSTOP)
    for pid in family:
        _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:  # it has just ended
        return


def _family(pid: int) -> list[int]:
    found = [pid]
    for member in found:
        try:
            for thread in os.listdir(f"/proc/{member}/task"):
                with open(f"/proc/{member}/task/{thread}/children") as file:
                    found += map(int, file.read().split())
        except OSError:  # it has just ended
            continue
    return found


def _used_bytes(pid: int) -> int:
    return sum(_proportional_bytes(member) for member in _family(pid))


def _proportional_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:  # it has just ended, or is none of ours
        return 0
    return 0


# -- the process ---------------------------------------------------------------------------------------------------


def main() -> None:
    """Entry point."""
    group = os.environ.pop(GROUP, "")
    if group and os.getpgrp() != int(group):
        os.write(1, NO_GROUP.encode() + b"\n")
        os._exit(1)
    protect_inputs()
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    import trellis_runner

    sys.dont_write_bytecode = before
    del sys.path[0]  # our own directory: modules of the user's may have the names of files there
    memory = os.environ.pop(MEMORY, "")
    if memory:
        run_within(int(memory), sys.argv[3])
    outputs, sys.argv = sys.argv[4:], sys.argv[:4]
    sandbox = os.getcwd()

    def settle(kind: bytes, buffers: tuple[object, ...]) -> tuple[bytes, tuple[object, ...]]:
        os.chdir(sandbox)
        problem = settle_outputs(outputs)
        return (kind, buffers) if kind == trellis_runner.ERROR or not problem else (NO_FILE, (problem.encode(),))

    trellis_runner.main(settle)


if __name__ == "__main__":
    main()

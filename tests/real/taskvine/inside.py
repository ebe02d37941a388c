"""Runs a command in a root directory: ``python inside.py ROOT CHECKOUT COMMAND…``. Started by ``unshare``, see ``bed``.

Alone here: own mounts, own processes, own network of nothing but loopback. When this ends, whatever it ends of, the
system ends all processes and takes all mounts away.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys

# Of Linux.
_SIOCSIFFLAGS = 0x8914
_IFF_UP_AND_RUNNING = 0x41
# Where the checkout is seen from inside; nothing is written there.
CHECKOUT = "/trellis"


def main() -> None:
    """Entry point."""
    root, checkout, *command = sys.argv[1:]
    _loopback_up()
    _mount("-t", "proc", "proc", f"{root}/proc")
    _mount("--bind", "/dev", f"{root}/dev")
    # Not the machine's own: some machines have none that is large enough, and files would stay.
    _mount("-t", "tmpfs", "tmpfs", f"{root}/dev/shm")
    os.makedirs(root + CHECKOUT, exist_ok=True)
    _mount("--bind", checkout, root + CHECKOUT)
    _mount("-o", "remount,bind,ro", root + CHECKOUT)
    os.chroot(root)
    os.chdir(CHECKOUT)
    child = os.fork()
    if not child:
        os.execvp(command[0], command)
    sys.exit(_reap_until(child))


def _reap_until(child: int) -> int:
    """Be the first process here, which those without parents are children of; give this child's exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the child has them too, and ends in its own way
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status) & 0xFF


def _loopback_up() -> None:
    with socket.socket() as any_socket:
        request = struct.pack("16sH14x", b"lo", _IFF_UP_AND_RUNNING)
        fcntl.ioctl(any_socket.fileno(), _SIOCSIFFLAGS, request)


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


if __name__ == "__main__":
    main()

"""Many simulated managers in one process: real sockets, keys and messages; their workers do no work at all.

``python -m benchmarks.crowd`` reads a ``Crowd`` as one line of JSON, and ends when its standard input closes.
"""

from __future__ import annotations

import os
import resource
import select
import sys
import time
from collections import deque
from pathlib import Path
from typing import NoReturn

import msgspec
import zmq

from trellis.transport.context import Context, new_context
from trellis.transport.endpoint import ClientEndpoint
from trellis.transport.keys import load_client_keys
from trellis.version import VERSION
from trellis.wire.codec import Buffer, Decoder, encode_header, pack
from trellis.wire.messages import PROTOCOL_VERSION, DismissManager, Heartbeat, Register, Results, Tasks, ToManager
from trellis.wire.payload import dump_result

# Each socket has a descriptor for its connection and one for its wake-ups; the process needs some of its own.
DESCRIPTORS_EACH = 2
DESCRIPTORS_SPARE = 100


class Crowd(msgspec.Struct):
    """How many managers, and of which kind."""

    url: str
    cert_dir: str
    first: int  # number of the first one; names are made of numbers
    managers: int
    workers: int
    capacity: int
    heartbeat_s: float
    task_s: float  # what each task is said to have taken


def most_in_one_process() -> int:
    """Managers for which there are file descriptors."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = 1_000_000 if hard == resource.RLIM_INFINITY else hard
    return (limit - DESCRIPTORS_SPARE) // DESCRIPTORS_EACH


class _Member:
    """One manager. Each task's result is None."""

    def __init__(self, context: Context, crowd: Crowd, number: int) -> None:
        self._name = f"manager-{number}"
        self._task_s = crowd.task_s
        self.endpoint = ClientEndpoint(context, load_client_keys(Path(crowd.cert_dir)), self._name.encode())
        self.endpoint.connect(crowd.url)
        self.endpoint.send([encode_header(_registration(self._name, crowd))])

    def beat(self) -> None:
        self.endpoint.send([encode_header(Heartbeat())])

    def read(self, decoder: Decoder[ToManager]) -> bool:
        """Answer what is there; False when it was sent away."""
        while (frames := self.endpoint.receive()) is not None:
            match decoder.decode(frames[0]):
                case Tasks(ids=ids):
                    self.endpoint.send(self._results(ids))
                case DismissManager():
                    return False
        return True

    def _results(self, ids: list[int]) -> list[Buffer]:
        count = len(ids)
        sizes, frames = pack([_NONE] * count)
        header = Results(self._name, ids, [], [0] * count, [time.time()] * count, [self._task_s] * count, sizes)
        return [encode_header(header), *frames]


_NONE = dump_result(None)


def _registration(name: str, crowd: Crowd) -> Register:
    return Register(
        protocol=PROTOCOL_VERSION,
        manager=name,
        block="0",
        hostname="nowhere",
        pid=os.getpid(),
        workers=crowd.workers,
        capacity=crowd.capacity,
        trellis_version=VERSION,
        python_version="",
        start_time=time.time(),
        cpus=crowd.workers,
        memory_bytes=0,
        directory="/",
    )


def run(crowd: Crowd, lifeline: int) -> NoReturn:
    """Live until ``lifeline`` closes."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    context = new_context()
    context.set(zmq.MAX_SOCKETS, crowd.managers + DESCRIPTORS_SPARE)
    decoder: Decoder[ToManager] = Decoder(ToManager)
    members: dict[int, _Member] = {}
    # Beats are spread evenly over the period.
    beats: deque[tuple[float, int]] = deque()
    poll = select.epoll()
    poll.register(lifeline, select.EPOLLIN)

    def read(fd: int) -> None:
        if not members[fd].read(decoder):
            poll.unregister(fd)
            members.pop(fd).endpoint.close()

    began = time.monotonic()
    for number in range(crowd.managers):
        member = _Member(context, crowd, crowd.first + number)
        fd = member.endpoint.fileno()
        members[fd] = member
        poll.register(fd, select.EPOLLIN)
        read(fd)  # a socket wakes only those who found it empty
        beats.append((began + crowd.heartbeat_s * number / crowd.managers, fd))
    while True:
        now = time.monotonic()
        while beats[0][0] <= now:
            due, fd = beats.popleft()
            beats.append((due + crowd.heartbeat_s, fd))
            if fd in members:
                members[fd].beat()
                read(fd)  # sending may have taken the wake-up for what has come
        for fd, _ in poll.poll(max(0.0, beats[0][0] - now)):
            if fd == lifeline:
                os._exit(0)  # at once, as if the nodes were switched off
            read(fd)


def main() -> None:
    crowd = msgspec.json.decode(sys.stdin.buffer.readline(), type=Crowd)
    run(crowd, sys.stdin.fileno())


if __name__ == "__main__":
    main()

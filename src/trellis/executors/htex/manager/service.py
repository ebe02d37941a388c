"""The manager of one node: sockets, processes and time around ``ManagerProtocol``.

Blocks start it with ``python -m trellis.executors.htex.manager.service``; it never opens what tasks carry.
"""

from __future__ import annotations

import argparse
import logging
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import assert_never

from trellis.addresses import tcp_url
from trellis.errors import ConfigurationError
from trellis.executors.common import host
from trellis.executors.common.process_title import show_as
from trellis.executors.htex.manager import events, protocol
from trellis.executors.htex.manager.mpi_environment import mpi_variables
from trellis.executors.htex.manager.node import Node, task_message
from trellis.executors.htex.manager.options import (
    NodePlan,
    make_registration,
    make_settings,
    parse_arguments,
    plan_node,
    start_log,
    worker_environment,
)
from trellis.executors.htex.manager.shared import Shared, share
from trellis.executors.htex.manager.slots import task_variables
from trellis.executors.htex.manager.state import ManagerState
from trellis.executors.htex.manager.witness import Witness
from trellis.executors.htex.worker.task_environment import dump_environment
from trellis.transport.context import new_context
from trellis.transport.endpoint import ClientEndpoint
from trellis.transport.inbox import Inbox
from trellis.transport.keys import load_client_keys
from trellis.transport.probe import first_reachable
from trellis.transport.service import TURN, Loop
from trellis.wire import stream
from trellis.wire.messages import Register

logger = logging.getLogger("trellis.manager")

_TERMINATED = "SIGTERM: the batch system or its user ended the job"


class ManagerService:
    """Owns the connection to the interchange, and the node's workers. Single-threaded."""

    def __init__(
        self,
        endpoint: ClientEndpoint,
        registration: Register,
        options: argparse.Namespace,
        plan: NodePlan,
        shared: Shared,
    ) -> None:
        self._endpoint = endpoint
        self._registration = registration
        self._options = options
        self._plan = plan
        self._loop = Loop()
        self._inbox: Inbox[Callable[[], None]] = Inbox()  # what signal handlers have to say
        self._node = Node(
            self._loop, self._worker_environment, self._on_worker_frames, self._on_worker_exit, self._announce, shared
        )
        now = time.monotonic()
        state = ManagerState(make_settings(options, plan), now)
        self._protocol = protocol.ManagerProtocol(registration, state, self._node.running, now)
        self._exit: events.Exit | None = None

    def terminate(self) -> None:
        """Let go of what has not started, and leave soon. May be called from a signal handler."""
        self._inbox.put(lambda: self._protocol.terminate(_TERMINATED, time.monotonic()))

    def stop(self, reason: str) -> None:
        """Leave at once. May be called from a signal handler."""
        self._inbox.put(lambda: self._protocol.stop(reason, time.monotonic()))

    def register(self, timeout_s: float) -> None:
        """Introduce this manager as soon as there is a connection, and wait for the answer.

        Raises:
            ConnectionError: no answer in time, or a refusal.
        """
        monitor = self._endpoint.monitor()
        assert monitor is not None
        self._loop.add_source(monitor, self._on_connection)
        self._loop.add_source(self._endpoint, self._on_messages)
        self._loop.add_fd(self._inbox.fileno(), self._on_inbox)
        self._inbox.hear_signals()
        deadline = time.monotonic() + timeout_s
        while not self._protocol.welcomed and time.monotonic() < deadline:
            self._loop.run_once(deadline - time.monotonic())
            if self._exit is not None:  # by a signal
                return
        if not self._protocol.welcomed:
            raise ConnectionError(
                f"the interchange does not answer within {timeout_s:g} s (is its port blocked, or the key another one?)"
            )

    def run(self) -> events.Exit:
        """Serve until the machine says to exit; the workers are gone then."""
        deadline = self._protocol.next_deadline()
        while self._exit is None:
            self._loop.run_once(max(0.0, deadline - time.monotonic()))
            deadline = self._protocol.next_deadline()
            if time.monotonic() >= deadline:
                self._protocol.on_deadline(time.monotonic())
                self._perform()
                deadline = self._protocol.next_deadline()
            self._protocol.on_turn_end()
            self._perform()
        return self._exit

    def close(self) -> bool:
        """End the workers, give back what has not started, and say goodbye; False when that could not be said."""
        all_is_said = True
        try:
            # After an exception the machine still has to be asked; else it has said all, and this is nothing to it.
            self._protocol.stop("the manager failed: see its log", time.monotonic())
            self._perform()
            self._node.end_workers()
            self._protocol.on_turn_end()
            if self._exit is not None:
                self._protocol.say_goodbye(self._exit.reason)
            self._perform()
        except Exception:
            logger.exception("what has not started could not be given back")
            all_is_said = False
        self._node.close()
        self._loop.close()
        self._inbox.close()
        return all_is_said

    # -- what happens ------------------------------------------------------------------------------------------

    def _on_inbox(self) -> None:
        for tell in self._inbox.drain():
            tell()
            self._perform()

    def _on_connection(self) -> None:
        self._protocol.on_connection_changes(self._endpoint.connection_changes(), time.monotonic())
        self._perform()

    def _on_messages(self) -> None:
        for _ in range(TURN):
            frames = self._endpoint.receive()
            if frames is None:
                return
            self._protocol.on_frames(frames, time.monotonic())
            self._perform()

    def _on_worker_frames(self, worker: int, frames: Sequence[stream.StreamFrame]) -> None:
        self._protocol.on_worker_frames(worker, frames, time.monotonic())
        self._perform()

    def _on_worker_exit(self, worker: int, task: int | None, reason: str) -> None:
        self._protocol.on_worker_exit(worker, task, reason, time.monotonic())
        self._perform()

    # -- what is done ------------------------------------------------------------------------------------------

    def _perform(self) -> None:
        if not self._protocol.has_effects:
            return
        for effect in self._protocol.effects():
            match effect:
                case protocol.SendToInterchange(frames):
                    self._endpoint.send(frames)
                case events.Offer(ids):
                    calls = self._protocol.calls
                    self._node.offer((id_, task_message(id_, *calls[id_])) for id_ in ids)
                case events.TakeBack():
                    self._protocol.on_taken_back(self._node.take_back(), time.monotonic())
                case events.Interrupt(worker, task):
                    caught = self._node.interrupt(worker, task)
                    self._protocol.on_interrupted(worker, task, caught, time.monotonic())
                case events.MeasureMemory(tasks):
                    used = {task: (worker, self._node.memory_mb(worker, mb)) for task, (worker, mb) in tasks.items()}
                    self._protocol.on_memory_measured(used, time.monotonic())
                case protocol.FindPackages(request):
                    self._protocol.on_packages(request, host.packages(), time.monotonic())
                case protocol.LookAtTasks(workers):
                    self._protocol.on_looked(self._node.uses(workers), time.time(), time.monotonic())
                case protocol.TurnAway(reason):
                    raise ConnectionError(f"the interchange refuses this manager: {reason}")
                case events.Exit():
                    self._exit = effect
                case _:
                    self._command(effect)

    def _command(self, effect: protocol.WorkerEffect) -> None:
        """Have workers do something."""
        node = self._node
        match effect:
            case protocol.Define(worker, function, data):
                node.define(worker, function, data)
            case protocol.SendArguments(worker, task, buffers):
                node.answer(worker, stream.TASK, task, buffers)
            case protocol.Forget(functions):
                node.forget(functions)
            case events.Park(count):
                node.park(count)
            case events.RunGang():
                self._run_gang(effect)
            case events.Release(workers):
                node.release(workers)
            case events.StartWorker(worker):
                node.start_worker(worker)
            case events.NudgeWorker(worker):
                node.nudge(worker)
            case events.KillWorker(worker):
                node.kill(worker)
            case _:
                assert_never(effect)

    def _announce(self, ids: list[int]) -> None:
        for send in self._protocol.announcement(ids):
            self._endpoint.send(send.frames)

    def _run_gang(self, action: events.RunGang) -> None:
        demand, affinity = action.demand, self._options.cpu_affinity
        slots = [self._plan.slots[worker] for worker in action.workers]
        variables = task_variables(slots, affinity, demand.cores, demand.gpus)
        if action.nodes:
            variables |= mpi_variables(demand, action.nodes, self._options.mpi_launcher, self._plan.open_mpi)
        function, arguments = self._protocol.calls[action.task]
        environment = dump_environment(variables)
        self._node.run_parked(action.workers[0], action.task, function, environment, arguments)

    def _worker_environment(self, worker: int) -> dict[str, str]:
        return worker_environment(self._options, self._plan, self._registration, self._protocol.welcome, worker)


# -- start -----------------------------------------------------------------------------------------------------


def _run(options: argparse.Namespace, name: str) -> events.Exit:
    plan = plan_node(options)
    keys = None if options.cert_dir == "None" else load_client_keys(Path(options.cert_dir))
    shared = share(plan.size.workers, options.prefetch_capacity)
    witness = Witness(name, keys, shared)  # before there are threads
    context = new_context()
    endpoint = ClientEndpoint(context, keys, name.encode(), watched=True)
    all_is_said = True
    try:
        address = first_reachable(options.addresses.split(","), options.port, options.address_probe_timeout)
        url = tcp_url(address, options.port)
        logger.info("manager %s uses %s", name, url)
        witness.tell_address(url)
        endpoint.connect(url)
        service = ManagerService(endpoint, make_registration(options, plan, name), options, plan, shared)
        signal.signal(signal.SIGTERM, lambda *_: service.terminate())
        signal.signal(signal.SIGINT, lambda *_: service.stop("it got SIGINT"))
        try:
            service.register(options.address_probe_timeout)
            logger.info("manager %s registered, %d workers", name, plan.size.workers)
            return service.run()
        finally:
            all_is_said = service.close()
    finally:
        endpoint.close()
        context.term()
        witness.close(all_is_said)
        shared.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; the exit code is non-zero when the node or the connection was to blame for the end."""
    options = parse_arguments(argv)
    show_as("manager")
    name = options.uid or secrets.token_hex(6)
    start_log(options, name)
    try:
        end = _run(options, name)
    except (ConnectionError, ConfigurationError) as error:
        logger.error("%s", error)
        print(f"trellis manager on {socket.gethostname()}: {error}", file=sys.stderr)
        return 1
    except Exception:
        logger.exception("the manager failed")
        raise
    logger.info("manager %s ends: %s", name, end.reason)
    if end.failed:
        print(f"trellis manager {name} on {socket.gethostname()}: {end.reason}", file=sys.stderr)
    return 1 if end.failed else 0


if __name__ == "__main__":
    sys.exit(main())

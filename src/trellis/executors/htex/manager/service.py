"""The manager of one node: the shell around ``ManagerState``.

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
from collections.abc import Sequence
from pathlib import Path

from trellis.addresses import tcp_url
from trellis.errors import BadMessage, ConfigurationError
from trellis.executors.common import host
from trellis.executors.common.bad_messages import BadMessages
from trellis.executors.common.process_title import show_as
from trellis.executors.htex.manager import events
from trellis.executors.htex.manager import state as machine
from trellis.executors.htex.manager.link import ManagerLink
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
from trellis.executors.htex.manager.witness import Witness
from trellis.executors.htex.worker.task_environment import dump_environment
from trellis.transport.context import new_context
from trellis.transport.endpoint import ClientEndpoint
from trellis.transport.inbox import Inbox
from trellis.transport.keys import load_client_keys
from trellis.transport.probe import first_reachable
from trellis.transport.service import TURN, Loop
from trellis.wire import stream
from trellis.wire.codec import Buffer, Decoder, Payload, payload_buffers, unpack
from trellis.wire.messages import (
    CancelTasks,
    CheckTasks,
    DefineFunctions,
    DismissManager,
    ForgetFunctions,
    Goodbye,
    Message,
    Packages,
    PackagesRequest,
    ReceivedUpTo,
    Refused,
    Register,
    RegisterAgain,
    ReturnTasks,
    Tasks,
    TasksMissing,
    TasksRefused,
    TasksStarted,
    ToManager,
    Welcome,
)

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
        self._link = ManagerLink(endpoint, registration)
        self._state = machine.ManagerState(make_settings(options, plan), time.monotonic())
        self._decoder: Decoder[Message] = Decoder(ToManager)
        self._loop = Loop()
        self._bad_messages = BadMessages(logger, "a message of %s is dropped: %s")
        self._inbox: Inbox[events.Event] = Inbox()  # what signal handlers have to say
        self._node = Node(
            self._loop, self._worker_environment, self._on_frames, self._on_worker_exit, self._announce, shared
        )
        self._functions: dict[int, Buffer] = {}
        self._tasks: dict[int, tuple[int, Payload]] = {}  # function and arguments of tasks that have not ended
        self._welcome = Welcome([])
        self._exit: events.Exit | None = None

    def terminate(self) -> None:
        """Let go of what has not started, and leave soon. May be called from a signal handler."""
        self._inbox.put(events.TerminateRequested(_TERMINATED))

    def stop(self, reason: str) -> None:
        """Leave at once. May be called from a signal handler."""
        self._inbox.put(events.StopRequested(reason))

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
        deadline = time.monotonic() + timeout_s
        while not self._link.welcomed and time.monotonic() < deadline:
            self._loop.run_once(deadline - time.monotonic())
            if self._exit is not None:  # by a signal
                return
        if not self._link.welcomed:
            raise ConnectionError(
                f"the interchange does not answer within {timeout_s:g} s (is its port blocked, or the key another one?)"
            )

    def run(self) -> events.Exit:
        """Serve until the machine says to exit; the workers are gone then."""
        if self._exit is None:
            self._perform(self._state.start())
        while self._exit is None:
            self._loop.run_once(max(0.0, self._state.next_deadline() - time.monotonic()))
            if time.monotonic() >= self._state.next_deadline():
                self._handle(events.DeadlinePassed(self._node.running()))
            self._link.flush()
        return self._exit

    def close(self) -> bool:
        """End the workers, give back what has not started, and say goodbye; False when that could not be said."""
        all_is_said = True
        try:
            # After an exception the machine still has to be asked; else it has said all, and this is nothing to it.
            self._handle(events.StopRequested("the manager failed: see its log"))
            self._node.end_workers()
            self._link.flush()
            if self._link.welcomed and self._exit is not None:
                self._link.send(Goodbye(self._registration.manager, self._exit.reason))
        except Exception:
            logger.exception("what has not started could not be given back")
            all_is_said = False
        self._node.close()
        self._loop.close()
        self._inbox.close()
        return all_is_said

    # -- the interchange ---------------------------------------------------------------------------------------

    def _on_inbox(self) -> None:
        for event in self._inbox.drain():
            self._handle(event)

    def _on_connection(self) -> None:
        if self._link.connection_is_new():
            if self._link.welcomed:
                logger.info("the connection to the interchange is there again")
            self._register()
        elif not self._link.connected:
            logger.warning("the connection to the interchange broke")
            self._handle(events.Disconnected())

    def _register(self) -> None:
        self._handle(events.Disconnected())
        self._link.register(self._state.holding, self._state.started, self._state.draining)

    def _on_messages(self) -> None:
        for _ in range(TURN):
            frames = self._endpoint.receive()
            if frames is None:
                return
            try:
                self._on_message(self._decoder.decode(frames[0]), frames[1:])
            except BadMessage as error:
                self._bad_messages.note("the interchange", error)
                ids = [id_ for id_ in self._decoder.tasks_in(frames[0], Tasks) if id_ not in self._tasks]
                if ids:
                    self._link.send(TasksRefused(ids, str(error), self._registration.manager))

    def _on_message(self, message: Message, frames: list[Buffer]) -> None:
        match message:
            case Tasks():
                self._on_tasks(message, frames)
                return
            case DefineFunctions():
                self._functions.update(zip(message.ids, map(_one_buffer, unpack(message.sizes, frames)), strict=True))
            case ForgetFunctions(ids=ids):
                for id_ in ids:
                    self._functions.pop(id_, None)
                self._node.forget(ids)
                self._handle(events.FunctionsForgotten(ids))
            case ReceivedUpTo(sequence):
                self._link.received_up_to(sequence)
            case CancelTasks(ids=ids):
                self._handle(events.CancelRequested(ids, self._node.running()))
            case ReturnTasks(count=count):
                self._handle(events.ReturnRequested(count))
            case CheckTasks(ids):
                self._link.flush()  # what has just ended is not missing
                self._link.send(TasksMissing(self._registration.manager, [i for i in ids if i not in self._tasks]))
            case PackagesRequest(request):
                found = host.packages()
                self._link.send(Packages(self._registration.manager, request, [*found], [*found.values()]))
            case Welcome():
                if not self._link.welcomed:
                    self._welcome = message
                self._link.on_welcome()
                self._handle(events.Welcomed())
            case RegisterAgain() if self._link.should_register_again:
                self._register()
            case Refused(reason) | DismissManager(reason):
                if not self._link.welcomed:
                    raise ConnectionError(f"the interchange refuses this manager: {reason}")
                self._handle(events.StopRequested(f"dismissed: {reason}"))
            case _:
                pass  # a heartbeat: it is enough that it came
        self._handle(events.InterchangeHeard())

    def _on_tasks(self, message: Tasks, frames: list[Buffer]) -> None:
        arguments = unpack(message.sizes, frames)
        if not self._functions.keys() >= set(message.functions):
            # The definitions went with a connection that broke: the interchange sends them again.
            raise BadMessage("tasks of functions that were not defined")
        ids, walltimes_s, demands, functions = message.ids, message.walltimes_s, message.demands, message.functions
        if not self._tasks.keys().isdisjoint(ids):  # sent twice, around a break of the connection
            new = [number for number, id_ in enumerate(ids) if id_ not in self._tasks]
            walltimes_s = None if walltimes_s is None else [walltimes_s[number] for number in new]
            demands = None if demands is None else [demands[number] for number in new]
            functions = [functions[number] for number in new]
            arguments = [arguments[number] for number in new]
            ids = [ids[number] for number in new]
        self._tasks.update(zip(ids, zip(functions, arguments, strict=True), strict=True))
        self._handle(events.TasksReceived(ids, walltimes_s, demands, functions))

    # -- workers -----------------------------------------------------------------------------------------------

    def _worker_environment(self, worker: int) -> dict[str, str]:
        return worker_environment(self._options, self._plan, self._registration, self._welcome, worker)

    def _on_frames(self, worker: int, frames: Sequence[stream.StreamFrame]) -> None:
        finished: list[int] = []
        durations_s: list[float] = []
        for frame in frames:
            match frame.kind:
                case stream.RESULT | stream.ERROR:
                    # A task that is being ended is reported as that, whatever it still says.
                    if self._state.counts(frame.id):
                        del self._tasks[frame.id]
                        self._link.add_result(worker, frame)
                        finished.append(frame.id)
                        durations_s.append(frame.duration_s)
                case stream.NEED if frame.id in self._functions:
                    self._node.define(worker, frame.id, self._functions[frame.id])
                case stream.FETCH if frame.id in self._tasks:
                    self._node.answer(worker, stream.TASK, frame.id, payload_buffers(self._tasks[frame.id][1]))
                case stream.NEED | stream.FETCH:  # for a task that was given up meanwhile: no answer will come
                    self._node.kill(worker)
                case stream.PARKED:
                    # It has ended what it ran before.
                    self._on_finished(finished, durations_s)
                    finished, durations_s = [], []
                    self._handle(events.WorkerParked(worker))
                case stream.READY:
                    self._handle(events.WorkerReady(worker))
        self._on_finished(finished, durations_s)

    def _on_finished(self, tasks: list[int], durations_s: list[float]) -> None:
        if tasks:
            self._handle(events.TasksFinished(tasks, durations_s))

    def _on_worker_exit(self, worker: int, task: int | None, reason: str) -> None:
        self._handle(events.WorkerExited(worker, task, reason))

    # -- actions -----------------------------------------------------------------------------------------------

    def _handle(self, event: events.Event) -> None:
        self._perform(self._state.handle(event, time.monotonic()))

    def _perform(self, actions: list[events.Action]) -> None:
        for action in actions:
            logger.debug("%s", action)
            match action:
                case events.Offer(ids):
                    self._node.offer((id_, task_message(id_, *self._tasks[id_])) for id_ in ids)
                case events.Park(count):
                    self._node.park(count)
                case events.RunGang():
                    self._announce([action.task])
                    self._run_gang(action)
                case events.Release(workers):
                    self._node.release(workers)
                case events.TakeBack():
                    self._handle(events.TakenBack(self._node.take_back(), self._node.running()))
                case events.StartWorker(worker):
                    self._node.start_worker(worker)
                case events.Interrupt(worker, task):
                    self._handle(events.Interrupted(worker, task, self._node.interrupt(worker, task)))
                case events.NudgeWorker(worker):
                    self._node.nudge(worker)
                case events.KillWorker(worker):
                    self._node.kill(worker)
                case events.MeasureMemory(tasks):
                    used = {task: (worker, self._node.memory_mb(worker, mb)) for task, (worker, mb) in tasks.items()}
                    self._handle(events.MemoryMeasured(used))
                case events.Exit():
                    self._exit = action
                case _:
                    for id_ in self._link.tell(action):
                        del self._tasks[id_]

    def _announce(self, ids: list[int]) -> None:
        # Before they are there: should this process die at once, nobody takes them for tasks that have not started.
        self._link.send(TasksStarted(self._registration.manager, ids))

    def _run_gang(self, action: events.RunGang) -> None:
        demand, affinity = action.demand, self._options.cpu_affinity
        slots = [self._plan.slots[worker] for worker in action.workers]
        variables = task_variables(slots, affinity, demand.cores, demand.gpus)
        if action.nodes:
            variables |= mpi_variables(demand, action.nodes, self._options.mpi_launcher, self._plan.open_mpi)
        function, arguments = self._tasks[action.task]
        environment = dump_environment(variables)
        self._node.run_parked(action.workers[0], action.task, function, environment, arguments)


def _one_buffer(payload: Payload) -> Buffer:
    if isinstance(payload, tuple):
        raise BadMessage("a function in several frames")
    return payload


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


def main() -> int:
    """Entry point; the exit code is non-zero when the node or the connection was to blame for the end."""
    options = parse_arguments()
    show_as("manager")
    name = secrets.token_hex(6)
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

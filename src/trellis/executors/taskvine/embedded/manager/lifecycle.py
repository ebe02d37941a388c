"""How tasks and files of a TaskVine manager begin and end. Pure.

Each task that is submitted leaves here exactly once: finished, or failed. One that failed takes those along that wait
for its temps.

A file is needed by its declarations, by each task that has not ended (its inputs and outputs), by libraries and shapes
that name it, and, as an input, by each task whose temps somebody needs: it may have to run again. What nobody needs is
removed everywhere, but for what outlives the run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from trellis.executors.taskvine.embedded.manager import events
from trellis.executors.taskvine.embedded.manager.records import Running, VineTask
from trellis.executors.taskvine.embedded.manager.replicas import CachedFile
from trellis.executors.taskvine.embedded.manager.store import Store

# Levels of files that go with their last use.
_MORTAL = ("task", "workflow")

# -- what the submit side says ---------------------------------------------------------------------------------


def on_files_declared(store: Store, event: events.FilesDeclared) -> None:
    for spec, name, size in zip(event.files, event.names, event.sizes, strict=True):
        store.names[spec.id] = name
        use(store, [name])
        file = CachedFile(name, spec.kind, spec.source, spec.level, size, spec.peer_transfer)
        store.replicas.declare(file)


def on_files_dropped(store: Store, event: events.FilesDropped) -> None:
    release(store, [store.names.pop(id_) for id_ in event.ids if id_ in store.names])


def on_shapes_defined(store: Store, event: events.ShapesDefined) -> None:
    for id_, shape in zip(event.ids, event.shapes, strict=True):
        store.shapes[id_] = shape
        # A call runs in the environment of its library.
        if shape.environment >= 0 and shape.mode != "serverless":
            name = store.environments[id_] = store.names[shape.environment]
            use(store, [name])


def on_tasks_submitted(store: Store, event: events.TasksSubmitted) -> None:
    plain = not (event.inputs or event.outputs or event.result_files)
    for position, (id_, shape_id) in enumerate(zip(event.ids, event.shapes, strict=True)):
        shape = store.shapes[shape_id]
        task = VineTask(id_, shape_id, shape)
        if shape.library:
            library = store.libraries.get(shape.library)
            if library is None or library.broken:
                _refuse_call(store, task, "" if library is None else library.last_words)
                continue
        if not plain or shape_id in store.environments:
            try:
                _add_files(store, task, event, position)
            except KeyError as error:
                reason = f"nobody knows file {error.args[0]} (any more)"
                store.actions.append(events.ReportFailed(id_, "input_missing", reason))
                continue
        store.add_task(task)


def _refuse_call(store: Store, task: VineTask, last_words: str) -> None:
    name = task.shape.library
    reason = f"library {name} does not start: {last_words}" if last_words else f"there is no library {name}"
    store.actions.append(events.ReportFailed(task.id, "missing_library", reason))


def _add_files(store: Store, task: VineTask, event: events.TasksSubmitted, position: int) -> None:
    """Raises:
    KeyError: a file was never declared, or has been dropped.
    """
    names, file = store.names, store.replicas.file
    inputs = [names[mount.file] for mount in event.inputs.get(position, ())]
    environment = store.environments.get(task.shape_id)
    if environment is not None:
        inputs.append(environment)
    outputs = [names[mount.file] for mount in event.outputs.get(position, ())]
    result_file = event.result_files.get(position)
    if result_file is not None:
        outputs.append(names[result_file])
    task.inputs = tuple(dict.fromkeys(inputs))
    task.outputs = tuple(dict.fromkeys(outputs))
    task.home = tuple(name for name in task.outputs if file(name).kind == "file")
    use(store, task.inputs + task.outputs)
    _add_producer(store, task)
    for name in task.inputs:
        file(name).consumers += 1
        if file(name).consumers > 1 and file(name).level == "task":
            file(name).level = "workflow"


def on_cancel_requested(store: Store, event: events.CancelRequested) -> None:
    kill: dict[str, list[int]] = {}
    for id_ in event.ids:
        task = store.tasks.get(id_)
        if task is None or task.recovers or task.unwanted:
            continue
        if isinstance(task.place, Running):
            task.unwanted = True
            kill.setdefault(task.place.worker, []).append(id_)
        else:
            fail(store, task, "cancelled", "it was cancelled")
    store.actions += [events.KillTasks(worker, killed) for worker, killed in kill.items()]


# -- tasks -----------------------------------------------------------------------------------------------------


def requeue(store: Store, task: VineTask) -> None:
    """Run the task again, unless it is being cancelled."""
    if task.unwanted:
        fail(store, task, "cancelled", "it was cancelled")
        return
    store.leave(task)
    store.enqueue(task)


def avoid(store: Store, task: VineTask, worker: str, seconds: float) -> None:
    """Keep the task from this worker for so long, if there is another."""
    if len(store.workers) > 1:
        task.avoid, task.avoid_until = worker, store.now + seconds


def finish(store: Store, task: VineTask, worker: str) -> bool:
    """The task has run, and is at no worker any more. Give whether it may run again for its temps."""
    if not task.inputs and not task.outputs:
        store.remove_task(task)
        return False
    _evict_once_files(store, task, worker)
    _fail_all(store, _without(store, task.outputs, "its producer ended without it"))
    release(store, task.inputs + task.outputs)
    store.remove_task(task)
    kept = _is_producer(store, task)
    if task.recovers and not kept:
        store.actions.append(events.ForgetTasks([task.id]))
    return kept


def _evict_once_files(store: Store, task: VineTask, worker: str) -> None:
    """Files that are kept for a task only go with it."""
    replicas = store.replicas
    once = [n for n in task.inputs if replicas.file(n).level == "task" and replicas.is_ready(n, worker)]
    for name in once:
        replicas.evict(name, worker)
    if once:
        store.actions.append(events.EvictFiles(worker, once))


def fail(store: Store, task: VineTask, status: str, reason: str, exit_code: int = 0) -> None:
    """The task has no result, wherever it is now; nor have those that wait for its temps."""
    _fail_all(store, [(task, status, reason, exit_code)])


def _fail_all(store: Store, first: list[tuple[VineTask, str, str, int]]) -> None:
    todo = deque(first)
    while todo:
        task, status, reason, exit_code = todo.popleft()
        if store.tasks.get(task.id) is not task:
            continue
        store.leave(task)
        if task.recovers:
            store.actions.append(events.ForgetTasks([task.id]))
        else:
            store.actions.append(events.ReportFailed(task.id, status, reason, exit_code))
        if task.inputs or task.outputs:
            todo += _without(store, task.outputs, reason)
            _remove_producer(store, task)
            release(store, task.inputs + task.outputs)
        store.remove_task(task)


def fail_waiting(store: Store, name: str, words: str) -> None:
    """Fail those that wait for a temp that will not come."""
    _fail_all(store, _waiting(store, name, words))


def _waiting(store: Store, name: str, words: str) -> list[tuple[VineTask, str, str, int]]:
    """Tasks that wait for a temp that will not come; requests for it are answered."""
    store.actions += [events.AnswerFetch(request, "", name, words) for request in store.fetches.pop(name, ())]
    return [(store.tasks[id_], "input_missing", words, 0) for id_ in sorted(store.waiting.get(name, ()))]


def _without(store: Store, outputs: Iterable[str], reason: str) -> list[tuple[VineTask, str, str, int]]:
    """Tasks that wait for those of these outputs that are nowhere."""
    found = []
    for name in outputs:
        file = store.replicas.get(name)
        if file is not None and file.lost:
            found += _waiting(store, name, f"{name} could not be made: {reason}")
    return found


# -- files: how many need each ---------------------------------------------------------------------------------


def use(store: Store, names: Iterable[str]) -> None:
    for name in names:
        store.uses[name] = store.uses.get(name, 0) + 1


def release(store: Store, names: Iterable[str]) -> None:
    """Note one use less of each file; what nobody needs is removed."""
    todo = list(names)
    while todo:
        name = todo.pop()
        store.uses[name] -= 1
        if store.uses[name]:
            continue
        del store.uses[name]
        todo += _release_producer(store, name)
        if store.replicas.file(name).level in _MORTAL:
            store.actions += [events.EvictFiles(worker, [name]) for worker in store.replicas.remove(name)]
        store.actions.append(events.ForgetFiles([name]))


def _add_producer(store: Store, task: VineTask) -> None:
    """While somebody needs a temp of this task, its inputs are kept, so that it can run again."""
    temps = [name for name in task.outputs if store.replicas.file(name).kind == "temp"]
    if temps:
        store.producers.update(dict.fromkeys(temps, task))
        use(store, task.inputs)


def _is_producer(store: Store, task: VineTask) -> bool:
    """Whether it may have to run (again) for somebody."""
    return any(store.producers.get(name) is task for name in task.outputs)


def _remove_producer(store: Store, task: VineTask) -> None:
    """The task will not make its temps, or not again."""
    if _is_producer(store, task):
        for name in task.outputs:
            store.producers.pop(name, None)
        release(store, task.inputs)


def _release_producer(store: Store, name: str) -> tuple[str, ...]:
    """Nobody needs this temp: give the files that were kept for its sake alone."""
    producer = store.producers.pop(name, None)
    if producer is None or _is_producer(store, producer):
        return ()
    if producer.id not in store.tasks:
        store.actions.append(events.ForgetTasks([producer.id]))
    return producer.inputs

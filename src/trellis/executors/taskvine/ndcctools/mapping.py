"""What Trellis says of a task, as calls of the real TaskVine's, and what that says of its end. Pure."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple

from trellis.executors.common.accelerators import accelerator_variables
from trellis.executors.taskvine.remote import guard, runner
from trellis.executors.taskvine.remote.fit import MARK
from trellis.wire.vine import ON_IMPORT_PATH, LibrarySpec, Mount, Resources, TaskShape

# Of TaskVine's ways to learn what a category needs, by the names of ``autolabel_algorithm``.
CATEGORY_MODES = {"max-xput": "max throughput", "bucketing": "exhaustive bucketing", "max": "max"}

# A task that so many workers could not start, one after the other, is not tried again; TaskVine's own is: for ever.
MAX_FORSAKEN = 10

# TaskVine's results of 7.14.5 as ``task.result`` says them; later ones have two more.
STATUSES = {
    "input missing": "input_missing",
    "output missing": "output_missing",
    "stdout missing": "stdout_missing",
    "signal": "signal",
    "resource exhaustion": "resource_exhaustion",
    "max end time": "max_end_time",
    "unknown": "unknown",
    "forsaken": "forsaken",
    "max retries": "max_retries",
    "max wall time": "max_wall_time",
    "monitor error": "monitor_error",
    "output transfer error": "output_transfer_error",
    "fixed location missing": "fixed_location_missing",
    "cancelled": "cancelled",
    "library exit": "library_exit",
    "sandbox exhaustion": "sandbox_exhaustion",
    "missing library": "missing_library",
}

# Where the parts of a task are in its sandbox; users' files are elsewhere.
OWN = ".trellis"
GUARD, RUNNER = f"{OWN}/trellis_guard.py", f"{OWN}/trellis_runner.py"
FUNCTION, ARGUMENTS, RESULT = (f"{OWN}/{name}" for name in ("function", "arguments", "result"))
# The head of a result that stays at the worker, or all of it when the task failed.
REPORT = f"{OWN}/report"
ENVIRONMENT = f"{OWN}/environment"
FIT = f"{OWN}/fit.py"
_HEAD_BYTES = runner._HEAD.size
# Printed by the shell when the interpreter ended otherwise than by its own will.
_EXIT_MARK = "trellis: exit code"

# A setter of ndcctools' Task, and its arguments.
Call = tuple[str, tuple[Any, ...]]


def task_calls(shape: TaskShape, import_paths: Sequence[str] = ()) -> list[Call]:
    """What to call on each task of this shape; but for files."""
    calls: list[Call] = [("set_category", (shape.category,)), ("set_max_forsaken", (MAX_FORSAKEN,))]
    if shape.mode == "serverless":
        calls.append(("set_library_required", (shape.library,)))
    else:
        calls += resource_calls(shape.resources)
        variables = dict(shape.variables)
        if import_paths:
            variables.setdefault("TRELLIS_IMPORT_PATHS", os.pathsep.join(import_paths))
        calls += [("set_env_var", (name, value)) for name, value in variables.items()]
    if shape.priority:
        calls.append(("set_priority", (shape.priority,)))
    # TaskVine takes less than 1 for "for ever". One attempt more where none is wanted comes to the same: without
    # labels, a task that used too much is not tried again.
    calls.append(("set_retries", (0 if shape.max_retries < 0 else max(1, shape.max_retries),)))
    if shape.time_min_s:
        calls.append(("set_time_min", (math.ceil(shape.time_min_s),)))
    if shape.time_max_s and shape.mode != "serverless":  # TaskVine cannot end a call; our function does it
        calls.append(("set_time_max", (math.ceil(shape.time_max_s),)))
    return calls + [("add_feature", (feature,)) for feature in shape.features]


def resource_calls(resources: Resources) -> list[Call]:
    """Whole numbers: TaskVine knows no others. What is not said is TaskVine's to decide."""
    values = {"cores": resources.cores, "memory": resources.memory, "disk": resources.disk, "gpus": resources.gpus}
    return [(f"set_{name}", (math.ceil(value),)) for name, value in values.items() if value is not None]


def library_calls(spec: LibrarySpec, import_paths: Sequence[str] = ()) -> list[Call]:
    """What to call on a library."""
    calls = resource_calls(spec.resources)
    if spec.slots:
        calls.append(("set_function_slots", (spec.slots,)))
    variables = dict(spec.variables)
    if import_paths:
        variables.setdefault("TRELLIS_IMPORT_PATHS", os.pathsep.join(import_paths))
    return calls + [("set_env_var", (name, value)) for name, value in variables.items()]


def regular_command(
    shape: TaskShape, inputs: Sequence[Mount], outputs: Sequence[Mount], stays: bool, measured: bool = False
) -> str:
    """The shell command of a task with an interpreter of its own.

    Args:
        stays: its result does, at the worker.
        measured: TaskVine measures it, and so sees to its memory itself.
    """
    enter = _enter(shape.environment, f'echo "{_EXIT_MARK} $?"; exit 0')
    packs = _packs([pack_path(mount) for mount in inputs if mount.path == ON_IMPORT_PATH])
    words = shlex.join([GUARD, FUNCTION, ARGUMENTS, RESULT, *[mount.path for mount in outputs]])
    command = f"{packs}{_python(shape.environment)} {words}"
    command = f'{enter}{shape.init_command} {command} || echo "{_EXIT_MARK} $?"'.strip()
    made = directories(outputs)
    if made:
        command = f"mkdir -p {shlex.join(made)} && {command}"
    memory = f" {guard.MEMORY}={math.ceil(shape.resources.memory)}" if shape.resources.memory and not measured else ""
    command = f"export {guard.GROUP}=$${memory}; {_devices(shape.resources)}{command}"
    if stays:
        # TaskVine brings either all of a file home or nothing.
        small = f"head -c {_HEAD_BYTES} {RESULT} > {REPORT}"
        command += f"; case $(head -c 1 {RESULT}) in E) cp {RESULT} {REPORT};; *) {small};; esac"
    return command


def _devices(resources: Resources) -> str:
    """Shell text: a worker of TaskVine says which GPUs a task has in Nvidia's variable only."""
    if not resources.gpus:
        return ""
    variables = accelerator_variables(["$CUDA_VISIBLE_DEVICES"], math.ceil(resources.gpus))
    return "".join(f'export {name}="{value}"; ' for name, value in variables.items())


def _python(environment: int) -> str:
    """TaskVine's own command for libraries says ``python``, which not every host has; environments have that."""
    return "python3" if environment < 0 else f'"$PWD/{ENVIRONMENT}/bin/python"'


def _packs(paths: Sequence[str]) -> str:
    return f'TRELLIS_PACKS="{os.pathsep.join(f"$PWD/{path}" for path in paths)}" ' if paths else ""


def _enter(environment: int, otherwise: str) -> str:
    """Shell text that makes an environment the one that commands are of.

    Args:
        environment: number of its file; -1: there is none, and nothing to be done.
        otherwise: shell text for when it cannot be used; ends the shell.
    """
    if environment < 0:
        return ""
    fitted = f"[ ! -e {ENVIRONMENT}/bin/conda-unpack ] || [ -e {ENVIRONMENT}/{MARK} ]"
    fit = f"{_python(environment)} {FIT} {ENVIRONMENT}"
    return f'{{ {fitted} || {fit} || {{ {otherwise}; }}; }}; export PATH="$PWD/{ENVIRONMENT}/bin:$PATH"; '


def directories(outputs: Sequence[Mount]) -> list[str]:
    """Directories that outputs are in; a task finds them made."""
    return sorted({os.path.dirname(mount.path) for mount in outputs} - {""})


def library_command(spec: LibrarySpec, packs: Sequence[str] = ()) -> str:
    """The shell command of a library. ``packs``: where packages for it are in its sandbox."""
    # In the shell's place: only so can it make itself the leader of its process group, see ``member``.
    ends = spec.init_command.rstrip().endswith(("&&", ";")) or not spec.init_command.strip()
    instead = "exec " if ends else ""
    program = f"{instead}{_python(spec.environment)} library_code.py"
    cores = spec.resources.cores
    if cores is not None and math.ceil(cores) < spec.slots:
        # TaskVine's library refuses to share a core between calls. The worker's words come last, and the last counts.
        program = f"{instead}sh -c '{program} \"$@\" --library-cores {spec.slots}' library"
    devices, enter = _devices(spec.resources), _enter(spec.environment, "exit 1")
    return f"{devices}{enter}{spec.init_command} {_packs(packs)}{program}".strip()


def pack_path(mount: Mount) -> str:
    """Where packages for a task are put in its sandbox."""
    return f"{OWN}/pack-{mount.file}"


def mount_path(mount: Mount) -> str:
    return pack_path(mount) if mount.path == ON_IMPORT_PATH else mount.path


class TaskFailure(NamedTuple):
    """What is reported of a failed task, as in ``VineTaskFailed``."""

    status: str
    reason: str
    exit_code: int


def failure_of(result: str, exit_code: int, output: str, what: str = "") -> TaskFailure:
    """What to report of a task that has left no result. ``what``: words of our own about it."""
    status = STATUSES.get(result, "unknown")
    code, output = _exit_code(exit_code, output)
    # TaskVine knows nothing of what happened inside the shell; where it has a reason of its own, that one counts.
    if result in ("success", "output missing", "unknown"):
        status = "signal" if code < 0 else "output_missing"
    words = [what] if what else []
    if status == "resource_exhaustion" and not what:
        words.append("its sandbox took more disk")  # TaskVine sees to that itself; to the rest, when it measures
    if status == "signal":
        words.append(f"it was killed by signal {-code}")
    elif code > 0:
        words.append(f"it ended with exit code {code}")
    words.append(f"its output ends with:\n{output[-2_000:]}" if output else "it wrote nothing")
    return TaskFailure(status, "; ".join(words), code)


def has_not_started(output: str) -> bool:
    """Whether a task has ended at once, because its worker could not have ended it later."""
    return output.rpartition(_EXIT_MARK)[0].strip() == guard.NO_GROUP


def _exit_code(exit_code: int, output: str) -> tuple[int, str]:
    """The interpreter's exit code as Python counts them (a signal is below 0), and the output without our mark."""
    before, mark, after = output.rpartition(_EXIT_MARK)
    if mark and after.strip().isdigit():
        code = int(after)
        return (128 - code if code > 128 else code), before.strip()
    # The shell itself ended before it could say anything: by a signal, whose number TaskVine gives as it is.
    return -max(exit_code, 0), output.strip()


def tune_complaint(unknown: Sequence[str]) -> str:
    """What to tell the user of tuning parameters that TaskVine does not know; empty when there are none."""
    return f"tune_parameters: this TaskVine does not know {', '.join(sorted(unknown))}" if unknown else ""

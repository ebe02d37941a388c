"""Providers on Parsl's base classes, with what they may leave out, and with odd answers."""

import json
import os
import subprocess
import time

import parsl
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.jobs.states import JobState, JobStatus
from parsl.launchers import SimpleLauncher
from parsl.launchers.errors import BadLauncher
from parsl.providers import CondorProvider, LocalProvider
from parsl.providers.base import ExecutionProvider
from parsl.providers.cluster_provider import ClusterProvider
from parsl.providers.errors import SchedulerMissingArgs, ScriptPathError

EXPECTED = {
    "kinds": [True, True, True],
    "cluster": ["mine", 1, 0, 2, 1, "00:10:00", 10, None, {}, None, None],
    "cluster runs": "yes of 1",
    "commands": [[3, "out\n", "err\n"], [0, "mine\n", ""]],
    "errors": ["SchedulerMissingArgs", "ScriptPathError", "BadLauncher"],
    "bare runs": "bare",
    "bare was called": ["parsl.bare.block-0", 1],
    "wrapped runs": "wrapped",
    "subclass runs": "subclass",
    "table of jobs": [{}, ["job_id", "remote_pid", "script_path", "status"], "RUNNING", [], ["more"]],
    "set afterwards": [3, "export A=1\n", 2],
}

TEMPLATE = """#!/bin/bash
export MINE=${mine}
export JOBNAME=${jobname}
${user_script}
"""


class Mine(ClusterProvider):
    """A batch system of its own: scripts on this host."""

    def __init__(self, **settings):
        settings = {"launcher": SimpleLauncher(), "max_blocks": 2, **settings}
        settings = {"nodes_per_block": 1, "init_blocks": 1, "min_blocks": 0, "parallelism": 1, **settings}
        super().__init__("mine", walltime="00:10:00", **settings)
        self.cores_per_node = self.mem_per_node = None
        self.processes = {}

    def submit(self, command, tasks_per_node, job_name="mine.auto"):
        path = os.path.join(self.script_dir, f"{job_name}.{time.time()}.sh")
        launched = self.launcher(command, tasks_per_node, self.nodes_per_block)
        self._write_submit_script(TEMPLATE, path, job_name, {"mine": "yes", "user_script": launched})
        with open(f"{path}.out", "w") as out:
            process = subprocess.Popen(["/bin/bash", path], stdout=out, stderr=out, start_new_session=True)
        self.processes[process.pid] = process
        self.resources[process.pid] = {"job_id": process.pid, "status": JobStatus(JobState.PENDING)}
        return process.pid

    def _status(self):
        for pid, process in self.processes.items():
            state = JobState.RUNNING if process.poll() is None else JobState.COMPLETED
            self.resources[pid]["status"] = JobStatus(state)

    def cancel(self, job_ids):
        for pid in job_ids:
            os.killpg(pid, 15)
            self.processes[pid].wait()
        return [True for _ in job_ids]

    @property
    def status_polling_interval(self):
        return 1


class Bare(ExecutionProvider):
    """The least that Parsl wants without a strategy: no launcher, no walltime, no numbers of more blocks."""

    def __init__(self):
        self.init_blocks = self.nodes_per_block = 1
        self.cores_per_node = self.mem_per_node = None
        self.script_dir = None
        self.calls = []
        self.processes = {}

    @property
    def label(self):
        return "bare"

    @property
    def status_polling_interval(self):
        return 1

    def submit(self, command, tasks_per_node, job_name="bare.auto"):
        self.calls += [job_name, tasks_per_node]
        environment = {**os.environ, "PROVIDED_BY": "bare"}
        self.processes[7] = subprocess.Popen(["/bin/sh", "-c", command], env=environment, start_new_session=True)
        return 7

    def status(self, job_ids):
        states = [self.processes[job_id].poll() for job_id in job_ids]
        return [JobStatus(JobState.RUNNING if state is None else JobState.COMPLETED) for state in states]

    def cancel(self, job_ids):
        for job_id in job_ids:
            os.killpg(self.processes[job_id].pid, 15)
            self.processes[job_id].wait()
        return [True for _ in job_ids]


class Wrapped(ExecutionProvider):
    """Delegates to another provider."""

    def __init__(self, inner):
        self._inner = inner
        self.cores_per_node = self.mem_per_node = None
        self.script_dir = None
        for name in ("nodes_per_block", "init_blocks", "min_blocks", "max_blocks", "parallelism"):
            setattr(self, name, getattr(inner, name))

    def __getattr__(self, name):
        return getattr(self.__dict__["_inner"], name)

    @property
    def label(self):
        return self._inner.label

    @property
    def status_polling_interval(self):
        return self._inner.status_polling_interval

    def submit(self, command, tasks_per_node, job_name="wrapped"):
        self._inner.script_dir = self.script_dir
        return self._inner.submit(f"env PROVIDED_BY=wrapped {command}", tasks_per_node, job_name)

    def status(self, job_ids):
        return self._inner.status(job_ids)

    def cancel(self, job_ids):
        return self._inner.cancel(job_ids)


class Subclass(LocalProvider):
    def submit(self, command, tasks_per_node, job_name="parsl.subclass"):
        return super().submit(f"env PROVIDED_BY=subclass {command}", tasks_per_node, job_name)

    def status(self, job_ids):
        return list(super().status(job_ids))


@parsl.python_app
def found(name):
    import os

    return os.environ.get(name)


def seen_by_a_task(label, provider, name):
    executor = HighThroughputExecutor(
        label=label, address="127.0.0.1", address_probe_timeout=60, max_workers_per_node=1, provider=provider
    )
    with parsl.load(Config(executors=[executor], strategy="none", run_dir="runs")):
        return found(name).result(timeout=80)


def seen_by_a_block(name, provider):
    """What the command of a block finds, when a program asks a provider by itself."""
    provider.script_dir = os.path.abspath(name)
    os.makedirs(provider.script_dir)
    said = os.path.join(provider.script_dir, "said")
    # Not quoted, so that what is put before it counts.
    job = provider.submit(f"printenv PROVIDED_BY > {said}", 1, name)
    end = time.monotonic() + 30
    while provider.status([job])[0].state != JobState.COMPLETED and time.monotonic() < end:
        time.sleep(0.05)
    with open(said) as file:
        return file.read().strip()


def error_of(call):
    try:
        call()
    except (SchedulerMissingArgs, ScriptPathError, BadLauncher) as error:
        return type(error).__name__


def main():
    outcome = {"kinds": [isinstance(Mine(), ExecutionProvider), issubclass(Mine, ClusterProvider)]}
    outcome["kinds"].append(isinstance(LocalProvider(), ExecutionProvider))
    mine = Mine()
    names = "label nodes_per_block min_blocks max_blocks parallelism walltime cmd_timeout script_dir resources"
    names += " cores_per_node mem_per_node"
    outcome["cluster"] = [getattr(mine, name) for name in names.split()]
    outcome["cluster"][8] = dict(mine.resources)
    outcome["commands"] = [
        list(mine.execute_wait("echo out; echo err >&2; exit 3")),
        list(mine.execute_wait("echo mine", timeout=5)),
    ]
    outcome["errors"] = [
        error_of(lambda: mine._write_submit_script("${nothing}", "x", "job", {})),
        error_of(lambda: mine._write_submit_script("", "no/such/place", "job", {})),
        error_of(lambda: Mine(launcher="srun")),
    ]
    outcome["cluster runs"] = f"{seen_by_a_task('mine', mine, 'MINE')} of {len(mine.resources)}"
    bare = Bare()
    outcome["bare runs"] = seen_by_a_task("bare", bare, "PROVIDED_BY")
    outcome["bare was called"] = bare.calls
    outcome["wrapped runs"] = seen_by_a_block("wrapped", Wrapped(LocalProvider()))
    outcome["subclass runs"] = seen_by_a_block("subclass", Subclass())
    provider = LocalProvider(launcher=SimpleLauncher())
    provider.script_dir = os.path.abspath("scripts")
    os.makedirs(provider.script_dir)
    table = [dict(provider.resources)]
    job = provider.submit("exec sleep 100", 1, "job")
    entry = provider.resources[job]
    table += [sorted(name for name in entry if name != "cancelled"), entry["status"].state.name]
    provider.cancel([job])
    condor = CondorProvider()
    table.append(list(condor.transfer_input_files))
    condor.transfer_input_files.append("more")
    table.append(condor.transfer_input_files)
    outcome["table of jobs"] = table
    provider.max_blocks = 3
    provider.worker_init += "export A=1\n"
    provider.launcher = SimpleLauncher()
    provider.nodes_per_block = 2
    outcome["set afterwards"] = [provider.max_blocks, provider.worker_init, provider.nodes_per_block]
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()

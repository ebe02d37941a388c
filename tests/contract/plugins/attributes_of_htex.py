"""What programs ask HighThroughputExecutor under Parsl's names, and what they set on it."""

import json
import os
import time
import warnings
from concurrent.futures import Future

import parsl
from parsl.config import Config
from parsl.executors import HighThroughputExecutor, MPIExecutor, ThreadPoolExecutor
from parsl.executors.status_handling import BlockProviderExecutor
from parsl.jobs.states import JobState, JobStatus
from parsl.launchers import SimpleLauncher
from parsl.providers import LocalProvider

EXPECTED = {
    "before": [0, {}, {}, {}, None, False, {}, 0.2],
    "in flight": [2, True, True, True],
    "ids": [True, True],
    "after": [0, {}],
    "kernel's": [1, 0],
    "managers": [["active", "block_id", "manager", "tasks", "worker_count"], "0", 1, True, ["0"], 1],
    "commands": [1, 1, ["0"], 0, True],
    "held": False,
    "monitoring": [["block_id", "executor_label", "job_id", "run_id", "status", "timestamp"], "htex", "RUNNING", True],
    "usage": [{"mpi": False}, {"mpi": True}],
    "radio modes": ["htex", "udp"],
    "helpers": [["a"], {"x": "RUNNING"}, "IndexError"],
    "set": ["a", 7, None, "r"],
    "types": [True, True],
    "processes": [True, True],
}


class Often(LocalProvider):
    @property
    def status_polling_interval(self):
        return 0.2


def wait_for(condition):
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def wait_for_file(path):
    import os
    import time

    while not os.path.exists(path):
        time.sleep(0.02)


@parsl.python_app
def wait_in_app(path):
    import os
    import time

    while not os.path.exists(path):
        time.sleep(0.02)


def main():
    said = {}
    executor = HighThroughputExecutor(
        label="htex",
        address="127.0.0.1",
        encrypted=False,
        max_workers_per_node=1,
        worker_port_range=(20000, 32000),
        provider=Often(init_blocks=1, max_blocks=1),
    )
    said["before"] = [
        executor.outstanding,
        dict(executor.tasks),
        dict(executor.blocks_to_job_id),
        dict(executor.job_ids_to_block),
        executor.executor_exception,
        executor.bad_state_is_set,
        executor.status_facade,
        executor.status_polling_interval,
    ]
    said["types"] = [isinstance(executor, BlockProviderExecutor), isinstance(executor.outstanding, int)]
    config = Config(executors=[executor], strategy="none", strategy_period=0.2, run_dir="runs")
    with parsl.load(config) as dfk:
        go = os.path.abspath("go")
        futures = [executor.submit(wait_for_file, {}, go) for _ in range(2)]
        tasks = dict(executor.tasks)
        ids = [future.parsl_executor_task_id for future in futures]
        said["in flight"] = [
            executor.outstanding,
            all(isinstance(future, Future) for future in tasks.values()),
            list(tasks) == ids,
            [tasks[id_] for id_ in ids] == futures,
        ]
        open(go, "w").close()
        for future in futures:
            future.result()
        said["ids"] = [len(set(ids)) == 2, [future.parsl_executor_task_id for future in futures] == ids]
        wait_for(lambda: not executor.outstanding)
        said["after"] = [executor.outstanding, dict(executor.tasks)]

        task = wait_in_app(os.path.abspath("go on"))
        wait_for(lambda: executor.outstanding)
        counted = [executor.outstanding]
        open("go on", "w").close()
        task.result()
        said["kernel's"] = [*counted, executor.outstanding]

        (manager,) = executor.connected_managers()
        keys = [key for key in ("active", "block_id", "manager", "tasks", "worker_count") if key in manager]
        said["managers"] = [
            keys,
            manager["block_id"],
            manager["worker_count"],
            manager["active"],
            executor.connected_blocks(),
            executor.connected_workers,
        ]
        run = executor.command_client.run
        ports = run("WORKER_PORTS")
        said["commands"] = [
            run("WORKERS"),
            len(run("MANAGERS")),
            run("CONNECTED_BLOCKS"),
            executor.outstanding,
            ports[0] == executor.worker_task_port,
        ]
        said["processes"] = [executor.interchange_proc.poll() is None, executor.interchange_proc.pid > 0]
        executor.hold_worker(manager["manager"])
        wait_for(lambda: not executor.connected_managers()[0]["active"])
        said["held"] = executor.connected_managers()[0]["active"]
        wait_for(lambda: [job.state for job in executor.status_facade.values()] == [JobState.RUNNING])
        executor.send_monitoring_info(executor.status())
        (message,) = executor.create_monitoring_info(executor.status())
        said["monitoring"] = [
            sorted(message),
            message["executor_label"],
            message["status"],
            [message["run_id"], message["job_id"]] == [dfk.run_id, executor.blocks_to_job_id["0"]],
        ]
    mpi = MPIExecutor(max_workers_per_block=1, provider=LocalProvider(launcher=SimpleLauncher()))
    said["usage"] = [executor.get_usage_information(), mpi.get_usage_information()]
    said["radio modes"] = [executor.radio_mode, ThreadPoolExecutor().radio_mode]
    try:
        executor._make_status_dict(["x"], [])
    except IndexError as error:
        refused = type(error).__name__
    made = executor._make_status_dict(["x"], [JobStatus(JobState.RUNNING)])
    said["helpers"] = [
        list(executor._filter_scale_in_ids(["a", "b"], [True, False])),
        {block: job.status_name for block, job in made.items()},
        refused,
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = HighThroughputExecutor()
        other.hub_address, other.hub_zmq_port, other.submit_monitoring_radio, other.run_id = "a", 7, None, "r"
        said["set"] = [other.hub_address, other.hub_zmq_port, other.submit_monitoring_radio, other.run_id]
    print(json.dumps(said))


if __name__ == "__main__":
    main()

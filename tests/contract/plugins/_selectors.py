"""Manager selectors for the programs: in a module, because interchanges import them."""

import json
import os
import time

from parsl.executors.high_throughput.manager_selector import ManagerSelector

KEYS = [
    "block_id",
    "start_time",
    "tasks",
    "worker_count",
    "max_capacity",
    "active",
    "draining",
    "hostname",
    "last_heartbeat",
    "idle_since",
    "parsl_version",
    "python_version",
]


class Sorted(ManagerSelector):
    """By block, the favourite last."""

    def __init__(self, favourite):
        self.favourite = favourite

    def sort_managers(self, ready_managers, manager_list):
        return sorted(manager_list, key=lambda id_: ready_managers[id_]["block_id"] == self.favourite)


class Noting(Sorted):
    """Writes down what it is told."""

    def __init__(self, favourite, path):
        super().__init__(favourite)
        self.path = path

    def sort_managers(self, ready_managers, manager_list):
        if not os.path.exists(self.path):
            record = ready_managers[next(iter(manager_list))]
            kinds = {name: type(record[name]).__name__ for name in KEYS if name not in ("idle_since", "tasks")}
            now = time.time()
            recent = [
                abs(now - record["last_heartbeat"]) < 60,
                abs(now - record["idle_since"]) < 60,
                abs(now - record["start_time"]) < 60,
            ]
            counts = [list(record["tasks"]), record["worker_count"], record["max_capacity"]]
            states = [record["active"], record["draining"]]
            shape = [type(value).__name__ for value in (ready_managers, manager_list, next(iter(manager_list)))]
            with open(self.path, "w") as file:
                json.dump({"kinds": kinds, "recent": recent, "counts": counts, "states": states, "shape": shape}, file)
        return super().sort_managers(ready_managers, manager_list)

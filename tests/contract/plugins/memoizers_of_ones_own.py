"""Memoizers: what they are told of, and what becomes of what they give; on the base class and on Parsl's own."""

import json
import os
from concurrent.futures import Future

import parsl
from parsl import python_app
from parsl.config import Config
from parsl.dataflow.memoization import BasicMemoizer, Memoizer
from parsl.executors.threads import ThreadPoolExecutor

NEWER = True  # Config(memoizer=...) came after 2025.1.13
EXPECTED = {
    "results": [1, 1, 2, 2],
    "told": [
        ["start", "000", "runs"],
        ["check", "cached", True],
        ["result", "cached", 1],
        ["check", "cached", True],
        ["result", "cached", 1],
        ["check", "plain", False],
        ["result", "plain", 2],
        ["check", "plain", False],
        ["result", "plain", 2],
        ["check", "failing", False],
        ["exception", "failing", "ValueError"],
        ["close"],
    ],
    "raises": "ZeroDivisionError",
    "gives a failure": "KeyError",
    "gives a late result": "late",
    "subclass": [True, "str", ["result", "result", "closed"]],
    "its run": True,
}

calls = []


@python_app(cache=True)
def cached(x):
    calls.append(x)
    return len(calls)


@python_app
def plain(x):
    calls.append(x)
    return len(calls)


@python_app
def failing():
    raise ValueError("no")


class Own(Memoizer):
    """Remembers all apps, whatever their cache= says."""

    def __init__(self):
        self.table = {}
        self.told = []

    def start(self, *, run_dir, config_run_dir):
        self.told.append(["start", os.path.basename(run_dir), os.path.basename(config_run_dir)])

    def check_memo(self, task):
        self.told.append(["check", task["func_name"], task["memoize"]])
        task["hashsum"] = repr((task["func_name"], tuple(task["args"])))
        return self.table.get(task["hashsum"])

    def update_memo_result(self, task, r):
        self.told.append(["result", task["func_name"], r])
        self.table[task["hashsum"]] = Future()
        self.table[task["hashsum"]].set_result(r)

    def update_memo_exception(self, task, e):
        self.told.append(["exception", task["func_name"], type(e).__name__])

    def close(self):
        self.told.append(["close"])


class Raising(Own):
    def check_memo(self, task):
        return 1 / 0


class GivingFailures(Own):
    def check_memo(self, task):
        future = Future()
        future.set_exception(KeyError("memo"))
        return future


class GivingLate(Own):
    def check_memo(self, task):
        import threading

        future = Future()
        threading.Timer(0.2, future.set_result, ["late"]).start()
        return future


class Basic(BasicMemoizer):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.told = []

    def check_memo(self, task):
        found = super().check_memo(task)
        self.kind = type(task["hashsum"]).__name__
        return found

    def update_memo_result(self, task, r):
        super().update_memo_result(task, r)
        self.told.append("result")

    def close(self):
        super().close()
        self.told.append("closed")


def kernel(memoizer):
    executors = [ThreadPoolExecutor(max_threads=1)]
    return parsl.load(Config(executors=executors, memoizer=memoizer, run_dir="runs", strategy="none"))


def main():
    outcome = {}
    own = Own()
    with kernel(own):
        outcome["results"] = [app(1).result(30) for app in (cached, cached, plain, plain)]
        failing().exception(30)
    outcome["told"] = own.told
    with kernel(Raising()):
        outcome["raises"] = type(cached(2).exception(30)).__name__
    with kernel(GivingFailures()):
        outcome["gives a failure"] = type(cached(3).exception(30)).__name__
    with kernel(GivingLate()):
        outcome["gives a late result"] = cached(4).result(30)
    basic = Basic()
    with kernel(basic) as dfk:
        same = cached(5).result(30) == cached(5).result(30)
        outcome["its run"] = basic.run_dir == dfk.run_dir
    outcome["subclass"] = [same, basic.kind, basic.told]
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()

"""Retry handlers: what they are told, what they may change, and what becomes of what they give or raise."""

import json

import parsl
from parsl import bash_app, join_app, python_app
from parsl.config import Config
from parsl.executors.threads import ThreadPoolExecutor

EXPECTED = {
    "arguments replaced": [2, [0, 1, 2]],
    "arguments changed in place": [2, [0, 1, 2]],
    "keyword arguments changed": [7, [0, 7]],
    "another executor": ["two", 1],
    "the function replaced": "replaced",
    "costs": [["ValueError", 4], ["ValueError", 1], [2, 3], ["ValueError", 1]],
    "it raises": ["ZeroDivisionError", 1],
    "objects and methods": [2, 2],
    "told of": ["BashExitFailure", "DependencyError", "ValueError"],
    "no such executor": "ValueError",
    "fields": [],
    "counts": [1, 1, ["ValueError('no 0')"], "str", "int", "list", "dict", "NoneType", "bool", "datetime"],
}

FIELDS = [
    "args",
    "depends",
    "dfk",
    "exec_fu",
    "executor",
    "fail_cost",
    "fail_count",
    "fail_history",
    "from_memo",
    "func",
    "func_name",
    "hashsum",
    "id",
    "ignore_for_cache",
    "join",
    "joins",
    "kwargs",
    "memoize",
    "resource_specification",
    "status",
    "time_invoked",
    "time_returned",
    "try_id",
    "try_time_launched",
    "try_time_returned",
    "app_fu",
]

attempts = []


@python_app(executors=["one"])
def from_two_on(n, inputs=()):
    attempts.append(n)
    if n < 2:
        raise ValueError(f"no {n}")
    return n


@python_app(executors=["one"])
def whose_thread():
    import threading

    name = threading.current_thread().name
    attempts.append(name)
    if len(attempts) == 1:
        raise ValueError(name)
    return name == attempts[0]


@bash_app
def failing_command():
    return "exit 3"


@join_app
def joined():
    return from_two_on(0)


def kernel(handler, retries=3):
    attempts.clear()
    executors = [ThreadPoolExecutor(label="one", max_threads=1), ThreadPoolExecutor(label="two", max_threads=1)]
    config = Config(executors=executors, retries=retries, retry_handler=handler, strategy="none", run_dir="runs")
    return parsl.load(config)


def outcome_of(handler, *args, **kwargs):
    with kernel(handler):
        future = from_two_on(*args, **kwargs)
        error = future.exception(30)
        return future.result() if error is None else type(error).__name__


def replaced(error, record):
    record["args"] = (record["args"][0] + 1,)
    return 1


def in_place(error, record):
    record["args"][0] += 1
    return 0.5


def keywords(error, record):
    record["kwargs"]["n"] = 7
    return 1


def function(error, record):
    record["func"] = lambda n, inputs: "replaced"
    return 1


def other_executor(error, record):
    record["executor"] = "two"
    return 1


def nowhere(error, record):
    record["executor"] = "nowhere"
    return 1


class Handler:
    def __call__(self, error, record):
        return replaced(error, record)

    def method(self, error, record):
        return replaced(error, record)


def free(error, record):
    in_place(error, record)
    return -1


def told_of():
    told = set()

    def note(error, record):
        told.add(type(error).__name__)
        return 100

    with kernel(note):
        futures = [failing_command(), joined(), from_two_on(3, inputs=[from_two_on(0)])]
        for future in futures:
            future.exception(30)
    return sorted(told)


def fields(outcome):
    seen = {}

    def look(error, record):
        seen["missing"] = [name for name in FIELDS if name not in record]
        kinds = ["executor", "id", "fail_history", "kwargs", "exec_fu", "memoize", "try_time_launched"]
        seen["counts"] = [record["fail_count"], record["try_id"] + 1, list(record["fail_history"])]
        seen["counts"] += [type(record[name]).__name__ for name in kinds]
        return 100

    outcome_of(look, 0)
    outcome["fields"], outcome["counts"] = seen["missing"], seen["counts"]


def main():
    outcome = {
        "arguments replaced": [outcome_of(replaced, 0), list(attempts)],
        "arguments changed in place": [outcome_of(in_place, 0), list(attempts)],
        "keyword arguments changed": [outcome_of(keywords, n=0), list(attempts)],
        "the function replaced": outcome_of(function, 0),
        "costs": [
            [outcome_of(lambda error, record: True, 0), len(attempts)],
            [outcome_of(lambda error, record: float("inf"), 0), len(attempts)],
            [outcome_of(free, 0), len(attempts)],
            [outcome_of(lambda error, record: float("nan"), 0), len(attempts)],
        ],
        "it raises": [outcome_of(lambda error, record: 1 / 0, 0), len(attempts)],
        "objects and methods": [outcome_of(Handler(), 0), outcome_of(Handler().method, 0)],
        "no such executor": outcome_of(nowhere, 0),
        "told of": told_of(),
    }
    with kernel(other_executor):
        same_thread = whose_thread().result(30)
        outcome["another executor"] = ["one" if same_thread else "two", len(attempts) - 1]
    fields(outcome)
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()

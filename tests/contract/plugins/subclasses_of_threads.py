"""Subclasses of ThreadPoolExecutor: what they override is called, and the threads are at ``self.executor``."""

import json
import threading

import parsl
from parsl.config import Config
from parsl.executors import ThreadPoolExecutor

EXPECTED = {
    "results": [1, [0, 1, 4], "text"],
    "refused": "PermissionError: not this one",
    "called": ["start", "submit", "submit", "shutdown"],
    "elsewhere": True,
    "resources": [True, False],
}


class Mine(ThreadPoolExecutor):
    def __init__(self, **settings):
        super().__init__(**settings)
        self.called = []

    def start(self):
        self.called.append("start")
        super().start()

    def submit(self, func, resource_specification, *args, **kwargs):
        if args == ("refused",):
            raise PermissionError("not this one")
        self.called.append("submit")
        if kwargs:
            return self.executor.submit(func, *args, **kwargs)
        return super().submit(func, resource_specification, *args, **kwargs)

    def shutdown(self, block=True):
        self.called.append("shutdown")
        super().shutdown(block=block)

    def monitor_resources(self):
        return False


@parsl.python_app(executors=["mine"])
def one(*args, func=None):
    return func or 1


@parsl.python_app(executors=["mine"])
def thread(**kwargs):
    import threading

    return threading.current_thread().name


def main():
    mine = Mine(label="mine", max_threads=1, thread_name_prefix="of-mine")
    with parsl.load(Config(executors=[mine], run_dir="runs")):
        result = one().result()
        name = thread(text="x").result()
        mapped = list(mine.executor.map(lambda x: x * x, range(3)))
        direct = mine.executor.submit(str.lower, "TEXT").result()
        try:
            error = one("refused").exception()
        except PermissionError as refused:
            error = refused
    said = {
        "results": [result, mapped, direct],
        "refused": f"{type(error).__name__}: {error}",
        "called": mine.called,
        "elsewhere": name != threading.current_thread().name,
        "resources": [ThreadPoolExecutor().max_threads == 2, mine.monitor_resources()],
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()

"""Staging classes: tasks of their own on the kernel's executor, wrappers in the task, and what they are called with."""

import json
import os

import parsl
import parsl.data_provider.data_manager as data_manager
from parsl import File, bash_app, python_app
from parsl.config import Config
from parsl.data_provider.data_manager import DataManager
from parsl.data_provider.file_noop import NoOpFileStaging
from parsl.data_provider.staging import Staging
from parsl.executors.threads import ThreadPoolExecutor
from parsl.utils import RepresentationMixin

EXPECTED = {
    "repr": "Separate(directory='there')",
    "fetched": "fetched mine://host/a.txt and fetched mine://host/b.txt",
    "sent": ["made", "mine://host/o.txt"],
    "chained": "fetched mine://host/c.txt",
    "stdout": ["hello\n", "mine://host/std.txt"],
    "refused": ["ValueError", True],
    "calls": [
        ["in", "DataManager", "one", "File", "no parent"],
        ["in", "DataManager", "one", "File", "no parent"],
        ["out", "one", "AppFuture", False],
        ["out", "one", "AppFuture", False],
        ["in", "DataManager", "one", "File", "parent"],
        ["out", "one", "AppFuture", False],
    ],
    "wrapped": "brought and brought",
    "carried away": [True, "wrap://host/o.txt"],
    "first that can": "brought",
    "default": "brought",
    "manager": ["plain", True, "text", True],
    "failures": ["ZeroDivisionError", "ZeroDivisionError", "ZeroDivisionError", "ValueError: not sent"],
}

calls = []


def fetch(directory, parent_fut=None, outputs=(), _parsl_staging_inhibit=True):
    import os

    os.makedirs(directory, exist_ok=True)
    with open(outputs[0].filepath, "w") as file:
        file.write(f"fetched {outputs[0].url}")


def send(app_fu, inputs=(), _parsl_staging_inhibit=True):
    import os

    os.rename(inputs[0].filepath, inputs[0].filepath + ".sent")


class Separate(Staging, RepresentationMixin):
    """As Parsl's own staging over HTTP and FTP is written: with apps on the internal executor."""

    def __init__(self, directory="there"):
        self.directory = directory

    def can_stage_in(self, file):
        return file.scheme == "mine"

    def can_stage_out(self, file):
        return file.scheme == "mine"

    def _place(self, dm, executor, file):
        working_dir = dm.dfk.executors[executor].working_dir
        file.local_path = os.path.join(working_dir, file.filename)
        return os.path.abspath(working_dir)

    def stage_in(self, dm, executor, file, parent_fut):
        kind = "no parent" if parent_fut is None else "parent"
        calls.append(["in", type(dm).__name__, executor, type(file).__name__, kind])
        directory = self._place(dm, executor, file)
        app = python_app(executors=["_parsl_internal"], data_flow_kernel=dm.dfk)(fetch)
        return app(directory, outputs=[file], _parsl_staging_inhibit=True, parent_fut=parent_fut)._outputs[0]

    def stage_out(self, dm, executor, file, app_fu):
        calls.append(["out", executor, type(app_fu).__name__, app_fu.done()])
        self._place(dm, executor, file)
        app = python_app(executors=["_parsl_internal"], data_flow_kernel=dm.dfk)(send)
        return app(app_fu, _parsl_staging_inhibit=True, inputs=[file])


class InTask(Staging):
    """As Parsl's staging by rsync is written: a function around the task's."""

    def can_stage_in(self, file):
        return file.scheme == "wrap"

    def can_stage_out(self, file):
        return file.scheme == "wrap"

    def replace_task(self, dm, executor, file, f):
        file.local_path = os.path.join(dm.dfk.executors[executor].working_dir or ".", file.filename)

        def wrapper(*args, **kwargs):
            with open(file.local_path, "w") as out:
                out.write("brought")
            return f(*args, **kwargs)

        return wrapper

    def replace_task_stage_out(self, dm, executor, file, f):
        file.local_path = file.filename

        def wrapper(*args, **kwargs):
            result = f(*args, **kwargs)
            os.rename(file.local_path, file.local_path + ".away")
            return result

        return wrapper


class Failing(Staging):
    def __init__(self, name):
        setattr(self, name, self.fail)

    def can_stage_in(self, file):
        return True

    def can_stage_out(self, file):
        return True

    def fail(self, *args, **kwargs):
        return 1 / 0


class NotSent(Staging):
    def can_stage_out(self, file):
        return True

    def stage_out(self, dm, executor, file, app_fu):
        from concurrent.futures import Future

        future = Future()
        future.set_exception(ValueError("not sent"))
        return future


@python_app
def read(*files, inputs=()):
    texts = []
    for file in (*files, *inputs):
        with open(file) as opened:
            texts.append(opened.read())
    return " and ".join(texts)


@python_app
def make(outputs=()):
    with open(outputs[0].filepath, "w") as file:
        file.write("made")


@bash_app
def hello(stdout=None):
    return "echo hello"


def kernel(storage_access, working_dir=None):
    executor = ThreadPoolExecutor(label="one", storage_access=storage_access, working_dir=working_dir)
    return parsl.load(Config(executors=[executor], strategy="none", run_dir="runs"))


def content(path):
    with open(path) as file:
        return file.read()


def error_of(call):
    """What a call, or its future, fails with: Parsl raises at once what Trellis puts into the future."""
    try:
        return call().exception(30)
    except Exception as error:
        return error


def separate(outcome):
    with kernel([Separate(), InTask()], "there"):
        outcome["fetched"] = read(File("mine://host/a.txt"), inputs=[File("mine://host/b.txt")]).result(30)
        made = make(outputs=[File("mine://host/o.txt")])
        outcome["sent"] = [None, made.outputs[0].result(30).url]
        outcome["sent"][0] = content("there/o.txt.sent")
        chained = make(outputs=[File("mine://host/c.txt")])
        outcome["chained"] = read(chained.outputs[0]).result(30)
        said = hello(stdout=File("mine://host/std.txt"))
        url = said.stdout.result(30).url
        outcome["stdout"] = [content("there/std.txt.sent"), url]
        error = error_of(lambda: read(File("unknown://host/x")))
        outcome["refused"] = [type(error).__name__, "Executor one cannot stage file" in str(error)]
    outcome["calls"] = list(calls)


def wrapped(outcome):
    with kernel([InTask()]):
        outcome["wrapped"] = read(File("wrap://host/x"), inputs=[File("wrap://host/y")]).result(30)
        url = make(outputs=[File("wrap://host/o.txt")]).outputs[0].result(30).url
        outcome["carried away"] = [os.path.exists("o.txt.away"), url]
    with kernel([NoOpFileStaging(), InTask(), Failing("replace_task")]):
        outcome["first that can"] = read(File("wrap://host/x")).result(30)
    data_manager.default_staging.append(InTask())
    with kernel(None) as dfk:
        outcome["default"] = read(File("wrap://host/x")).result(30)
        manager = DataManager(dfk)
        outcome["manager"] = [
            manager.stage_in(File("plain"), File("plain"), "one").filepath,
            manager.replace_task(File("plain"), len, "one") is len,
            manager.optionally_stage_in("text", len, "one")[0],
            dfk.data_manager.dfk is dfk,
        ]


def failures(outcome):
    outcome["failures"] = []
    for name in ("can_stage_in", "stage_in", "replace_task"):
        with kernel([Failing(name)]):
            outcome["failures"].append(type(error_of(lambda: read(File("plain")))).__name__)
    with kernel([NotSent()]):
        error = make(outputs=[File("plain")]).outputs[0].exception(30)
        outcome["failures"].append(f"{type(error).__name__}: {error}")


def main():
    outcome = {"repr": repr(Separate())}
    with open("plain", "w") as file:
        file.write("plain")
    separate(outcome)
    wrapped(outcome)
    failures(outcome)
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()

"""What makes calls the same: handlers of id_for_memo, ignore_for_cache, outputs; and checkpoints of earlier runs."""

import json
import os

import parsl
from parsl import File, bash_app, python_app
from parsl.config import Config
from parsl.dataflow.memoization import id_for_memo
from parsl.executors.threads import ThreadPoolExecutor
from parsl.utils import get_all_checkpoints, get_last_checkpoint

EXPECTED = {
    "handled": [True, True, True, True, False],
    "of text": True,
    "fails": "ValueError: no identity",
    "asked with": [False, True],
    "ignored": [True, False, True],
    "direct": ["bytes", "bytes", True],
    "dispatched": True,
    "no checkpoints": [[], []],
    "checkpoints": [["runs/000/checkpoint"], ["runs/000/checkpoint"]],
    "handed over": [True, True, True],
    "others": False,
    "missing": "BadCheckpoint",
}


class Named:
    def __init__(self, name, noise=0):
        self.name = name
        self.noise = noise


class Text(Named):
    pass


class Failing(Named):
    pass


asked = []


@id_for_memo.register(Named)
def of_named(value, output_ref=False):
    return b"named " + value.name.encode()


@id_for_memo.register(Text)
def of_text(value, output_ref=False):
    return "text " + value.name


@id_for_memo.register(Failing)
def of_failing(value, output_ref=False):
    raise ValueError("no identity")


@id_for_memo.register(File)
def of_file(value, output_ref=False):
    asked.append(output_ref)
    return value.url.encode()


calls = []


@python_app(cache=True)
def count(x, inputs=(), outputs=()):
    calls.append(x)
    return len(calls)


@python_app(cache=True, ignore_for_cache=["noise"])
def count_without_noise(x, noise=0):
    calls.append(x)
    return len(calls)


@bash_app(cache=True, ignore_for_cache=["stdout"])
def command(word, stdout=None):
    return f"echo {word}; echo ran >> ran"


def same(first, second, app=count):
    return app(first).result(30) == app(second).result(30)


def kernel(**settings):
    settings = {"run_dir": "runs", "strategy": "none", **settings}
    return parsl.load(Config(executors=[ThreadPoolExecutor(max_threads=1)], **settings))


def relative(paths):
    return [os.path.relpath(path) for path in paths]


def handled(outcome):
    outcome["handled"] = [
        same(Named("a", 1), Named("a", 2)),
        same([Named("a", 1)], [Named("a", 2)]),
        same({"k": Named("a", 1)}, {"k": Named("a", 2)}),
        same((1, {"k": [Named("a", 1)]}), (1, {"k": [Named("a", 2)]})),
        same(Named("a"), Named("b")),
    ]
    outcome["of text"] = same([Text("a", 1)], [Text("a", 2)])
    error = count(Failing("a")).exception(30)
    outcome["fails"] = f"{type(error).__name__}: {error}"
    with open("in", "w") as file:
        file.write("content")
    count(1, inputs=[File("in")]).result(30)
    first = list(dict.fromkeys(asked))
    asked.clear()
    with open("out", "w") as file:
        file.write("content")
    count(1, outputs=[File("out")]).result(30)
    outcome["asked with"] = [*first, *dict.fromkeys(asked)]
    results = [count_without_noise(x, noise=noise).result(30) for x, noise in ((1, 1), (1, 2), (2, 1))]
    command("a", stdout="one").result(30)
    command("a", stdout="two").result(30)
    with open("ran") as file:
        ran = len(file.readlines())
    outcome["ignored"] = [results[0] == results[1], results[1] == results[2], ran == 1]
    outcome["direct"] = [type(id_for_memo(1)).__name__, type(id_for_memo([1], output_ref=True)).__name__]
    outcome["direct"].append(id_for_memo([1]) == id_for_memo([1]))
    outcome["dispatched"] = id_for_memo.dispatch(Named) is of_named


def checkpoints(outcome):
    outcome["no checkpoints"] = [get_all_checkpoints("nothing"), get_last_checkpoint("nothing")]
    with kernel(checkpoint_mode="task_exit"):
        before = count("kept").result(30)
    outcome["checkpoints"] = [relative(get_all_checkpoints("runs")), relative(get_last_checkpoint("runs"))]

    def again(files):
        with kernel(checkpoint_files=files, run_dir="others"):
            return count("kept").result(30) == before

    outcome["handed over"] = [
        again(get_all_checkpoints("runs")),
        again(get_last_checkpoint("runs")),
        again([os.path.abspath("runs/000/checkpoint")]),
    ]
    outcome["others"] = again([])
    try:
        again(["nothing/checkpoint"])
    except Exception as error:
        outcome["missing"] = type(error).__name__


def main():
    outcome = {}
    checkpoints(outcome)
    with kernel():
        handled(outcome)
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()

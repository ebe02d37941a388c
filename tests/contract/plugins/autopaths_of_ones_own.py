"""std_autopath: where output goes that is to be named, as a path, a pair, a file, or nothing."""

import json
import os
import pathlib

import parsl
from parsl import AUTO_LOGNAME, File, bash_app
from parsl.config import Config
from parsl.executors.threads import ThreadPoolExecutor

EXPECTED = {
    "path": ["std/say-0-stdout", "hello\n"],
    "pathlib": ["hello\n", "trouble"],
    "pair": ["hello\n", "hello\nhello\n"],
    "file": ["hello\n", True],
    "nothing": [0, None],
    "raises": "ZeroDivisionError",
    "told": [["stderr", "say", True], ["stdout", "say", True]],
}


@bash_app
def say(stdout=AUTO_LOGNAME, stderr=AUTO_LOGNAME):
    return "echo hello; echo trouble >&2"


def kernel(std_autopath):
    config = Config(executors=[ThreadPoolExecutor()], std_autopath=std_autopath, strategy="none", run_dir="runs")
    return parsl.load(config)


def content(path):
    with open(path) as file:
        return file.read()


def by_path(outcome):
    told = []

    def path(record, keyword):
        told.append([keyword, record["func_name"], isinstance(record["id"], int)])
        return os.path.abspath(f"std/{record['func_name']}-{record['id']}-{keyword}")

    with kernel(path):
        future = say()
        future.result(30)
        outcome["path"] = [os.path.relpath(future.stdout), content(future.stdout)]
    outcome["told"] = sorted(told)
    with kernel(lambda record, keyword: pathlib.Path("std") / f"pathlib-{keyword}"):
        say().result(30)
        outcome["pathlib"] = [content("std/pathlib-stdout"), content("std/pathlib-stderr").split()[-1]]


def otherwise(outcome):
    with kernel(lambda record, keyword: (f"std/pair-{keyword}", "a")):
        say().result(30)
        once = content("std/pair-stdout")
        say().result(30)
        outcome["pair"] = [once, content("std/pair-stdout")]
    with kernel(lambda record, keyword: File(f"std/file-{keyword}")):
        future = say()
        future.result(30)
        outcome["file"] = [content("std/file-stdout"), type(future.stdout).__name__ == "DataFuture"]
    with kernel(lambda record, keyword: None):
        future = say()
        outcome["nothing"] = [future.result(30), future.stdout]
    with kernel(lambda record, keyword: 1 / 0):
        try:
            error = say().exception(30)
        except Exception as raised:  # Parsl raises in the call
            error = raised
        outcome["raises"] = type(error).__name__


def main():
    outcome = {}
    by_path(outcome)
    otherwise(outcome)
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()

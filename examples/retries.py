"""Try again what may succeed the next time, and only that.

python retries.py [--executor threads|htex]
"""

import sys
from pathlib import Path
from typing import Any

import trellis
from trellis import Config, HighThroughputExecutor, ThreadPoolExecutor, python_app


@python_app
def fetch(name: str, diary: str) -> str:
    """Fails twice, as a busy server might; the diary counts the attempts over all workers."""
    with open(diary, "a+") as file:
        file.write(f"{name}\n")
        file.seek(0)
        attempts = file.read().split().count(name)
    if name == "typo":
        raise ValueError("there is no such thing")
    if attempts < 3:
        raise ConnectionError("the server is busy")
    return f"{name}, at attempt {attempts}"


def cost_of_failure(exception: Exception, record: Any) -> float:
    """A busy server costs 1 of ``retries``; for anything else, to try again is useless."""
    return 1 if isinstance(exception, ConnectionError) else float("inf")


def main() -> None:
    executor = HighThroughputExecutor() if "htex" in sys.argv else ThreadPoolExecutor()
    diary = Path("attempts.txt").absolute()
    diary.unlink(missing_ok=True)
    with trellis.load(Config(executors=[executor], retries=3, retry_handler=cost_of_failure)):
        good, bad = fetch("data", str(diary)), fetch("typo", str(diary))
        print("got", good.result())
        print("gave up:", repr(bad.exception()))
    print("attempts for typo:", diary.read_text().split().count("typo"))


if __name__ == "__main__":
    main()

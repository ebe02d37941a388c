"""The smallest program: two kinds of apps, and their futures.

python hello.py [--executor threads|htex]
"""

import sys

import trellis
from trellis import Config, HighThroughputExecutor, ThreadPoolExecutor, bash_app, python_app


@python_app
def greet(name: str) -> str:
    return f"Hello, {name}!"


@bash_app
def shout(greeting: str, stdout: str) -> str:
    return f"echo '{greeting}' | tr a-z A-Z"


def main() -> None:
    executor = HighThroughputExecutor() if "htex" in sys.argv else ThreadPoolExecutor()
    with trellis.load(Config(executors=[executor])):
        greeting = greet("world")  # a future: the function runs somewhere else, now or soon
        shouted = shout(greeting, stdout="shout.txt")  # waits for the greeting, this program does not
        print(greeting.result())
        print("exit code", shouted.result())
        with open("shout.txt") as file:
            print(file.read().strip())


if __name__ == "__main__":
    main()

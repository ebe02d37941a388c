"""Keep results on disk in one run, and use them again in the next.

python checkpoint.py [--executor threads|htex]
"""

import sys
from pathlib import Path

import trellis
from trellis import Config, HighThroughputExecutor, ThreadPoolExecutor, python_app
from trellis.utils import get_last_checkpoint


@python_app(cache=True, ignore_for_cache=["diary"])
def slow_square(x: int, diary: str) -> int:
    with open(diary, "a") as file:  # so that we can see how often it really runs
        file.write(f"{x}\n")
    return x * x


def run(checkpoint_files: list[str], diary: Path) -> list[int]:
    executor = HighThroughputExecutor() if "htex" in sys.argv else ThreadPoolExecutor()
    # task_exit: each result is written as soon as it is there, so that even a crash loses nothing.
    config = Config(executors=[executor], checkpoint_mode="task_exit", checkpoint_files=checkpoint_files)
    with trellis.load(config):
        futures = [slow_square(x, diary=str(diary)) for x in range(5)]
        return [future.result() for future in futures]


def main() -> None:
    diary = Path("diary.txt").absolute()
    diary.write_text("")
    print("first run: ", run([], diary), "with", len(diary.read_text().split()), "tasks run")
    diary.write_text("")
    print("second run:", run(get_last_checkpoint(), diary), "with", len(diary.read_text().split()), "tasks run")


if __name__ == "__main__":
    main()

"""A pipeline of shell commands that hand each other files.

python bash_pipeline.py [--executor threads|htex]
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import trellis
from trellis import Config, File, HighThroughputExecutor, ThreadPoolExecutor, bash_app


@bash_app
def write_numbers(first: int, last: int, outputs: Sequence[File]) -> str:
    return f"seq {first} {last} > {outputs[0]}"


@bash_app
def keep_matching(pattern: str, inputs: Sequence[File], outputs: Sequence[File]) -> str:
    return f"grep {pattern} {inputs[0]} > {outputs[0]}"


@bash_app
def count_lines(inputs: Sequence[File], outputs: Sequence[File], stdout: str) -> str:
    files = " ".join(file.filepath for file in inputs)
    return f"cat {files} | tee {outputs[0]} | wc -l"


def main() -> None:
    executor = HighThroughputExecutor() if "htex" in sys.argv else ThreadPoolExecutor()
    work = Path("pipeline").absolute()
    work.mkdir(exist_ok=True)
    with trellis.load(Config(executors=[executor])):
        kept = []
        for part in range(4):
            numbers = write_numbers(part * 100, part * 100 + 99, outputs=[File(work / f"numbers-{part}")])
            # outputs[0] of a future is the file that will be there: passing it on makes the next task wait for it.
            sevens = keep_matching("7", inputs=numbers.outputs, outputs=[File(work / f"sevens-{part}")])
            kept.append(sevens.outputs[0])
        total = count_lines(inputs=kept, outputs=[File(work / "sevens")], stdout=str(work / "count"))
        print("the lines found are in", Path(total.outputs[0].result()).name)
    print((work / "count").read_text().strip(), "numbers below 400 have a 7")


if __name__ == "__main__":
    main()

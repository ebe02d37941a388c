"""5,000 simulations on this machine, with failures among them, and figures that wait for a busy cluster.

What ``docs/watching.md`` looks at. There, ``sbatch`` and ``squeue`` are stand-ins that say what those of a busy cluster
do (see ``record.py``); on a machine with Slurm these lines are the same.
"""

from __future__ import annotations

import sys
import time

import trellis
from trellis import Config, HighThroughputExecutor, MonitoringHub, bash_app, python_app
from trellis.providers import LocalProvider, SlurmProvider

STEPS = 5_000


@python_app(executors=["laptop"])
def simulate(seed: int) -> float:
    import random
    import time

    time.sleep(30.0 if seed == 12 else 0.01)  # a single one takes long
    value = random.Random(seed).gauss(0.0, 1.0)
    if value > 3.0:
        raise ArithmeticError(f"seed {seed}: the solver diverged (step size {value:.3f})")
    return value


@bash_app(executors=["laptop"])
def convert(number: int, stderr: object = trellis.AUTO_LOGNAME) -> str:
    return f"echo 'reading mesh {number}' >&2; mesh2vtk --input mesh-{number}.dat --output mesh-{number}.vtk"


@python_app(executors=["laptop"])
def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@python_app(executors=["cluster"])
def render(average: float, frame: int) -> str:
    return f"frame {frame} of {average:.3f}"


def main() -> None:
    config = Config(
        executors=[
            HighThroughputExecutor("laptop", max_workers_per_node=2, provider=LocalProvider(max_blocks=1)),
            HighThroughputExecutor("cluster", provider=SlurmProvider("gpu", walltime="01:00:00", max_blocks=2)),
        ],
        monitoring=MonitoringHub(),
        stall_warning_s=10,
    )
    with trellis.load(config):
        for number in range(3):
            convert(number)
        values = [simulate(seed) for seed in range(STEPS)]
        averages = [mean(values[i : i + 100]) for i in range(0, STEPS, 100)]
        frames = [render(average, frame) for frame, average in enumerate(averages)]
        time.sleep(float(sys.argv[1]) if sys.argv[1:] else 60.0)
        print(f"{sum(frame.done() and frame.exception() is None for frame in frames)} frames are there")


if __name__ == "__main__":
    main()

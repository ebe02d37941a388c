"""Block error handlers of one's own get the executor, and a status by block id, in Parsl's states."""

import json
import time

import parsl
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.executors.status_handling import BlockProviderExecutor
from parsl.jobs.error_handlers import noop_error_handler, simple_error_handler, windowed_error_handler
from parsl.jobs.states import TERMINAL_STATES, JobState, JobStatus
from parsl.providers import LocalProvider

EXPECTED = {
    "works": [[["RUNNING"]], False, None],
    "ends at once": [[["RUNNING"], ["MISSING"]], True, 0],
    "fails": [[["RUNNING"], ["MISSING"]], True, 3],
    "refused": [[["MISSING"]], True, None],
    "cancelled behind its back": [[["RUNNING"], ["CANCELLED"]], True, "any"],
    "scaled in": [[["RUNNING"], ["SCALED_IN"]], True, "any"],
    "given up": ["BadStateException", True, "RuntimeError: enough of 0"],
    "set later": "called",
    "our own": [
        ["simple_error_handler", "noop_error_handler"],
        {"simple": [False, True], "noop": [False, False], "windowed": [False, True]},
    ],
    "status": ["FAILED", True, "gone", 7, "0123456789", [2053, 2], None, "JobState.FAILED"],
    "terminal": ["CANCELLED", "COMPLETED", "FAILED", "MISSING", "SCALED_IN", "TIMEOUT"],
}


def wait_for(condition):
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


class Often(LocalProvider):
    @property
    def status_polling_interval(self):
        return 0.2


class Refusing(Often):
    def submit(self, *args, **kwargs):
        raise RuntimeError("no more blocks")


@parsl.python_app
def one():
    return 1


def words(error):
    return f"{type(error).__name__}: {error}"


def executor_of(handler, provider, **settings):
    return HighThroughputExecutor(
        label="htex",
        address="127.0.0.1",
        encrypted=False,
        max_workers_per_node=1,
        worker_port_range=(20000, 32000),
        provider=provider,
        block_error_handler=handler,
        **settings,
    )


def load(executor):
    return parsl.load(Config(executors=[executor], strategy="none", strategy_period=0.2, run_dir="runs"))


def seen_by_handler(until, launch_cmd=None, provider=Often, exit_code="same"):
    """States of a block that a handler is told of, in their order; whether the last is an end, and its exit code."""
    seen, last = [], {}

    def handler(executor, status):
        assert isinstance(executor, BlockProviderExecutor)
        assert isinstance(status, dict)
        states = [job.state.name for job in status.values()]
        last.update(status)
        if states and (not seen or seen[-1] != states):
            seen.append(states)

    executor = executor_of(handler, provider(init_blocks=1, max_blocks=1), launch_cmd=launch_cmd)
    with load(executor):
        until(executor, seen)
    parsl.clear()
    return [seen, last["0"].terminal, last["0"].exit_code if exit_code == "same" else exit_code]


def begins(executor, seen):
    one().result()
    wait_for(lambda: seen)


def ends(executor, seen):
    wait_for(lambda: seen and seen[-1][0] not in ("PENDING", "RUNNING"))


def is_cancelled(executor, seen):
    begins(executor, seen)
    executor.provider.cancel(list(executor.blocks_to_job_id.values()))
    ends(executor, seen)


def is_scaled_in(executor, seen):
    begins(executor, seen)
    executor.scale_in_facade(1)
    ends(executor, seen)


def given_up():
    """A handler may give the executor up."""

    def handler(executor, status):
        for block, job in status.items():
            if job.state is JobState.RUNNING:
                executor.set_bad_state_and_fail_all(RuntimeError(f"enough of {block}"))

    executor = executor_of(handler, Often(init_blocks=1, max_blocks=1), launch_cmd="sleep 60")
    with load(executor):
        error = one().exception()
    parsl.clear()
    return [type(error).__name__, executor.bad_state_is_set, words(executor.executor_exception)]


def set_later():
    """A handler that is set after the executor was made is the one that is called."""
    called = []
    executor = executor_of(False, Often(init_blocks=1, max_blocks=1))
    executor.block_error_handler = lambda executor, status: called.append(status)
    with load(executor):
        wait_for(lambda: called)
    parsl.clear()
    return "called"


class Judged:
    """What handlers need of an executor."""

    def __init__(self):
        self.provider = LocalProvider(init_blocks=2, max_blocks=2)
        self.bad = False

    def set_bad_state_and_fail_all(self, exception):
        self.bad = True


def judges(handler):
    """Whether it gives up for one failure after a success, and for three failures."""
    verdicts = []
    for states in ([JobState.COMPLETED, JobState.FAILED], [JobState.FAILED, JobState.MISSING, JobState.FAILED]):
        executor = Judged()
        handler(executor, {str(number): JobStatus(state) for number, state in enumerate(states)})
        verdicts.append(executor.bad)
    return verdicts


def status_of_a_job():
    with open("short", "w") as short, open("long", "w") as long:
        short.write("0123456789")
        long.write("x" * 5000)
    job = JobStatus(JobState.FAILED, message="gone", exit_code=7, stdout_path="short", stderr_path="long")
    nothing = JobStatus(JobState.FAILED).stdout_summary
    long_one = [len(job.stderr_summary), job.stderr_summary.count("\n")]
    summaries = [job.stdout_summary, long_one, nothing]
    return [job.status_name, job.terminal, job.message, job.exit_code, *summaries, str(job.state)]


def main():
    said = {
        "works": seen_by_handler(begins),
        "ends at once": seen_by_handler(ends, "true; sleep 0.5"),
        "fails": seen_by_handler(ends, "sleep 0.5; exit 3"),
        "refused": seen_by_handler(ends, provider=Refusing),
        "cancelled behind its back": seen_by_handler(is_cancelled, exit_code="any"),
        "scaled in": seen_by_handler(is_scaled_in, exit_code="any"),
        "given up": given_up(),
        "set later": set_later(),
        "our own": [
            [executor_of(choice, LocalProvider()).block_error_handler.__name__ for choice in (True, False)],
            {
                "simple": judges(simple_error_handler),
                "noop": judges(noop_error_handler),
                "windowed": judges(windowed_error_handler),
            },
        ],
        "status": status_of_a_job(),
        "terminal": sorted(state.name for state in TERMINAL_STATES),
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()

"""The systems that are compared, each with two workers: how one is opened, closed and given tasks. Measures nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

from benchmarks import taskvine, work
from benchmarks.session import WORKERS, Session, System, results

# -- Trellis -------------------------------------------------------------------------------------------------


@contextmanager
def _trellis(executor: Callable[[Any], Any]) -> Iterator[Session]:
    import trellis

    with trellis.load(trellis.Config(executors=[executor(trellis)])):
        yield Session(
            trellis.python_app,
            run_commands=partial(_run_apps, trellis.bash_app(work.true_command)),
            tells_runs=True,
        )


def _htex(**options: Any) -> Callable[[], AbstractContextManager[Session]]:
    return lambda: _trellis(lambda trellis: trellis.HighThroughputExecutor(max_workers_per_node=WORKERS, **options))


def _threads() -> AbstractContextManager[Session]:
    return _trellis(lambda trellis: trellis.ThreadPoolExecutor(max_threads=WORKERS))


@contextmanager
def _trellis_executor() -> Iterator[Session]:
    import trellis

    with trellis.HighThroughputExecutor(max_workers_per_node=WORKERS) as executor:
        executor.start()
        yield Session(lambda function: partial(executor.submit, function, {}))


# -- peers ---------------------------------------------------------------------------------------------------


@contextmanager
def _parsl(*, tuned: bool) -> Iterator[Session]:
    import parsl
    from parsl.providers import LocalProvider

    executor = parsl.HighThroughputExecutor(
        max_workers_per_node=WORKERS,
        provider=LocalProvider(init_blocks=1, max_blocks=1),
        prefetch_capacity=20 if tuned else 0,
    )
    with parsl.load(parsl.Config(executors=[executor], initialize_logging=not tuned)):
        yield Session(parsl.python_app, run_commands=partial(_run_apps, parsl.bash_app(work.true_command)))


@contextmanager
def _process_pool() -> Iterator[Session]:
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(WORKERS) as pool:
        yield _pool_session(pool)


@contextmanager
def _loky() -> Iterator[Session]:
    from loky import ProcessPoolExecutor

    with ProcessPoolExecutor(WORKERS) as pool:
        yield _pool_session(pool)


@contextmanager
def _executorlib() -> Iterator[Session]:
    from executorlib import SingleNodeExecutor

    # With block_allocation workers live on; without, each task gets a new process.
    with SingleNodeExecutor(max_workers=WORKERS, block_allocation=True, hostname_localhost=True) as pool:
        yield _pool_session(pool)


@contextmanager
def _dask() -> Iterator[Session]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        # Not pure: otherwise equal calls are one task.
        yield Session(
            lambda function: partial(client.submit, function, pure=False), lambda futures: list(client.gather(futures))
        )


@contextmanager
def _ray() -> Iterator[Session]:
    import ray

    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        yield Session(
            lambda function: ray.remote(function).remote,
            lambda references: list(ray.get(list(references))),
        )
    finally:
        ray.shutdown()


@contextmanager
def _spawn_loop() -> Iterator[Session]:
    """No system at all: two processes that do nothing but run commands."""
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(WORKERS) as pool:

        def run_commands(count: int) -> None:
            share = -(-count // WORKERS)
            results([pool.submit(work.spawn_true, min(share, count - i)) for i in range(0, count, share)])

        yield Session(lambda function: partial(pool.submit, function), run_commands=run_commands)


def _pool_session(pool: Any) -> Session:
    return Session(lambda function: partial(pool.submit, function))


def _run_apps(app: Callable[[], Any], count: int) -> None:
    results([app() for _ in range(count)])


SYSTEMS = {
    "trellis": System("Trellis", "trellis", _htex()),
    "trellis-executor": System("Trellis, no kernel", "trellis", _trellis_executor),
    "trellis-prefetch": System("Trellis, prefetch 20", "trellis", _htex(prefetch_capacity=20)),
    "trellis-plain": System("Trellis, not encrypted", "trellis", _htex(encrypted=False)),
    "trellis-threads": System("Trellis, threads", "trellis", _threads, 0.5),
    **{
        f"vine-{mode}": System(f"Trellis, TaskVine {mode}", "trellis", taskvine.opener(mode), start_s)
        for mode, start_s in (("regular", 6.0), ("fork", 2.0), ("direct", 2.0))
    },
    "parsl": System("Parsl", "parsl", partial(_parsl, tuned=False), 9.0),
    "parsl-tuned": System("Parsl, tuned", "parsl", partial(_parsl, tuned=True), 9.0),
    "processpool": System("ProcessPoolExecutor", "concurrent.futures", _process_pool, 0.5),
    "loky": System("loky", "loky", _loky),
    "executorlib": System("executorlib", "executorlib", _executorlib, 2.0),
    "dask": System("Dask", "distributed", _dask, 4.0),
    "ray": System("Ray", "ray", _ray, 7.0),
    "taskvine": System("TaskVine itself", "trellis", _spawn_loop, on_taskvine="native"),
    "taskvine-trellis": System("Trellis on TaskVine", "trellis", _spawn_loop, on_taskvine="ndcctools"),
    "taskvine-parsl": System("Parsl on TaskVine", "trellis", _spawn_loop, on_taskvine="parsl"),
    "spawn-loop": System("posix_spawn loop", "concurrent.futures", _spawn_loop, 0.5),
}

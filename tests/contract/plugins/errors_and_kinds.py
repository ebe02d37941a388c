"""What is refused, by which errors; what apps are; how failures name what has failed."""

import json
import os
import warnings
from concurrent.futures import Future

import parsl
from parsl import bash_app, join_app, python_app
from parsl.app.bash import BashApp
from parsl.app.errors import BadStdStreamFile
from parsl.app.python import PythonApp
from parsl.config import Config
from parsl.dataflow.errors import DependencyError
from parsl.errors import ConfigurationError
from parsl.executors import HighThroughputExecutor, MPIExecutor
from parsl.executors.threads import ThreadPoolExecutor
from parsl.launchers import SimpleLauncher
from parsl.providers import LocalProvider

EXPECTED = {
    "mpi_launcher": ["ValueError", "ValueError", "refused", "refused"],
    "mpi provider": "TypeError",
    "usage_tracking": ["refused", "refused", "refused", "ConfigurationError", "ConfigurationError", 0, 3],
    "provider": ["refused", "refused", "refused"],
    "any port": [[0, 0], [0, 0]],
    "kinds": [True, True, True, False, False],
    "their functions": ["joined", "value", "command"],
    "streams": ["refused", "refused", "BadStdStreamFile", 0, 0],
    "where output went": [["f", "w"], "name", True],
    "dependency": ["DependencyError", 1, "ValueError", True, True],
    "join": ["JoinError", True],
}


@join_app
def joined():
    return value(Future())


@python_app
def value(x, inputs=()):
    return x


@python_app
def failing():
    raise ValueError("no")


@join_app
def joined_failure():
    return failing()


@bash_app
def command(stdout=None, stderr=None):
    return "echo hello"


def error_of(call, *kinds):
    """The first of these kinds that the error is, or that it was refused; else what it gives."""
    try:
        return call()
    except Exception as error:
        return next((kind.__name__ for kind in kinds if isinstance(error, kind)), "refused")


def mpi(launcher):
    provider = LocalProvider(launcher=SimpleLauncher())
    return error_of(lambda: MPIExecutor(mpi_launcher=launcher, provider=provider), ValueError)


def usage(level, *kinds):
    return error_of(lambda: Config(executors=[ThreadPoolExecutor()], usage_tracking=level).usage_tracking, *kinds)


def failed(name):
    future = Future()
    future.set_exception(ValueError(name))
    return future


def stream(given, *kinds):
    return error_of(lambda: command(stdout=given).result(30), *kinds)


def refusals(outcome):
    outcome["mpi_launcher"] = [mpi("nope"), mpi(""), mpi(None), mpi(3)]
    outcome["mpi provider"] = error_of(lambda: MPIExecutor(provider=LocalProvider()), TypeError)
    outcome["usage_tracking"] = [usage("abcd"), usage(None), usage([])]  # other errors than Parsl's, but errors
    outcome["usage_tracking"] += [usage(-1, ConfigurationError), usage(4, ConfigurationError), usage(0)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome["usage_tracking"].append(usage(3))
    providers = ("slurm", LocalProvider, {})
    outcome["provider"] = [error_of(lambda p=p: HighThroughputExecutor(provider=p) and "taken") for p in providers]
    made = HighThroughputExecutor(worker_port_range=(0, 0), interchange_port_range=(0, 0))
    outcome["any port"] = [list(made.worker_port_range), list(made.interchange_port_range)]


def failures(outcome):
    good = Future()
    good.set_result(1)
    bad = failed("plain")
    error = value(good, inputs=[bad]).exception(30)
    assert isinstance(error, DependencyError)
    (cause, named), *others = error.dependent_exceptions_tids
    outcome["dependency"] = [type(error).__name__, 1 + len(others), type(cause).__name__]
    outcome["dependency"] += [repr(bad) in named, repr(bad) in str(error)]
    error = joined_failure().exception(30)
    outcome["join"] = [type(error).__name__, "failing" in str(error) or "task" in str(error)]


def main():
    outcome = {}
    refusals(outcome)
    outcome["kinds"] = [isinstance(joined, PythonApp), isinstance(value, PythonApp), isinstance(command, BashApp)]
    outcome["kinds"] += [isinstance(command, PythonApp), isinstance(value, BashApp)]
    outcome["their functions"] = [app.func.__name__ for app in (joined, value, command)]
    with parsl.load(Config(executors=[ThreadPoolExecutor()], strategy="none", run_dir="runs")):
        outcome["streams"] = [stream(("f", None)), stream(3), stream(("f", "zz"), BadStdStreamFile)]
        outcome["streams"] += [stream(("f", "w")), stream("name")]
        pair, name, auto = (command(stdout=given) for given in (("f", "w"), "name", parsl.AUTO_LOGNAME))
        for future in (pair, name, auto):
            future.result(30)
        outcome["where output went"] = [list(pair.stdout), name.stdout, os.path.exists(auto.stdout)]
        failures(outcome)
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()

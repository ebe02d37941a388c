"""Dependency resolvers: which arguments they see, and that they decide what becomes of failed futures."""

import json

import parsl
from parsl import python_app
from parsl.config import Config
from parsl.dataflow.dependency_resolvers import DEEP_DEPENDENCY_RESOLVER, DependencyResolver
from parsl.dataflow.errors import DependencyError
from parsl.executors.threads import ThreadPoolExecutor

EXPECTED = {
    "boxes": [["boxed 3"], ["boxed 4", 5], {"z": "boxed 6"}],
    "by name": ["result of one", "other"],
    "failed as values": ["ValueError: no", 3],
    "failed": ["DependencyError", "dep_fail"],
    "built upon Parsl's": [[1, 2], "boxed 3"],
    "raises": ["ZeroDivisionError", "KeyError"],
}


class Box:
    def __init__(self, future):
        self.future = future


@python_app
def value(x):
    return x


@python_app
def fail(text):
    raise ValueError(text)


@python_app
def given(*args, inputs=(), **kwargs):
    return [list(args), list(inputs), kwargs]


def kernel(gather, unwrap):
    resolver = DependencyResolver(traverse_to_gather=gather, traverse_to_unwrap=unwrap)
    config = Config(executors=[ThreadPoolExecutor()], dependency_resolver=resolver, strategy="none", run_dir="runs")
    return parsl.load(config)


def boxes(outcome):
    def gather(argument):
        if isinstance(argument, Box):
            return [argument.future]
        return DEEP_DEPENDENCY_RESOLVER.traverse_to_gather(argument)

    def unwrap(argument):
        if isinstance(argument, Box):
            return f"boxed {argument.future.result()}"
        return DEEP_DEPENDENCY_RESOLVER.traverse_to_unwrap(argument)

    with kernel(gather, unwrap):
        call = given(Box(value(3)), inputs=[Box(value(4)), value(5)], z=Box(value(6)))
        outcome["boxes"] = call.result(30)
        outcome["built upon Parsl's"] = given([value(1), value(2)], Box(value(3))).result(30)[0]
        failed = given(Box(fail("no")))
        error = failed.exception(30)
        assert isinstance(error, DependencyError)
        outcome["failed"] = [type(error).__name__, failed.task_record["status"].name]


def by_name(outcome):
    futures = {}

    def gather(argument):
        return [futures[argument]] if isinstance(argument, str) and argument in futures else []

    def unwrap(argument):
        return futures[argument].result() if gather(argument) else argument

    with kernel(gather, unwrap):
        futures["one"] = value("result of one")
        outcome["by name"] = given("one", "other").result(30)[0]


def as_values(outcome):
    def gather(argument):
        return [argument] if hasattr(argument, "add_done_callback") else []

    def unwrap(argument):
        if not gather(argument):
            return argument
        error = argument.exception()
        return argument.result() if error is None else f"{type(error).__name__}: {error}"

    with kernel(gather, unwrap):
        outcome["failed as values"] = given(fail("no"), value(3)).result(30)[0]


def raising(outcome):
    def name_of_error(call):
        try:
            error = call().exception(30)
        except Exception as raised:
            error = raised
        # Parsl takes what unwrapping raises for the failure of a dependency.
        while isinstance(error, DependencyError):
            error = error.dependent_exceptions_tids[0][0]
        return type(error).__name__

    def never(argument):
        raise KeyError("never")

    with kernel(lambda argument: 1 / 0, lambda argument: argument):
        first = name_of_error(lambda: given(3))
    with kernel(lambda argument: [argument] if hasattr(argument, "add_done_callback") else [], never):
        second = name_of_error(lambda: given(done()))
    outcome["raises"] = [first, second]


def done():
    from concurrent.futures import Future

    future = Future()
    future.set_result(3)
    return future


def main():
    outcome = {}
    boxes(outcome)
    by_name(outcome)
    as_values(outcome)
    raising(outcome)
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trellis.config import Config
from trellis.dataflow.memoization import BasicMemoizer
from trellis.errors import ConfigurationError, ParameterTypeError
from trellis.executors.threads import ThreadPoolExecutor


def test_the_default_is_two_threads_of_its_own() -> None:
    first, second = Config(), Config()
    (executor,) = first.executors
    assert isinstance(executor, ThreadPoolExecutor)
    assert (executor.label, executor.max_threads) == ("threads", 2)
    assert second.executors[0] is not executor


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"executors": 3}, "executors must be a list of executors, not int"),
        ({"executors": ThreadPoolExecutor()}, "write executors="),
        ({"executors": ["threads"]}, "not their labels: write for example .*label='threads'"),
        ({"app_cache": 1}, "app_cache must be True or False"),
        ({"checkpoint_files": "dir"}, "checkpoint_files must be a list of paths or None, not .dir"),
        ({"checkpoint_period": 3}, "checkpoint_period must be HH:MM:SS .*, or None, not 3"),
        ({"memoizer": 3}, "memoizer must be a Memoizer or None"),
        ({"dependency_resolver": "deep"}, "dependency_resolver must be"),
        ({"garbage_collect": 0}, "garbage_collect must be True or False"),
        ({"internal_tasks_max_threads": 1.5}, "internal_tasks_max_threads must be a whole number"),
        ({"retries": "3"}, "retries must be a number of at least 0"),
        ({"infrastructure_retries": 1.5}, "infrastructure_retries must be a whole number of at least 0 or None"),
        ({"retry_handler": 3}, "retry_handler must be a callable or None"),
        ({"run_dir": 3}, "run_dir must be a path"),
        ({"std_autopath": "x"}, "std_autopath must be a callable or None"),
        ({"lost_block_timeout": "1"}, "lost_block_timeout must be a number above 0"),
        ({"strategy_period": "5"}, "strategy_period must be a number above 0"),
        ({"max_idletime": None}, "max_idletime must be a number of at least 0"),
        ({"project_name": 3}, "project_name must be a text or None"),
        ({"initialize_logging": "yes"}, "initialize_logging must be True or False .*, or an object"),
    ],
)
def test_wrong_types_are_named_at_once(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterTypeError, match=message):
        Config(**kwargs)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"executors": [ThreadPoolExecutor("a"), ThreadPoolExecutor("a")]}, "a is used twice"),
        ({"checkpoint_mode": "sometimes"}, "checkpoint_mode must be one of"),
        ({"checkpoint_mode": "periodic", "checkpoint_period": "soon"}, "checkpoint_period"),
        ({"exit_mode": "stay"}, "exit_mode must be one of 'cleanup', 'skip', 'wait'"),
        ({"internal_tasks_max_threads": 0}, "at least 1"),
        ({"retries": -1}, "at least 0"),
        ({"lost_block_timeout": "1"}, "lost_block_timeout must be a number above 0"),
        ({"infrastructure_retries": -1}, "infrastructure_retries must be a whole number of at least 0"),
        ({"strategy": "clever"}, "strategy must be one of"),
        ({"usage_tracking": 4}, "usage_tracking must be .* a whole number of at least 0 and at most 3, not 4"),
        ({"memoizer": BasicMemoizer(), "app_cache": False}, "give either memoizer"),
        ({"memoizer": BasicMemoizer(), "checkpoint_mode": "manual"}, "give either memoizer"),
    ],
)
def test_impossible_values_are_named_at_once(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        Config(**kwargs)


def test_monitoring_must_be_a_hub() -> None:
    with pytest.raises(ParameterTypeError, match="Config: monitoring must be MonitoringHub or None"):
        Config(monitoring=object())  # type: ignore[arg-type]


def test_usage_tracking_sends_nothing_and_says_so() -> None:
    with pytest.warns(UserWarning, match="never sends usage data"):
        assert Config(usage_tracking=True).usage_tracking == 1


def test_strategy_none_has_a_new_spelling() -> None:
    with pytest.warns(DeprecationWarning, match="strategy='none'"):
        assert Config(strategy=None).strategy == "none"


def test_the_memoizer_is_made_as_the_parameters_say() -> None:
    config = Config(app_cache=False, checkpoint_mode="periodic", checkpoint_period="00:01:00", checkpoint_files=["c"])
    memoizer = config.make_memoizer()
    assert isinstance(memoizer, BasicMemoizer)
    assert (memoizer.memoize, memoizer.checkpoint_mode, memoizer.checkpoint_period, memoizer.checkpoint_files) == (
        False,
        "periodic",
        "00:01:00",
        ["c"],
    )
    assert config.make_memoizer() is not memoizer


def test_a_memoizer_of_the_user_is_taken() -> None:
    memoizer = BasicMemoizer()
    assert Config(memoizer=memoizer).make_memoizer() is memoizer


def test_making_a_config_opens_nothing(tmp_path: Path) -> None:
    Config(run_dir=str(tmp_path / "runs"), checkpoint_mode="task_exit")
    assert list(tmp_path.iterdir()) == []


def test_the_log_is_a_file_in_the_run_directory(tmp_path: Path) -> None:
    stop = Config().start_logging(str(tmp_path))
    logging.getLogger("trellis.x").info("for the file")
    logging.getLogger("trellis.x").debug("for nobody")
    stop()
    text = (tmp_path / "trellis.log").read_text()
    assert "for the file" in text
    assert "for nobody" not in text


def test_no_log_is_written_when_it_is_switched_off(tmp_path: Path) -> None:
    Config(initialize_logging=False).start_logging(str(tmp_path))()
    assert list(tmp_path.iterdir()) == []


def test_a_log_of_the_users_own(tmp_path: Path) -> None:
    calls: list[Any] = []

    class OwnLog:
        def initialize_logging(self, *, log_dir: Path, log_name: str) -> Callable[[], None]:
            calls.append((log_dir, log_name))
            return lambda: calls.append("undone")

    Config(initialize_logging=OwnLog()).start_logging(str(tmp_path))()
    assert calls == [(tmp_path, "parsl"), "undone"]


def test_labels_in_place_of_executors_are_told_what_to_write() -> None:
    with pytest.raises(ParameterTypeError, match=r"not their labels: write for example .*\(label='htex'\)"):
        Config(executors=["htex"])

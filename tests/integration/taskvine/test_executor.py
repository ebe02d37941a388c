"""TaskVineExecutor with the embedded engine: what each parameter and field does to real processes."""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

import trellis
from trellis import Config
from trellis.core.interfaces import ExecutorContext
from trellis.errors import (
    BadStateException,
    ConfigurationError,
    ExecutorError,
    SerializationError,
    TaskVineFactoryFailure,
    TaskVineManagerFailure,
    TaskVineTaskFailure,
)
from trellis.executors.taskvine import (
    Library,
    TaskVineExecutor,
    TaskVineFactoryConfig,
    TaskVineFile,
    TaskVineManagerConfig,
    load_variable_from_library,
)
from trellis.executors.taskvine.embedded.factory.state import LOOK_S
from trellis.executors.taskvine.manager_config import DEFAULT_PORT
from trellis.executors.taskvine.projects import DIRECTORY_VARIABLE, find, projects
from trellis.providers import LocalProvider
from trellis.staging.base import Staging
from trellis.staging.files import File

WAIT_S = 30


class Messages:
    """What the user was told."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, text: str) -> None:
        self.texts.append(text)


Start = Callable[..., TaskVineExecutor]


@pytest.fixture
def told() -> Messages:
    return Messages()


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Messages) -> Iterator[Start]:
    """Start executors: ``manager`` and ``factory`` are fields of the configurations, the rest parameters."""
    monkeypatch.chdir(tmp_path)
    started: list[TaskVineExecutor] = []

    def start(
        manager: dict[str, Any] | None = None, factory: dict[str, Any] | None = None, **parameters: Any
    ) -> TaskVineExecutor:
        parameters.setdefault("label", f"vine{len(started)}")
        executor = TaskVineExecutor(
            engine="embedded",
            manager_config=TaskVineManagerConfig(**{"port": 0, **(manager or {})}),
            factory_config=TaskVineFactoryConfig(**{"cores": 2, **(factory or {})}),
            **parameters,
        )
        started.append(executor)
        executor.start(ExecutorContext(run_dir=str(tmp_path / "run"), notify=told))
        return executor

    yield start
    for executor in started:
        executor.shutdown()


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ask(executor: TaskVineExecutor, function: Callable[..., Any], *args: Any, **wish: Any) -> Any:
    return executor.submit(function, wish, *args).result(WAIT_S)


def children(name: str) -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if " ".join(process.cmdline()).startswith(f"trellis: {name}"):
                found.append(process)
        except psutil.Error:
            continue
    return found


def add_worker(executor: TaskVineExecutor, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*shlex.split(executor.worker_command), *options])


def end_worker(worker: subprocess.Popen[bytes]) -> None:
    worker.terminate()
    worker.wait(WAIT_S)


# -- parameters ----------------------------------------------------------------------------------------------------


def test_label_is_the_directory_of_logs(start: Start, tmp_path: Path) -> None:
    start(label="somewhere")
    assert (tmp_path / "run" / "somewhere" / "manager.log").exists()


def test_worker_launch_method_factory(start: Start) -> None:
    executor = start(worker_launch_method="factory")
    assert ask(executor, abs, -1) == 1
    assert len(children("vine factory")) == 1


def test_worker_launch_method_manual(start: Start, told: Messages) -> None:
    executor = start(worker_launch_method="manual")
    assert executor.worker_command in told.texts[0]
    future = executor.submit(abs, {}, -1)
    worker = add_worker(executor)
    assert future.result(WAIT_S) == 1
    assert children("vine factory") == []
    end_worker(worker)


def test_worker_launch_method_provider(start: Start) -> None:
    provider = LocalProvider(init_blocks=1, max_blocks=1, worker_init="export OF_THE_PROVIDER=yes")
    executor = start(worker_launch_method="provider", provider=provider)
    assert ask(executor, os.getenv, "PARSL_WORKER_BLOCK_ID") == "0"
    assert ask(executor, os.getenv, "OF_THE_PROVIDER") == "yes"
    status = executor.vine_status()
    assert status is not None
    assert [worker.block for worker in status.workers] == ["0"]
    assert list(executor.status()) == ["0"]
    load = executor.load()
    assert load.blocks["0"].managers == 1


class TimedProvider(LocalProvider):
    """Its jobs end after a while, as those of a batch system."""

    walltime_s = 3600


def test_the_end_of_a_block_is_known(start: Start) -> None:
    provider = TimedProvider(init_blocks=1, max_blocks=1)
    executor = start(worker_launch_method="provider", provider=provider)
    late = executor.submit(abs, {"cores": 1, "running_time_min": 4000}, -2)
    assert ask(executor, abs, -1, cores=1, running_time_min=3000) == 1
    assert not late.done()


def test_a_block_that_is_scaled_in_ends(start: Start) -> None:
    executor = start(worker_launch_method="provider", provider=LocalProvider(init_blocks=1, max_blocks=1))
    assert ask(executor, abs, -1) == 1
    assert executor.scale_in(1) == ["0"]
    until(lambda: executor.connected_workers == 0)


def test_function_exec_mode(start: Start) -> None:
    executor = start(function_exec_mode="serverless", manager={"library_config": {"exec_mode": "direct", "cores": 1}})
    pids = {ask(executor, os.getpid) for _ in range(3)}
    assert len(pids) == 1
    assert ask(executor, os.getpid, exec_mode="regular", cores=1) not in pids


def _load(word: str) -> dict[str, str]:
    return {"word": word}


def _word() -> str:
    return str(load_variable_from_library("word"))


def test_libraries(start: Start) -> None:
    libraries = [Library(word, context=_load, args=(word,), cores=1, num_slots=1) for word in ("red", "green")]
    executor = start(libraries=libraries)
    assert [ask(executor, _word, library=word) for word in ("green", "red")] == ["green", "red"]


class FromMemory(Staging):
    """Brings files of the scheme ``mem``: their content is their path."""

    def can_stage_in(self, file: File) -> bool:
        return file.scheme == "mem"

    def stage_in(self, dm: Any, executor: str, file: File, parent_fut: Any) -> None:
        file.local_path = os.path.abspath(file.filename)
        Path(file.local_path).write_text(file.path)


def _read(inputs: Sequence[File] = ()) -> str:
    return Path(inputs[0].filepath).read_text()


def test_storage_access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    executor = TaskVineExecutor(
        engine="embedded",
        storage_access=[FromMemory(), *TaskVineExecutor().storage_access],
        manager_config=TaskVineManagerConfig(port=0),
    )
    with trellis.load(Config(executors=[executor], run_dir="runs", initialize_logging=False)):
        assert trellis.python_app(_read)(inputs=[File("mem://x/some/text")]).result(WAIT_S) == "/some/text"


def test_storage_access_is_taskvines_own_where_nothing_is_said() -> None:
    schemes = ("http", "https", "ftp", "taskvinetemp")
    default = TaskVineExecutor().storage_access
    for scheme in schemes:
        file = File(f"{scheme}://host/file")
        assert type(next(one for one in default if one.can_stage_in(file))).__name__ == "TaskVineStaging"


def test_engine(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    start()
    assert "uses the embedded engine of TaskVine: it was asked for" in caplog.text


# -- how the manager is reached --------------------------------------------------------------------------------------


def worker_port(executor: TaskVineExecutor) -> int:
    return int(shlex.split(executor.worker_command)[5])


def test_port(start: Start) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    executor = start({"port": port})
    assert worker_port(executor) == port
    with pytest.raises(ExecutorError, match=str(port)):
        start({"port": port})


def test_two_executors_with_the_default_port(start: Start) -> None:
    first, second = start({"port": DEFAULT_PORT}), start({"port": DEFAULT_PORT})
    assert worker_port(first) != worker_port(second)
    assert ask(first, abs, -1) == ask(second, abs, -1) == 1


def test_address(start: Start) -> None:
    executor = start({"address": "127.0.0.1"}, worker_launch_method="manual")
    assert shlex.split(executor.worker_command)[4] == "127.0.0.1"


@pytest.mark.parametrize("address", [None, "127.0.0.2"])
def test_only_the_address_of_the_manager_is_listened_at(start: Start, address: str | None) -> None:
    executor = start({"address": address}, {"min_workers": 2, "max_workers": 2})
    assert ask(executor, abs, -1) == 1
    listening = set()
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        with contextlib.suppress(psutil.Error):
            listening |= {c.laddr.ip for c in process.net_connections() if c.status == psutil.CONN_LISTEN}
    # The submit side's own port is always at 127.0.0.1.
    assert {found.removeprefix("::ffff:") for found in listening} == {"127.0.0.1", address or "127.0.0.1"}


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"shape": "odd"}, TaskVineTaskFailure),
        ({"shape": 10**6}, TaskVineTaskFailure),
        ({"shape": object()}, SerializationError),
    ],
    ids=["of a wrong type", "not known", "that cannot be sent"],
)
def test_a_task_that_makes_no_sense_fails_alone(
    start: Start, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], kind: type[Exception]
) -> None:
    executor = start()
    task_of, count = executor._calls.task_of, itertools.count()
    monkeypatch.setattr(
        executor._calls,
        "task_of",
        lambda attempt: task_of(attempt)._replace(**(changes if next(count) == 5 else {})),
    )
    futures = [executor.submit(abs, {}, -n) for n in range(12)]
    with pytest.raises(kind, match=r"refused|what is said of a task"):
        futures[5].result(WAIT_S)
    assert [future.result(WAIT_S) for n, future in enumerate(futures) if n != 5] == [n for n in range(12) if n != 5]


def test_project_name(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path / "projects"))
    executor = start({"project_name": "search"})
    assert find("search").port == worker_port(executor)
    assert ask(executor, abs, -1) == 1
    executor.shutdown()
    assert projects() == []


def test_project_password_file(start: Start, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("open sesame")
    password.chmod(0o600)
    executor = start({"project_password_file": str(password)})
    assert str(password) in executor.worker_command
    assert ask(executor, abs, -1) == 1


def test_a_worker_with_another_password_is_not_let_in(start: Start, tmp_path: Path) -> None:
    executor = start(worker_launch_method="manual")
    (tmp_path / "wrong").write_text("open barley")
    words = shlex.split(executor.worker_command)
    words[words.index("--password-file") + 1] = str(tmp_path / "wrong")
    done = subprocess.run([*words, "--connect-timeout", "1"], capture_output=True, text=True, timeout=WAIT_S)
    assert done.returncode != 0
    assert executor.connected_workers == 0


def test_a_password_file_that_cannot_be_read(start: Start) -> None:
    with pytest.raises(ConfigurationError, match="project_password_file"):
        start({"project_password_file": "/no/such/file"})


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_password_file_that_others_can_read(start: Start, tmp_path: Path, mode: int) -> None:
    password = tmp_path / "password"
    password.write_text("open sesame")
    password.chmod(mode)
    with pytest.raises(ConfigurationError, match=f"project_password_file: .*read by others .mode {mode:04o}.*chmod"):
        start({"project_password_file": str(password)})


@pytest.mark.parametrize(
    ("password", "weakness"), [("hunter2", "7 characters"), ("0123" * 8, "4 different"), ("d3b07384d113edec", None)]
)
def test_a_password_that_can_be_guessed(
    start: Start, tmp_path: Path, password: str, weakness: str | None, told: Messages
) -> None:
    file = tmp_path / "password"
    file.write_text(password + "\n")
    file.chmod(0o600)
    start({"project_password_file": str(file)})
    said = [text for text in told.texts if "easily guessed" in text]
    assert [weakness in text for text in said] == ([] if weakness is None else [True])
    assert not any(password in text for text in said)


def test_passwords_are_for_the_user_alone(start: Start, tmp_path: Path) -> None:
    start(label="vine", worker_launch_method="manual")
    assert (tmp_path / "run" / "vine" / "password").stat().st_mode & 0o077 == 0


def test_vine_log_dir(start: Start, tmp_path: Path) -> None:
    start({"vine_log_dir": str(tmp_path / "logs")}, label="vine")
    assert (tmp_path / "logs" / "vine" / "manager.log").exists()


# -- what tasks have -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["regular", "serverless"])
def test_env_vars(start: Start, mode: str) -> None:
    executor = start({"env_vars": {"COLOUR": "green"}}, function_exec_mode=mode)
    assert ask(executor, os.getenv, "COLOUR") == "green"


@pytest.mark.parametrize("mode", ["regular", "serverless"])
def test_init_command(start: Start, mode: str) -> None:
    executor = start({"init_command": "export COLOUR=red &&"}, function_exec_mode=mode)
    assert ask(executor, os.getenv, "COLOUR") == "red"


def _prefix() -> str:
    return sys.prefix


@pytest.mark.parametrize("mode", ["regular", "serverless"])
def test_env_pack(start: Start, tmp_path: Path, mode: str) -> None:
    # An interpreter that tells where it was unpacked, and is ours otherwise.
    environment = tmp_path / "environment"
    (environment / "bin").mkdir(parents=True)
    wrapper = environment / "bin" / "python"
    wrapper.write_text(f'#!/bin/sh\nPACKED="$0" exec {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    with tarfile.open(tmp_path / "packed.tar.gz", "w:gz") as archive:
        archive.add(environment / "bin", "bin")
    executor = start({"env_pack": str(tmp_path / "packed.tar.gz")}, function_exec_mode=mode)
    packed = ask(executor, os.getenv, "PACKED")
    assert packed.endswith("/bin/python")
    assert not packed.startswith(str(environment))


def test_app_pack_and_extra_pkgs(start: Start) -> None:
    # Of the user's program: a function of this module would bring all that this module imports.
    program: dict[str, Any] = {"__name__": "__main__"}
    exec("def where(name):\n    return __import__(name).__file__", program)
    executor = start({"app_pack": True, "extra_pkgs": ["iniconfig"]})
    place = ask(executor, program["where"], "iniconfig")
    assert place.startswith("/")
    assert "site-packages" not in place


def test_shared_fs(start: Start, tmp_path: Path) -> None:
    executor = start({"shared_fs": True})
    (tmp_path / "a.txt").write_text("abc")
    place = ask(executor, lambda file: os.path.realpath(file), File("a.txt"))
    assert place == str(tmp_path / "a.txt")
    status = executor.vine_status()
    assert status is not None
    assert (status.sent_by_manager, status.cache_misses) == (0, 0)


def _slots() -> str:
    time.sleep(0.3)
    return f"{os.getppid()}"


def _meet(place: str, number: int, count: int) -> int:
    Path(place, str(number)).touch()
    while len(os.listdir(place)) < count:
        time.sleep(0.02)
    return os.getppid()


def test_library_config(start: Start, tmp_path: Path) -> None:
    resources = {"cores": 2, "memory": 300, "disk": 200, "gpus": 1}
    config = {"num_slots": 3, "exec_mode": "fork", "context_timeout_s": 60, **resources}
    executor = start(
        {"library_config": config}, {"memory": 900, "disk": 900, "gpus": 2}, function_exec_mode="serverless"
    )
    (tmp_path / "place").mkdir()
    calls = [executor.submit(_meet, {}, str(tmp_path / "place"), number, 3) for number in range(3)]
    assert len({call.result(WAIT_S) for call in calls}) == 1  # three at a time, in one library
    (worker,) = executor.vine_status().workers  # type: ignore[union-attr]
    used = worker.used
    assert {"cores": used.cores, "memory": used.memory, "disk": used.disk, "gpus": used.gpus} == resources


def test_a_library_that_needs_too_long_to_start(start: Start) -> None:
    manager = {"library_config": {"context_timeout_s": 1}, "init_command": "sleep 600;"}
    executor = start(manager, function_exec_mode="serverless")
    error = executor.submit(abs, {}, -1).exception(WAIT_S)
    assert isinstance(error, TaskVineTaskFailure)
    assert "its context was not there after 1 s (context_timeout_s)" in str(error)


def _use_disk(marks: str) -> str:
    with open(marks, "a") as file:
        file.write("x")
    with open("large", "wb") as file:
        file.write(b"x" * 60_000_000)
    time.sleep(3)  # so that it is measured
    return Path(marks).read_text()


@pytest.mark.parametrize(("max_retries", "attempts"), [(0, 1), (1, 2)])
def test_max_retries(start: Start, tmp_path: Path, max_retries: int, attempts: int) -> None:
    marks = tmp_path / "marks"
    executor = start({"max_retries": max_retries}, {"cores": 4, "disk": 200})
    future = executor.submit(_use_disk, {"cores": 1}, str(marks))  # a quarter of the worker; then all of it
    if max_retries:
        assert future.result(WAIT_S) == "x" * attempts
    else:
        error = future.exception(WAIT_S)
        assert isinstance(error, TaskVineTaskFailure)
        assert error.result == "sandbox_exhaustion"
    assert marks.read_text() == "x" * attempts


def test_wait_for_workers(start: Start) -> None:
    executor = start({"wait_for_workers": 2}, worker_launch_method="manual")
    future = executor.submit(abs, {}, -1)
    first = add_worker(executor)
    until(lambda: executor.connected_workers == 1)
    assert executor.vine_status().waiting == 1  # type: ignore[union-attr]
    second = add_worker(executor)
    assert future.result(WAIT_S) == 1
    end_worker(first)
    end_worker(second)


def test_tune_parameters(start: Start, told: Messages) -> None:
    executor = start({"tune_parameters": {"wait-for-workers": 1000, "wait-for-godot": 1}})
    assert "wait-for-godot" in told.texts[0]
    until(lambda: executor.connected_workers == 1)
    future = executor.submit(abs, {}, -1)
    assert executor.vine_status().waiting == 1  # type: ignore[union-attr]
    assert future.cancel()


def _share(seconds: float) -> str | None:
    time.sleep(seconds)
    return os.environ.get("CORES")


def test_autolabel(start: Start) -> None:
    fields = {"autolabel": True, "autolabel_algorithm": "max", "autolabel_window": 1}
    executor = start(fields)
    # Long enough to be measured.
    assert ask(executor, _share, 1.5) == "2"  # nothing is known: the whole worker
    shares = [future.result(WAIT_S) for future in [executor.submit(_share, {}, 1.5) for _ in range(2)]]
    assert shares[-1] == "1"


def test_enable_peer_transfers(start: Start, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(os.urandom(500_000))
    executor = start({"enable_peer_transfers": False, "port": 0}, {"max_workers": 2, "min_workers": 2, "cores": 1})
    until(lambda: executor.connected_workers == 2)
    futures = [executor.submit(_size, {"cores": 1}, File("data")) for _ in range(6)]
    assert {future.result(WAIT_S) for future in futures} == {500_000}
    status = executor.vine_status()
    assert status is not None
    assert status.sent_by_workers == 0


@pytest.mark.parametrize(("scheduler", "workers"), [("files", 1), ("rand", 2)])
def test_scheduler(start: Start, tmp_path: Path, scheduler: str, workers: int) -> None:
    (tmp_path / "data").write_bytes(b"x")
    config = {"scheduler": scheduler, "library_config": {"cores": 1, "exec_mode": "direct"}, "port": 0}
    executor = start(config, {"max_workers": 2, "min_workers": 2, "cores": 1})
    until(lambda: executor.connected_workers == 2)
    # One at a time: where the file is, or by chance (the same 20 times: once in half a million runs).
    seen = {executor.submit(_worker_of, {"cores": 1}, File("data")).result(WAIT_S) for _ in range(20)}
    assert len(seen) == workers


def _worker_of(file: Any) -> int:
    return os.getppid()


def _size(file: Any) -> int:
    time.sleep(0.2)
    return os.path.getsize(file)


def test_autocategory(start: Start, tmp_path: Path) -> None:
    executor = start({"autocategory": False}, label="vine")
    ask(executor, _size, TaskVineFile(str(Path(__file__))))
    ask(executor, _size, str(Path(__file__)), category="special")
    (log,) = (tmp_path / "run" / "vine").rglob("transactions*")
    text = log.read_text()
    assert "special" in text
    assert "default" in text
    assert "_size" not in text


# -- workers of a factory --------------------------------------------------------------------------------------------


def test_min_and_max_workers(start: Start) -> None:
    executor = start(factory={"min_workers": 2, "max_workers": 3, "workers_per_cycle": 0, "cores": 1})
    until(lambda: executor.connected_workers == 2)
    futures = [executor.submit(_slots, {}) for _ in range(12)]
    until(lambda: executor.connected_workers == 3)
    for future in futures:
        future.result(WAIT_S)
    assert executor.connected_workers == 3


def test_workers_per_cycle(start: Start, tmp_path: Path) -> None:
    command = tmp_path / "worker"
    command.write_text(f"#!/bin/sh\ntouch {tmp_path}/started.$$\nexec sleep 600\n")  # and never connects
    command.chmod(0o755)
    executor = start(
        factory={"min_workers": 5, "max_workers": 5, "workers_per_cycle": 2, "worker_executable": str(command)}
    )
    until(lambda: len(list(tmp_path.glob("started.*"))) == 2)
    time.sleep(2 * LOOK_S)  # it looks whether more are needed
    assert len(list(tmp_path.glob("started.*"))) == 2
    assert executor.connected_workers == 0


def test_what_workers_offer(start: Start) -> None:
    executor = start(factory={"cores": 3, "memory": 300, "disk": 200, "gpus": 1})
    until(lambda: executor.connected_workers == 1)
    (worker,) = executor.vine_status().workers  # type: ignore[union-attr]
    total = worker.total
    assert (total.cores, total.memory, total.disk, total.gpus) == (3, 300, 200, 1)


def test_workers_offer_their_share_of_a_job_until_its_end(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    job = {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": "n1", "SLURM_CPUS_ON_NODE": "1", "SLURM_MEM_PER_NODE": "1024"}
    for name, value in {**job, "SLURM_JOB_END_TIME": str(int(time.time()) + 3600)}.items():
        monkeypatch.setenv(name, value)
    executor = start(factory={"cores": None})
    late = executor.submit(abs, {"cores": 1, "running_time_min": 4000}, -2)
    assert ask(executor, abs, -1, cores=1, running_time_min=3000) == 1
    assert not late.done()
    (worker,) = executor.vine_status().workers  # type: ignore[union-attr]
    assert (worker.total.cores, worker.total.memory) == (1, 1024)


def test_worker_timeout(start: Start) -> None:
    executor = start(factory={"min_workers": 0, "worker_timeout": 1})
    assert ask(executor, abs, -1) == 1
    until(lambda: executor.connected_workers == 0)
    assert ask(executor, abs, -2) == 2


def test_worker_options(start: Start) -> None:
    executor = start(factory={"worker_options": "--feature fast"})
    other = executor.submit(abs, {"features": ["slow"]}, -2)
    assert ask(executor, abs, -1, features=["fast"]) == 1
    assert not other.done()


def test_scratch_dir(start: Start, tmp_path: Path) -> None:
    executor = start(factory={"scratch_dir": str(tmp_path / "scratch")})
    assert ask(executor, os.getcwd).startswith(str(tmp_path / "scratch"))


def test_worker_executable(start: Start, tmp_path: Path) -> None:
    command = tmp_path / "my-worker"
    module = "trellis.executors.taskvine.embedded.worker.main"
    command.write_text(f'#!/bin/sh\nMINE=yes exec {sys.executable} -P -m {module} "$@"\n')
    command.chmod(0o755)
    executor = start(factory={"worker_executable": str(command)})
    assert ask(executor, os.getenv, "MINE") == "yes"


def test_python_env(start: Start, tmp_path: Path) -> None:
    (tmp_path / "env" / "bin").mkdir(parents=True)
    wrapper = tmp_path / "env" / "bin" / "python"
    wrapper.write_text(f'#!/bin/sh\nMINE=yes exec {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    executor = start(factory={"python_env": str(tmp_path / "env")})
    assert ask(executor, os.getenv, "MINE") == "yes"


def test_workers_that_cannot_start(start: Start) -> None:
    broken = {"worker_options": "--no-such-option", "min_workers": 5, "max_workers": 5, "workers_per_cycle": 5}
    executor = start(factory=broken)
    error = executor.submit(abs, {}, -1).exception(60)
    assert isinstance(error, BadStateException | TaskVineFactoryFailure)
    assert "no-such-option" in str(error)


# -- ends ------------------------------------------------------------------------------------------------------------


def test_a_killed_manager_fails_what_is_outstanding_and_what_comes(start: Start) -> None:
    executor = start()
    futures = [executor.submit(time.sleep, {"cores": 1}, 600) for _ in range(3)]
    until(lambda: executor.vine_status().running >= 1)  # type: ignore[union-attr]
    (manager,) = children("vine manager")
    manager.send_signal(signal.SIGKILL)
    errors = [future.exception(2) for future in futures]
    assert {type(error) for error in errors} == {TaskVineManagerFailure}
    assert "SIGKILL" in str(errors[0])
    assert "manager.log" in str(errors[0])
    with pytest.raises(BadStateException):
        executor.submit(abs, {}, -1)
    assert executor.vine_status() is None
    until(lambda: executor.outstanding == 0)


def test_a_killed_factory_is_replaced_and_its_workers_go_on(start: Start) -> None:
    executor = start()
    assert ask(executor, abs, -1) == 1
    (factory,) = children("vine factory")
    factory.send_signal(signal.SIGKILL)
    until(lambda: [one.pid for one in children("vine factory")] not in ([], [factory.pid]))
    assert ask(executor, abs, -2) == 2


def test_a_factory_that_dies_again_and_again(start: Start) -> None:
    executor = start(factory={"min_workers": 0})

    def killed() -> bool:
        for factory in children("vine factory"):
            with contextlib.suppress(psutil.NoSuchProcess):
                factory.kill()
        return executor.bad_state_is_set

    until(killed)
    assert isinstance(executor.executor_exception, TaskVineFactoryFailure)
    assert "SIGKILL" in str(executor.executor_exception)


def test_nothing_runs_before_the_start_and_after_the_end(start: Start) -> None:
    executor = TaskVineExecutor(engine="embedded")
    assert isinstance(executor.submit(abs, {}, -1).exception(1), ExecutorError)
    executor = start()
    future = executor.submit(time.sleep, {}, 600)
    executor.shutdown()
    executor.shutdown()
    assert isinstance(future.exception(1), ExecutorError)
    assert executor.vine_status() is None
    assert children("vine") == []


def test_an_executor_that_was_ended_starts_again(start: Start) -> None:
    executor = start()
    assert ask(executor, abs, -1) == 1
    executor.shutdown()
    executor.start(ExecutorContext(run_dir=executor.run_dir))
    assert ask(executor, abs, -2) == 2

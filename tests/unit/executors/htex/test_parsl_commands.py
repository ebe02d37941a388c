"""Launch commands that name Parsl's programs start ours."""

from __future__ import annotations

import sys

import pytest

from trellis.executors.high_throughput.process_worker_pool import manager_arguments
from trellis.executors.htex.manager.options import parse_arguments
from trellis.executors.htex.parsl_commands import with_our_interchange, with_our_manager

OURS = "{python} -P -m trellis.executors.high_throughput.process_worker_pool"


@pytest.mark.parametrize(
    ("given", "started"),
    [
        ("process_worker_pool.py -a {addresses}", f"{OURS} -a {{addresses}}"),
        ("export A=1; process_worker_pool.py -d", f"export A=1; {OURS} -d"),
        ("A=1 nice process_worker_pool.py", f"A=1 nice {OURS}"),
        ("docker pull x && process_worker_pool.py", f"docker pull x && {OURS}"),
        # The user means this very program.
        ("/opt/bin/process_worker_pool.py -d", "/opt/bin/process_worker_pool.py -d"),
        ("my-process_worker_pool.py", "my-process_worker_pool.py"),
        ("process_worker_pool.pyc", "process_worker_pool.pyc"),
        # A container has an interpreter of its own, and finds the program on its own PATH.
        ("docker run image process_worker_pool.py -d", "docker run image process_worker_pool.py -d"),
        (
            "cd x; /usr/bin/singularity exec i process_worker_pool.py",
            "cd x; /usr/bin/singularity exec i process_worker_pool.py",
        ),
    ],
)
def test_the_name_of_parsls_program_stands_for_ours(given: str, started: str) -> None:
    assert with_our_manager(given) == started


def test_the_interchange_too() -> None:
    ours = [sys.executable, "-P", "-m", "trellis.executors.htex.interchange.service"]
    assert with_our_interchange(["interchange.py"]) == ours
    assert with_our_interchange(["nice", "interchange.py", "-x"]) == ["nice", *ours, "-x"]
    assert with_our_interchange(("/opt/interchange.py",)) == ["/opt/interchange.py"]


OLDER = (
    "-d --max_workers_per_node=3 -a h1,h2 -p 4 -c 0.5 -m 2 --poll 20 --task_port=5001 --result_port=5002 "
    "--cert_dir /keys --logdir=/logs --block_id=7 --hb_period=10 --address_probe_timeout=9 --hb_threshold=40 "
    "--drain_period=60 --cpu-affinity block --enable_mpi_mode --mpi-launcher=srun --available-accelerators 0 1"
)
NEWER = OLDER.replace("--task_port=5001 --result_port=5002", "--port=5001 --logconf=/conf.pkl --uid me")


def test_parsls_options_mean_ours() -> None:
    ours = parse_arguments(manager_arguments(OLDER.split()))
    assert vars(ours) == {
        "debug": True,
        "addresses": "h1,h2",
        "port": 5001,
        "cert_dir": "/keys",
        "logdir": "/logs",
        "logconf": "None",
        "uid": "",
        "block_id": "7",
        "cores_per_worker": 0.5,
        "mem_per_worker": 2.0,
        "max_workers_per_node": 3.0,
        "prefetch_capacity": 4,
        "hb_period": 10.0,
        "hb_threshold": 40.0,
        "drain_period": 60.0,
        "address_probe_timeout": 9.0,
        "poll_period": 20.0,
        "cpu_affinity": "block",
        "available_accelerators": ["0", "1"],
        "enable_mpi_mode": True,
        "mpi_launcher": "srun",
        "walltime_s": None,
    }
    newer = parse_arguments(manager_arguments(NEWER.split()))
    assert vars(newer) == {**vars(ours), "logconf": "/conf.pkl", "uid": "me"}


def test_what_may_be_left_out() -> None:
    given = ["-a", "h", "--cert_dir", "None", "-P", "1", "--cpu-affinity", "none", "-m", "0"]
    least = parse_arguments(manager_arguments(given))
    assert (least.mem_per_worker, least.drain_period, least.available_accelerators) == (None, None, [])
    assert least.logdir == "process_worker_pool_logs"


@pytest.mark.parametrize("without", ["-a h1,h2", "--cert_dir /keys", "--cpu-affinity block", "--task_port=5001"])
def test_what_may_not(without: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        manager_arguments(OLDER.replace(without, "").split())
    assert "required" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["../up", "a/b", ".", "two words", "é", "x" * 101])
def test_a_managers_name_is_one_of_a_directory(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    ours = manager_arguments([*NEWER.split(), f"--uid={name}"])
    with pytest.raises(SystemExit):
        parse_arguments(ours)
    assert "--uid: it must be at most 100 letters" in capsys.readouterr().err

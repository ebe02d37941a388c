"""A PostgreSQL server and an environment with Parsl's monitoring: ``python -m tests.real.monitoring.bed [arguments]``.

The server listens on the loopback address only and runs as another user. Parsl comes from PyPI into the directory
where ``make test-parsl`` keeps it; when it cannot be had, what compares with it is skipped, and that is said.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.contract.test_plugins import PARSL_RELEASE
from tests.parsl import cache
from tests.real.bed import Bed, BedError, check_machine, free_ports, main, say

# dot draws the graphs of parsl-visualize.
PACKAGES = ("postgresql", "graphviz")
DATABASE_VARIABLE = "TRELLIS_TEST_POSTGRESQL"
PARSL_VARIABLE = "TRELLIS_TEST_PARSL_MONITORING"
_USER = "postgres"


def start(bed: Bed) -> str:
    """Bring a server up; gives the URL of its database."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    owner = pwd.getpwnam(_USER)
    data = bed.directory / "data"
    data.mkdir(mode=0o700)
    os.chown(data, owner.pw_uid, owner.pw_gid)
    as_owner = ("setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups", "--")
    bed.run(*as_owner, str(programs / "initdb"), "-D", str(data), "--auth=trust", "--no-sync", "-U", _USER)
    (port,) = free_ports(1)
    options = ("-c", "listen_addresses=127.0.0.1", "-c", f"port={port}", "-c", "unix_socket_directories=")
    bed.start("postgres", [*as_owner, str(programs / "postgres"), "-D", str(data), *options, "-c", "fsync=off"])
    bed.wait_until("the server answers", lambda: _answers(bed, str(programs / "pg_isready"), port))
    return f"postgresql+psycopg://{_USER}@127.0.0.1:{port}/postgres"


def _answers(bed: Bed, program: str, port: int) -> bool:
    try:
        bed.run(program, "-h", "127.0.0.1", "-p", str(port))
    except BedError:
        return False
    return True


def parsl_python() -> str:
    """An interpreter with Parsl's monitoring and its pages; empty if it cannot be had."""
    try:
        with cache.locked() as place:
            return str(cache.monitoring_environment(place, PARSL_RELEASE))
    except BedError as error:
        say(f"SKIPPED: what compares with Parsl's monitoring, which cannot be installed: {error}")
        return ""


def run(arguments: Sequence[str]) -> int:
    python = parsl_python()
    with Bed("monitoring") as bed:
        url = start(bed)
        return bed.run_tests(["tests/real/monitoring"], arguments, **{DATABASE_VARIABLE: url, PARSL_VARIABLE: python})


if __name__ == "__main__":
    sys.exit(main((check_machine,), PACKAGES, run, sys.argv[1:]))

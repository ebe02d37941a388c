"""A Grid Engine of one host, this machine: ``python -m tests.real.gridengine.bed [pytest's arguments]``.

It has a root directory, ports and spool of its own; a cluster that Debian's packages may have set up is not touched.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.real.bed import Bed, BedError, check_machine, free_ports, main

# A mail program is among the dependencies; the last one satisfies them without a daemon.
PACKAGES = ("gridengine-master", "gridengine-exec", "gridengine-client", "msmtp-mta")
QUEUE = "all.q"
SLOTS = 2

_LIBRARY = Path("/usr/lib/gridengine")
_SHARE = Path("/usr/share/gridengine")

_BOOTSTRAP = """\
admin_user none
default_domain none
ignore_fqdn false
spooling_method berkeleydb
spooling_lib libspoolb
spooling_params {spool}/db
binary_path /usr/sbin
qmaster_spool_dir {spool}/qmaster
security_mode none
listener_threads 2
worker_threads 2
scheduler_threads 1
"""


def start(bed: Bed) -> None:
    """Bring Grid Engine up, with one queue, and wait until its host is there."""
    host = socket.gethostname()
    _prepare_root(bed, host)
    _prepare_spool(bed)
    bed.start("qmaster", ["/usr/sbin/sge_qmaster"], SGE_ND="1")  # not as a daemon: in the foreground
    bed.wait_until("qmaster answers", lambda: _works(bed, "qconf", "-ss") or _works(bed, "qconf", "-sh"))
    bed.run("qconf", "-as", host)
    _edit(bed, ["qconf", "-ssconf"], ["qconf", "-Msconf"], schedule_interval="0:0:2", flush_submit_sec="1")
    bed.start("execd", ["/usr/sbin/sge_execd"], SGE_ND="1")
    bed.wait_until("the host is there", lambda: "lx-amd64" in bed.run("qhost"))
    _edit(
        bed,
        ["qconf", "-sq"],
        ["qconf", "-Aq"],
        qname=QUEUE,
        hostlist=host,
        slots=str(SLOTS),
        load_thresholds="NONE",
        pe_list="NONE",
        shell="/bin/bash",
        notify="00:00:05",  # from SIGUSR2 to SIGKILL
    )


def _prepare_root(bed: Bed, host: str) -> None:
    """Make SGE_ROOT: links to the programs, and the few files that daemons and commands find each other by."""
    root = bed.directory / "root"
    master_port, execd_port = free_ports(2)
    bed.environment |= {
        "SGE_ROOT": str(root),
        "SGE_CELL": "default",
        "SGE_QMASTER_PORT": str(master_port),
        "SGE_EXECD_PORT": str(execd_port),
    }
    common = root / "default" / "common"
    common.mkdir(parents=True)
    for name in ("bin", "lib", "utilbin", "util"):
        (root / name).symlink_to(Path("/var/lib/gridengine") / name)
    (common / "bootstrap").write_text(_BOOTSTRAP.format(spool=bed.directory / "spool"))
    (common / "act_qmaster").write_text(f"{host}\n")
    # In many containers the host's name means 127.0.0.1, whose name is localhost.
    (common / "host_aliases").write_text(f"{host} localhost\n")


def _prepare_spool(bed: Bed) -> None:
    spool = bed.directory / "spool"
    for name in ("db", "qmaster/job_scripts", "execd"):
        (spool / name).mkdir(parents=True)
    configuration = _changed(
        (_SHARE / "default-configuration").read_text(),
        execd_spool_dir=str(spool / "execd"),
        min_uid="0",  # jobs of root are allowed
        min_gid="0",
        mailer="/bin/true",
        load_report_time="00:00:02",
        execd_params="ENABLE_ADDGRP_KILL=true",  # a job's processes are all found, whoever their parents are
    )
    (bed.directory / "configuration").write_text(configuration)
    bed.run(str(_LIBRARY / "spoolinit"), "berkeleydb", "libspoolb", str(spool / "db"), "init")
    defaults = str(_LIBRARY / "spooldefaults")
    bed.run(defaults, "configuration", str(bed.directory / "configuration"))
    bed.run(defaults, "complexes", str(_SHARE / "util/resources/centry"))
    bed.run(defaults, "usersets", str(_SHARE / "util/resources/usersets"))
    bed.run(defaults, "managers", "root")


def _changed(text: str, **values: str) -> str:
    """A file of Grid Engine, which is lines of a name and a value, with these values instead."""
    lines = []
    for line in text.splitlines():
        name = line.partition(" ")[0].partition("\t")[0]
        lines.append(f"{name} {values[name]}" if name in values else line)
    return "\n".join(lines) + "\n"


def _edit(bed: Bed, show: Sequence[str], put: Sequence[str], **values: str) -> None:
    path = bed.directory / "edited"
    path.write_text(_changed(bed.run(*show), **values))
    bed.run(*put, str(path))


def _works(bed: Bed, *argv: str) -> bool:
    try:
        bed.run(*argv)
    except BedError:
        return False
    return True


def end_jobs(bed: Bed) -> None:
    """End all jobs, and wait for them: Grid Engine's own way to kill what they have started is the thorough one."""
    if bed.run("qstat").strip():
        bed.run("qdel", "-f", "-u", "root")
        bed.wait_until("no job is left", lambda: not bed.run("qstat").strip())


def check_host() -> None:
    """Raise ``BedError`` where Grid Engine cannot work: it wants to know its host by name."""
    host = socket.gethostname()
    try:
        socket.gethostbyname(host)
        socket.gethostbyaddr("127.0.0.1")
    except OSError as error:
        raise BedError(f"Grid Engine needs {host!r} and 127.0.0.1 in /etc/hosts: {error}") from error


def run(arguments: Sequence[str]) -> int:
    with Bed("gridengine") as bed:
        start(bed)
        try:
            return bed.run_tests(["tests/real/gridengine"], arguments)
        finally:
            end_jobs(bed)


if __name__ == "__main__":
    sys.exit(main((check_machine, check_host), PACKAGES, run, sys.argv[1:]))

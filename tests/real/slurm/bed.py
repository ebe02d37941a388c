"""A Slurm of two nodes on this machine: ``python -m tests.real.slurm.bed [pytest's arguments]``.

Every port, key, log and state is the bed's own, munge's too, so a Slurm that this machine has for real is not touched.
Needs neither systemd nor cgroups, so that it runs in containers.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence

from tests.real.bed import Bed, BedError, check_machine, free_ports, main

PACKAGES = ("slurm-wlm", "munge")
# Both kinds of MPI live side by side in Debian: mpirun.openmpi and mpirun.mpich.
EXTRA_PACKAGES = ("openmpi-bin", "mpich")
NODES = ("n1", "n2")
CPUS_PER_NODE = 2

# KillWait: seconds from SIGTERM to SIGKILL at the end of the walltime. MinJobAge: how long an ended job is remembered;
# Slurm's own value is 300, this is shorter so that jobs do get forgotten while tests run. MessageTimeout: how long
# commands wait for a slurmctld that does not answer.
_CONFIGURATION = """\
ClusterName=trellis
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket
CredType=cred/munge
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool/%n
SlurmctldPidFile={directory}/slurmctld-own.pid
SlurmdPidFile={directory}/slurmd-own-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=3,sched_interval=3,batch_sched_delay=0
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
OverTimeLimit=0
MinJobAge=60
MessageTimeout=5
Prolog={directory}/prolog
{nodes}
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=short Nodes=ALL MaxTime=00:01:00 State=UP
"""


def start(bed: Bed) -> None:
    """Bring Slurm up, and wait until both nodes are idle."""
    start_munge(bed)
    configuration = bed.directory / "slurm.conf"
    configuration.write_text(_configuration(bed))
    # Runs on a node before a job does. Where it fails, Slurm puts the job back, and on hold.
    prolog = bed.directory / "prolog"
    prolog.write_text(f"#!/bin/sh\n[ ! -e {bed.directory}/prolog-fails ]\n")
    prolog.chmod(0o755)
    # Nothing here uses cgroups, but slurmd looks for them, and gives up where there are none. It believes this.
    (bed.directory / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
    bed.environment["SLURM_CONF"] = str(configuration)
    (bed.directory / "state").mkdir(mode=0o700)
    bed.start("slurmctld", ["/usr/sbin/slurmctld", "-D"])
    for node in NODES:
        (bed.directory / "spool" / node).mkdir(mode=0o755, parents=True)
        bed.start(f"slurmd-{node}", ["/usr/sbin/slurmd", "-D", "-N", node])
    bed.wait_until("both nodes are idle", lambda: _states(bed) == ["idle"] * len(NODES))


def start_munge(bed: Bed) -> None:
    """Start a munged with its own key and socket, which Slurm's parts use to know each other."""
    key, seed = bed.directory / "munge.key", bed.directory / "munge.seed"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    server = bed.directory / "munge.socket"
    bed.start(
        "munged",
        [
            "/usr/sbin/munged",
            "--foreground",
            f"--key-file={key}",
            f"--seed-file={seed}",
            f"--socket={server}",
            f"--pid-file={bed.directory / 'munged-own.pid'}",
            f"--log-file={bed.directory / 'munged-own.log'}",
        ],
    )
    bed.wait_until("munged has its socket", server.exists)


def _configuration(bed: Bed) -> str:
    host = socket.gethostname()
    controller_port, *node_ports = free_ports(1 + len(NODES))
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={CPUS_PER_NODE} RealMemory=2000"
        for node, port in zip(NODES, node_ports, strict=True)
    )
    return _CONFIGURATION.format(host=host, controller_port=controller_port, directory=bed.directory, nodes=nodes)


def _states(bed: Bed) -> list[str]:
    try:
        return bed.run("sinfo", "--noheader", "--Node", "--partition=debug", "--format=%T").split()
    except BedError:  # slurmctld does not listen yet
        return []


def run(arguments: Sequence[str]) -> int:
    with Bed("slurm") as bed:
        start(bed)
        try:
            return bed.run_tests(["tests/real/slurm", "tests/real/mpi"], arguments)
        finally:
            end_jobs(bed)


def end_jobs(bed: Bed) -> None:
    """End all jobs, and wait for them: Slurm's own way to kill what they have started is the thorough one."""
    bed.run("scancel", "--user=root")
    bed.wait_until("no job is left", lambda: not bed.run("squeue", "--noheader").strip())


if __name__ == "__main__":
    sys.exit(main((check_machine,), (*PACKAGES, *EXTRA_PACKAGES), run, sys.argv[1:]))

"""A small batch system that answers to the commands of six others. It runs jobs at once, on this host.

``python fake_batch.py COMMAND ARGUMENTS…`` is what the scripts on PATH run, see ``install``. Its state is a directory:
one directory for each job, and files that tests make to have it behave in some way:

    down    no command works
    refuse  jobs are refused, with the text of this file
    deaf    submitting commands accept the job, and hang instead of giving its id
    hold    jobs are not started
    forget  ended jobs are listed nowhere, and there are no records of them
    reason  jobs that wait do so for the reason in this file
    tell    submitting commands accept the job, tell its id, and end with 1
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

COMMANDS = {
    "slurm": ("sbatch", "squeue", "scontrol", "sacct", "scancel"),
    "torque": ("qsub", "qstat", "qdel", "qselect"),
    "pbspro": ("qsub", "qstat", "qdel", "qselect"),
    "grid_engine": ("qsub", "qstat", "qacct", "qdel"),
    "lsf": ("bsub", "bjobs", "bhist", "bkill"),
    "condor": ("condor_submit", "condor_q", "condor_history", "condor_rm"),
}

# What it says when it is down, and where.
_DOWN = {
    "slurm": "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
    "torque": "Cannot connect to default server host 'server'",
    "pbspro": "Connection refused\nqstat: cannot connect to server server (errno=111)",
    "grid_engine": "error: commlib error: got select error (Connection refused)",
    "lsf": "LSF is down. Please wait ...",
    "condor": "Error: Couldn't contact the condor_collector on host.",
}

# Runs a job as batch systems do: the script leads a process group, and its end is noted.
_RUN = """
exec >"$3" 2>"$4"
setsid bash "$1" &
echo $! >"$2/pid"
wait $!
echo $? >"$2/code.new"
mv "$2/code.new" "$2/code"
"""


def install(directory: Path, system: str) -> Path:
    """Make a directory for PATH with the commands of ``system``, whose state is ``directory``; give it."""
    bin_directory = directory / "bin"
    bin_directory.mkdir(parents=True)
    for command in COMMANDS[system]:
        script = bin_directory / command
        script.write_text(
            f'#!/bin/sh\nexec {sys.executable} -I -S {__file__} {directory} {system} {command} "$@"\n', encoding="utf-8"
        )
        script.chmod(0o755)
    return bin_directory


class Job:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.id = directory.name

    def _read(self, name: str) -> str | None:
        path = self.directory / name
        return path.read_text(encoding="utf-8").strip() if path.exists() else None

    @property
    def name(self) -> str:
        return self._read("name") or ""

    @property
    def cancelled(self) -> bool:
        return (self.directory / "cancelled").exists()

    @property
    def code(self) -> int | None:
        code = self._read("code")
        return int(code) if code else None

    @property
    def state(self) -> str:
        if self.code is None:
            started = (self.directory / "pid").exists()
            return "running" if started else "cancelled" if self.cancelled else "pending"
        return "cancelled" if self.cancelled else "failed" if self.code else "completed"

    @property
    def over(self) -> bool:
        return self.state in ("cancelled", "failed", "completed")

    def cancel(self) -> None:
        (self.directory / "cancelled").touch()
        pid = self._read("pid")
        if pid and not self.over:
            # The script only: what it runs is the script's business.
            subprocess.run(["kill", "-TERM", pid], check=False, stderr=subprocess.DEVNULL)


class System:
    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.name = name

    def has(self, flag: str) -> bool:
        return (self.directory / flag).exists()

    @property
    def reason(self) -> str:
        path = self.directory / "reason"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def jobs(self) -> list[Job]:
        found = (Job(path) for path in sorted(self.directory.glob("[0-9]*"), key=lambda path: int(path.name)))
        return [job for job in found if not (job.over and self.has("forget"))]

    def submit(self, script: str, out: str, err: str, name: str) -> Job:
        number = 1 + max((int(path.name) for path in self.directory.glob("[0-9]*")), default=0)
        job = Job(self.directory / str(number))
        job.directory.mkdir()
        (job.directory / "name").write_text(name, encoding="utf-8")
        shutil.copy(script, job.directory / "script")
        if not self.has("hold"):
            subprocess.Popen(
                ["bash", "-c", _RUN, "run", str(job.directory / "script"), str(job.directory), out, err],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            while not (job.directory / "pid").exists():
                time.sleep(0.005)
        if self.has("deaf"):
            time.sleep(1000)
        return job

    def cancel(self, chosen: Sequence[str], complaint: str) -> int:
        """Cancel these; complain about those that are over or not there."""
        code = 0
        known = {job.id: job for job in self.jobs()}
        for job_id in chosen:
            job = known.get(job_id)
            if job is None or job.over:
                print(complaint.format(job_id), file=sys.stderr)
                code = 1
            else:
                job.cancel()
        return code

    def named(self, name: str) -> list[str]:
        return [job.id for job in self.jobs() if job.name == name and not job.over]


def _directive(script: str, pattern: str) -> str:
    text = Path(script).read_text(encoding="utf-8")
    match = re.search(pattern, text, re.MULTILINE)
    return match[1] if match else "/dev/null"


def _split(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Options ``--name=value`` and other words."""
    options = dict(word.split("=", 1) if "=" in word else (word, "") for word in arguments if word.startswith("--"))
    return options, [word for word in arguments if not word.startswith("--")]


# -- one function for each command ---------------------------------------------------------------------------------


def sbatch(system: System, arguments: Sequence[str]) -> int:
    script = arguments[-1]
    out, err = (
        _directive(script, rf'^#SBATCH --{name}="(.*)"$').replace('\\"', '"').replace("%%", "%")
        for name in ("output", "error")
    )
    job = system.submit(script, out, err, _directive(script, r"^#SBATCH --job-name=(.*)$"))
    print(f"Submitted batch job {job.id}")
    return 0


_SLURM_STATES = {"running": "RUNNING", "pending": "PENDING", "cancelled": "CANCELLED", "failed": "FAILED"}


def squeue(system: System, arguments: Sequence[str]) -> int:
    asked = _split(arguments)[0]["--jobs"].split(",")
    jobs = [job for job in system.jobs() if job.id in asked]
    if not jobs:
        print("slurm_load_jobs error: Invalid job id specified", file=sys.stderr)
        return 1
    for job in jobs:
        reason = system.reason if job.state == "pending" else ""
        print(f"{job.id}|{_SLURM_STATES.get(job.state, 'COMPLETED')}|{reason or 'None'}")
    return 0


def scontrol(system: System, arguments: Sequence[str]) -> int:
    for job in system.jobs():
        if job.id == arguments[-1]:
            state = _SLURM_STATES.get(job.state, "COMPLETED")
            print(f"JobId={job.id} JobName={job.name} JobState={state} Reason=None ExitCode={job.code or 0}:0")
            return 0
    print("slurm_load_jobs error: Invalid job id specified", file=sys.stderr)
    return 1


def sacct(_system: System, _arguments: Sequence[str]) -> int:
    print("Slurm accounting storage is disabled", file=sys.stderr)
    return 1


def scancel(system: System, arguments: Sequence[str]) -> int:
    options, ids = _split(arguments)
    chosen = ids or system.named(options.get("--name", ""))
    return system.cancel(chosen, "scancel: error: Kill job error on job id {}: Invalid job id specified")


def qsub(system: System, arguments: Sequence[str]) -> int:
    script = arguments[-1]
    if system.name == "grid_engine":
        out, err = (_directive(script, rf'^#\$ -{letter} "(.*)"$') for letter in "oe")
        job = system.submit(script, out, err, _directive(script, r"^#\$ -N (.*)$"))
        print(f'Your job {job.id} ("{job.name}") has been submitted')
    else:
        log = _directive(script, r"^#PBS -o (.*)$")
        job = system.submit(script, log, log, _directive(script, r"^#PBS -N (.*)$"))
        print(f"{job.id}.server")
    return 0


def qstat(system: System, arguments: Sequence[str]) -> int:
    if arguments[0] == "-j":
        for job in system.jobs():
            if job.id in arguments[1].split(",") and system.reason:
                print(f"{'=' * 62}\njob_number:                 {job.id}\nscheduling info:            {system.reason}")
        return 0
    if system.name == "grid_engine":
        letters = {"running": "r", "pending": "qw"}
        print("job-ID  prior   name       user         state submit/start at     queue\n" + "-" * 70)
        for job in system.jobs():
            if not job.over:
                print(f"{job.id:>7} 0.55500 {job.name[:10]:10} {'user':12} {letters[job.state]:5} 11/22/2026 04:40:11")
        return 0
    asked = [word for word in arguments if not word.startswith("-")]
    known = {f"{job.id}.server": job for job in system.jobs()}
    code = 0
    for job_id in asked:
        if job_id not in known:
            print(f"qstat: Unknown Job Id {job_id}", file=sys.stderr)
            code = 153
            continue
        job = known[job_id]
        letter = {"running": "R", "pending": "Q"}.get(job.state, "C" if system.name == "torque" else "F")
        print(f"Job Id: {job_id}\n    Job_Name = {job.name}\n    job_state = {letter}")
        if letter == "Q" and system.reason:
            print(f"    comment = {system.reason}")
        if job.code is not None:
            print(f"    Exit_status = {job.code}\n    resources_used.walltime = 00:00:01")
        print()
    return code


def qacct(system: System, arguments: Sequence[str]) -> int:
    for job in system.jobs():
        if job.id == arguments[-1] and job.code is not None:
            print(f"{'=' * 62}\nqname        all.q\nfailed       0\nexit_status  {job.code}\nru_wallclock 1s")
            return 0
    print(f"error: job id {arguments[-1]} not found", file=sys.stderr)
    return 1


def qselect(system: System, arguments: Sequence[str]) -> int:
    print("\n".join(f"{job_id}.server" for job_id in system.named(arguments[-1])))
    return 0


def qdel(system: System, arguments: Sequence[str]) -> int:
    ids = [word.partition(".")[0] for word in arguments]
    if system.name == "grid_engine":
        ids = [found for word in arguments for found in ([word] if word.isdigit() else system.named(word))]
    return system.cancel(ids, "qdel: Unknown Job Id {}")


def bsub(system: System, arguments: Sequence[str]) -> int:
    script = arguments[-1] if arguments else "/dev/stdin"
    if not arguments:  # it is read twice
        script = str(system.directory / "stdin")
        Path(script).write_text(sys.stdin.read(), encoding="utf-8")
    log = _directive(script, r'^#BSUB -o "(.*)"$')
    job = system.submit(script, log, log, _directive(script, r"^#BSUB -J (.*)$"))
    print(f"Job <{job.id}> is submitted to default queue <normal>.")
    return 0


def bjobs(system: System, arguments: Sequence[str]) -> int:
    asked = [word for word in arguments if word.isdigit()]
    known = {job.id: job for job in system.jobs()}
    if arguments[0] == "-p":
        print("\n".join(f"{job_id}      user    PEND  normal\n {system.reason};" for job_id in asked))
        return 0
    states = {"running": "RUN", "pending": "PEND", "completed": "DONE"}
    for job_id in asked:
        if job_id in known:
            job = known[job_id]
            reason = "TERM_OWNER: job killed by owner" if job.state == "cancelled" else "-"
            print(f"{job.id}|{states.get(job.state, 'EXIT')}|{job.code or '-'}|{reason}")
        else:
            print(f"Job <{job_id}> is not found", file=sys.stderr)
    return 0 if set(asked) <= set(known) else 255


def bhist(_system: System, arguments: Sequence[str]) -> int:
    print(f"No matching job found for {arguments[-1]}", file=sys.stderr)
    return 255


def bkill(system: System, arguments: Sequence[str]) -> int:
    ids = system.named(arguments[1]) if arguments[0] == "-J" else arguments
    return system.cancel(ids, "Job <{}>: No matching job found")


def condor_submit(system: System, arguments: Sequence[str]) -> int:
    description = arguments[-1]
    script, out, err = (
        _directive(description, rf"^{name} = (.*)$").replace("$(DOLLAR)", "$")
        for name in ("executable", "output", "error")
    )
    job = system.submit(script, out, err, _directive(description, r'^\+TrellisName = "(.*)"$'))
    print(f"Submitting job(s).\n1 job(s) submitted to cluster {job.id}.")
    return 0


def condor_q(system: System, arguments: Sequence[str]) -> int:
    asked = [word for word in arguments if word.isdigit()]
    numbers = {"pending": 5 if system.reason else 1, "running": 2, "cancelled": 3}
    for job in system.jobs():
        if job.id in asked and job.state != "cancelled":
            code = "undefined" if job.code is None else job.code
            held = f'"{system.reason}"' if system.reason else "undefined"
            print(f"{job.id}\t{numbers.get(job.state, 4)}\t{code}\tundefined\t{held}\tundefined\tundefined")
    return 0


def condor_history(system: System, arguments: Sequence[str]) -> int:
    for job in system.jobs():
        if job.id == arguments[0] and job.state == "cancelled":
            print(f'{job.id}\t3\tundefined\t15\tundefined\t"via condor_rm (by user user)"')
    return 0


def condor_rm(system: System, arguments: Sequence[str]) -> int:
    ids = list(arguments)
    if arguments[0] == "-constraint":
        ids = system.named(arguments[1].split('"')[1])
    return system.cancel(ids, "Couldn't find/remove all jobs in cluster {}")


def main(directory: str, name: str, command: str, *arguments: str) -> int:
    system = System(Path(directory), name)
    with open(system.directory / "commands", "a", encoding="utf-8") as log:
        log.write(f"{command} {' '.join(arguments)}\n")
    if system.has("down"):
        print(_DOWN[name], file=sys.stderr)
        return 1
    if command == COMMANDS[name][0] and system.has("refuse"):
        print((system.directory / "refuse").read_text(encoding="utf-8"), file=sys.stderr)
        return 1
    run: Callable[[System, Sequence[str]], int] = globals()[command]
    code = run(system, arguments)
    return 1 if command == COMMANDS[name][0] and system.has("tell") else code


if __name__ == "__main__":
    sys.stdout.flush()
    os.umask(0o077)
    sys.exit(main(*sys.argv[1:]))

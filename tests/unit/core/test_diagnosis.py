"""What batch systems, shells, interpreters and managers write when a block does not come up, and what is made of it."""

from __future__ import annotations

import re

import pytest

from trellis.core.diagnosis import diagnose

TEXTS = [
    # the environment
    ("/var/spool/job7/script: line 3: module: command not found", "worker_init source the file"),
    ("CondaError: Run 'conda init' before 'conda activate'", "worker_init source the file"),
    ("bash: /shared/venv/bin/python: cannot execute binary file: Exec format error", "another kind of processor"),
    ("python: error while loading shared libraries: libpython3.11.so.1.0: cannot open shared", "libpython3.11.so.1.0"),
    ("python: /lib64/libc.so.6: version `GLIBC_2.34' not found (required by python)", "GLIBC_2.34"),
    ("/usr/bin/python3: No module named trellis.executors.htex.manager.service", "no Trellis"),
    (
        "/usr/bin/python3: Error while finding module specification for 'trellis.executors.htex.manager.service' "
        "(ModuleNotFoundError: No module named 'trellis')",
        "no Trellis",
    ),
    ("ModuleNotFoundError: No module named 'zmq'", "no module zmq"),
    ("ModuleNotFoundError: No module named 'trellis_plugin'", "no module trellis_plugin"),
    ("trellis-manager: error: unrecognized arguments: --new_option", "another version of Trellis"),
    ("    match event:\n          ^\nSyntaxError: invalid syntax", "another version of Trellis or of Python"),
    ("bash: line 1: /home/me/venv/bin/python: No such file or directory", "the node has no /home/me/venv/bin/python"),
    ("sh: 1: /home/me/venv/bin/python3.11: not found", "the node has no /home/me/venv/bin/python3.11"),
    ("cannot run sbatch: No such file or directory; is it on PATH?", "this host has no command sbatch"),
    ("/scripts/x.sh: line 9: srun: command not found", "the command srun is not found"),
    ("sh: 1: parallel: not found", "the command parallel is not found"),
    # the network
    (
        "cannot read the encryption keys in /run/000/htex/certificates/worker.json: [Errno 13] Permission denied",
        "cannot read the keys",
    ),
    (
        "no address of the interchange can be reached at port 54001: 10.0.0.3: Connection refused",
        "nothing listens at that port",
    ),
    (
        "no address of the interchange can be reached at port 54001: 10.0.0.3: no answer within 30 s",
        "address_by_interface",
    ),
    ("the interchange does not answer within 30 s (is its port blocked, or the key another one?)", "a firewall"),
    (
        "the interchange refuses this manager: it speaks another protocol; use the same Trellis version on both sides",
        "another version of Trellis",
    ),
    ("interchange has Trellis 0.2, protocol 2, manager has Trellis 0.1, protocol 1", "another version of Trellis"),
    ("gaierror: [Errno -2] Name or service not known", "by that name"),
    # batch systems
    ("sbatch: error: Batch job submission failed: Invalid partition name specified", "partition or queue"),
    ("sbatch: error: invalid partition specified: debgu", "partition or queue"),
    ("qsub: Unknown queue MSG=cannot locate queue", "partition or queue"),
    ("x: No such queue. Job not submitted.", "partition or queue"),
    (
        "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
        "give account=",
    ),
    ("sbatch: error: Batch job submission failed: Invalid qos specification", "give qos="),
    (
        "sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or exceeds some limit)",
        "less with walltime=",
    ),
    ("slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT 2026-01-01T00:00:00 DUE TO TIME LIMIT ***", "at its walltime"),
    ("=>> PBS: job killed: walltime 65 exceeded limit 60", "at its walltime"),
    (
        "Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time "
        "limits)",
        "a limit of the site",
    ),
    (
        "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: Job violates "
        "accounting/QOS policy (job submit limit, user's size and/or time limits)",
        "lower max_blocks, or wait",
    ),
    (
        "sbatch: error: QOSMaxWallDurationPerJobLimit\nsbatch: error: Batch job submission failed: Job violates "
        "accounting/QOS policy (job submit limit, user's size and/or time limits)",
        "ask for less with walltime=",
    ),
    ("Unable to run job: job rejected: Only 5 jobs are allowed per user (current job count: 5)", "lower max_blocks"),
    ("sbatch: error: Required partition not available (inactive or drain)", "takes no jobs now"),
    (
        "sbatch: error: Batch job submission failed: Requested node configuration is not available",
        "no node of this partition",
    ),
    ("sbatch: error: Memory specification can not be satisfied", "no node of this partition"),
    ("sbatch: unrecognized option '--gpus-per-noed=1'", "scheduler_options="),
    ("sbatch: error: Unable to contact slurm controller (connect failure)", "does not answer"),
    ("slurm_load_jobs error: Socket timed out on send/recv operation", "does not answer"),
    # the node
    (
        "no worker fits this node: 3.1 GB of memory, 64 for each worker",
        r"3.1 GB of memory, 64 for each worker\): lower",
    ),
    ("slurmstepd: error: Detected 1 oom_kill event in StepId=7.0", "memory of the job was used up"),
    ("OSError: [Errno 28] No space left on device", "a disk is full"),
    ("OSError: [Errno 122] Disk quota exceeded: '/home/me/x'", "a disk is full"),
    ("OSError: [Errno 30] Read-only file system: '/home'", "may not write there"),
    ("me@n1: Permission denied (publickey,password).", "without a password"),
    ("bash: /home/me/venv/bin/python: Permission denied", "^/home/me/venv/bin/python may not"),
    ("PermissionError: [Errno 13] Permission denied: '/scratch/logs'", "^/scratch/logs may not"),
    ("There are not enough slots available in the system to satisfy the 4", "MPI launcher"),
    ("Permission denied", "something may not be read"),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS, ids=[hint for _, hint in TEXTS])
def test_known_texts_have_their_hint_among_other_lines(text: str, expected: str) -> None:
    for surroundings in ("{}", "a line before\n{}\nand one behind\n"):
        hint = diagnose(surroundings.format(text))
        assert hint is not None, "nothing was recognised"
        assert re.search(expected, hint), hint
        assert "\n" not in hint
        assert "  " not in hint
        assert "{" not in hint


def test_the_cause_counts_and_not_what_follows_from_it() -> None:
    text = "x.sh: line 2: module: command not found\n/usr/bin/python: No module named trellis.executors\n"
    assert "module" in (diagnose(text) or "")
    assert "worker_init source" in (diagnose(text) or "")


@pytest.mark.parametrize("text", ["", "all is well", "the user's own words {with} braces", "1\n" * 10_000])
def test_an_unknown_text_gives_no_hint(text: str) -> None:
    assert diagnose(text) is None


def test_braces_and_long_names_in_a_text_do_no_harm() -> None:
    assert "{0} may not be read" in (diagnose("PermissionError: Permission denied: '{0}'") or "")
    assert len(diagnose("bash: " + "x" * 100_000 + ": command not found") or "") < 500

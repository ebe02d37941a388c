"""The likely cause, for people, of what a job, a batch system or a manager wrote. Text in, text out; no I/O here.

Each rule is a pattern and the hint it stands for; the first rule that matches anywhere counts, so what breaks other
things later (an environment that was not set up) comes before what it breaks. Groups of a pattern may be named in its
hint. A text that no rule knows gives no hint: a wrong one is worse than none.
"""

from __future__ import annotations

import re

from trellis.core.waiting import why_never

# A hint quotes no more of a name from the text than this.
_LONGEST_QUOTE = 200


def diagnose(text: str) -> str | None:
    """The likely cause that this text speaks of and what to try, as one line; None when it says nothing known."""
    if never := why_never(text):
        return never
    for pattern, hint in _RULES:
        match = pattern.search(text)
        if match is not None:
            return hint.format(**{name: (found or "")[:_LONGEST_QUOTE] for name, found in match.groupdict().items()})
    return None


def _rules(*rules: tuple[str, str]) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(pattern, re.IGNORECASE | re.MULTILINE), hint) for pattern, hint in rules)


# -- setting up the environment on the node ----------------------------------------------------------------------

_ENVIRONMENT = _rules(
    (
        r"\bmodule: (command )?not found|conda init.? before|(conda|mamba|micromamba): (command )?not found",
        "the shell of the job does not know 'module' or 'conda': have worker_init source the file that defines it "
        "(for example /etc/profile, or conda.sh of the conda installation)",
    ),
    (
        r"exec format error|cannot execute binary file",
        "the interpreter is made for another kind of processor than the nodes have: install Python for theirs, and "
        "activate it in worker_init",
    ),
    (
        r"error while loading shared libraries: (?P<library>[^\s:]+)|(?P<glibc>GLIBC(XX)?_[\d.]+)'? not found",
        "the nodes lack a library that the interpreter needs ({library}{glibc}): load its module in worker_init, or "
        "use an interpreter that was built for the nodes",
    ),
    (
        r"No module named '?trellis\b",
        "the interpreter on the node has no Trellis: activate in worker_init the environment in which the program "
        "runs, and see that it lies on a file system which the nodes share",
    ),
    (
        r"No module named '?(?P<module>[\w.]+)",
        "the interpreter on the node has no module {module}: install it there, or activate the right environment in "
        "worker_init",
    ),
    (
        r"trellis-manager: error: |^SyntaxError: ",
        "another version of Trellis or of Python answers on the node than the one that the program runs with: activate "
        "the same environment in worker_init",
    ),
    (
        r"(?:^|: )(?:line )?(?:\d+: )?(?P<python>/\S*python[\d.]*): (?:No such file or directory|not found)",
        "the node has no {python}: the environment must lie on a file system which the nodes share, or be activated in "
        "worker_init (launch_cmd may name another interpreter)",
    ),
    (
        r"cannot run (?P<command>\S+): No such file",
        "this host has no command {command}: run the program where jobs can be submitted (a login node), with the "
        "batch system's commands on PATH",
    ),
    (
        r"(?:^|: )(?:line )?(?:\d+: )?(?P<command>[\w./+-]+): (?:command )?not found$",
        "the command {command} is not found there: load what provides it in worker_init, or choose a launcher that the "
        "nodes have",
    ),
)

# -- reaching the interchange ------------------------------------------------------------------------------------

_NETWORK = _rules(
    (
        r"cannot read the encryption keys",
        "the nodes cannot read the keys in the run directory: put run_dir on a file system which they share, readable "
        "by your account (with encrypted=False no keys are needed)",
    ),
    (
        r"no address of the interchange can be reached.*connection refused",
        "the nodes reach a host, but nothing listens at that port there: the run has ended meanwhile, or the address "
        "is another host's (give address= the address of this host that the nodes reach)",
    ),
    (
        r"no address of the interchange can be reached",
        "the nodes cannot reach any address of this host: give address= one that they can (try "
        "trellis.addresses.address_by_interface), and worker_port_range= ports that no firewall blocks",
    ),
    (
        r"interchange does not answer within|is its port blocked",
        "the nodes do not reach this host, or a firewall is in between, or their keys are of another run: give "
        "address= one that the nodes can reach, and worker_port_range= ports that no firewall blocks",
    ),
    (
        r"speaks another protocol|VersionMismatch|interchange has .+, manager has ",
        "the nodes have another version of Trellis than the program: activate the same environment in worker_init",
    ),
    (
        r"Name or service not known|Temporary failure in name resolution|nodename nor servname",
        "the nodes do not know this host by that name: give address= a number (an IP address)",
    ),
)

# -- batch systems: what they say when they take no job, or end one -------------------------------------------------

_BATCH = _rules(
    (
        r"invalid partition|(invalid|unknown|no such|non-?existent) queue|queue does not exist|unknown partition",
        "the partition or queue does not exist here, or not for you: 'sinfo' (Slurm), 'qstat -Q' (PBS), 'bqueues' "
        "(LSF) or 'qconf -sql' (Grid Engine) list them",
    ),
    (
        r"partition not available|queue is not (enabled|accepting)|queue .*closed",
        "the partition or queue takes no jobs now: use another one with partition= or queue=, or wait until it does",
    ),
    (
        r"invalid account|account/partition combination|unknown project|invalid project|unknown account",
        "the account is not known, or may not use this partition: give account= one of yours (Slurm lists them with "
        "'sacctmgr show associations user=$USER')",
    ),
    (
        r"invalid qos|qos .*(not permitted|not allowed)",
        "the quality of service is not known, or not for this account and partition: give qos= one of yours (Slurm "
        "lists them with 'sacctmgr show associations user=$USER')",
    ),
    (
        r"due to time limit|job killed: walltime .* exceeded|TERM_RUNLIMIT",
        "the job was ended at its walltime: give it more with walltime=, or smaller tasks",
    ),
    (
        r"time limit is invalid|PartitionTimeLimit|MaxWallDurationPerJob|"
        r"exceeds? .*(time limit|max(imum)? walltime|resource limits)|walltime .*exceed",
        "the walltime is longer than this partition or queue allows: ask for less with walltime=",
    ),
    (
        r"MaxSubmit|too many jobs|max(imum)? number of jobs|only \d+ jobs are allowed",
        "no more jobs of yours are taken (a limit of the site on their number, waiting ones included): lower "
        "max_blocks, or wait until others of your jobs have ended",
    ),
    (
        r"violates accounting/QOS policy|violates queue|submit limit",
        "a limit of the site on jobs (their number, size or time) is reached: lower max_blocks, nodes_per_block or "
        "walltime, or wait until others of your jobs have ended",
    ),
    (
        r"node configuration is not available|memory specification can ?not be satisfied|more processors requested",
        "no node of this partition has what a block asks for: ask for fewer cores_per_node, less mem_per_node, or "
        "another partition",
    ),
    (
        r"unrecognized (option|arguments)|(illegal|invalid) option|illegal -\w value|invalid directive",
        "the batch system does not know an option: look at scheduler_options= and the provider's other settings",
    ),
    (
        r"unable to contact slurm controller|socket timed out|communication failure|cannot connect to "
        r"(the )?(default )?server|unable to contact qmaster|can't find address of local schedd|LSF is down",
        "the batch system does not answer: it is tried again; is it under maintenance?",
    ),
)

# -- the node itself -----------------------------------------------------------------------------------------------

_NODE = _rules(
    (
        r"no worker fits this node: (?P<why>.*)",
        "the node is too small for one worker ({why}): lower cores_per_worker or mem_per_worker, or ask for "
        "larger nodes",
    ),
    (
        r"oom.?kill|out of memory|cannot allocate memory|^MemoryError|exceeded .*memory limit|TERM_MEMLIMIT",
        "the memory of the job was used up: start fewer workers (max_workers_per_node, mem_per_worker) or ask for more "
        "with mem_per_node",
    ),
    (
        r"no space left on device|disk quota exceeded",
        "a disk is full, or your share of it is used up: make room, or put run_dir and worker_logdir_root elsewhere",
    ),
    (
        r"read-only file system",
        "the nodes may not write there: put run_dir and worker_logdir_root on a file system on which they may",
    ),
    (
        r"permission denied.*(?P<ssh>publickey)",
        "a login between hosts was refused: see that your key lets you in without a password",
    ),
    (
        r"(?P<path>/[^\s:']+): permission denied|permission denied: '(?P<quoted>[^'\n]+)'",
        "{path}{quoted} may not be read, written or run there: see to its rights, and that the nodes share its file "
        "system",
    ),
    (
        r"permission denied",
        "something may not be read, written or run there: see to its rights, and that the nodes share its file system",
    ),
    (
        r"not enough slots available|slots available to satisfy",
        "the MPI launcher sees fewer slots than it should start processes: look at the launcher's settings and "
        "nodes_per_block",
    ),
)

_RULES = (*_ENVIRONMENT, *_NETWORK, *_BATCH, *_NODE)

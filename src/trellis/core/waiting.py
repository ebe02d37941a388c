"""Why a job waits in its queue: which reasons are a queue's daily life, which pass, and which never do. No I/O here.

The reason is text of the batch system, as providers put it into a job's status. Each rule is a pattern, whether what it
stands for may pass by itself, and a hint; the first rule that matches counts. Groups of a pattern may be named in
its hint.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# A hint quotes no more of a reason than this.
_LONGEST_QUOTE = 200


class Cause(NamedTuple):
    """Why a job waits, as far as it is worth a word."""

    hint: str  # what it is, and what to try
    passes: bool  # False: it will wait for ever, unless somebody changes the job or the site


class _Rule(NamedTuple):
    pattern: re.Pattern[str]
    hint: str  # empty: it waits for its turn, or for nodes
    passes: bool


def why_it_waits(reason: str) -> Cause | None:
    """The cause that a waiting or held job's message tells of; None when it waits as jobs do, or nobody knows."""
    for rule in _RULES:
        match = rule.pattern.search(reason)
        if match is not None:
            return Cause(_filled(rule.hint, match), rule.passes) if rule.hint else None
    return None


def _filled(hint: str, match: re.Match[str]) -> str:
    return hint.format(**{name: (found or "")[:_LONGEST_QUOTE] for name, found in match.groupdict().items()})


def _rule(pattern: str, hint: str, *, passes: bool) -> _Rule:
    return _Rule(re.compile(pattern, re.IGNORECASE | re.MULTILINE), hint, passes)


# -- it will never start -------------------------------------------------------------------------------------------

# Of Slurm's limits of accounts and QOS those that one job alone exceeds end in PerJob, PerNode or NotSatisfied.
_NEVER = (
    (
        r"PartitionTimeLimit|MaxWallDurationPerJob|\bDeadLine\b",
        "the walltime is longer than this partition, account or quality of service allows: ask for less with walltime=",
    ),
    (
        r"\b(?P<limit>(QOS|Assoc)(Max|Min)\w*(PerJob\w*|PerNode\w*|NotSatisfied)|QOSMin\w+|MaxMemPerLimit|"
        r"(QOS|Assoc)MaxBillingPerJob|PartitionNodeLimit)\b",
        "one block asks for more (or less) than a limit of the site allows a job ({limit}): change nodes_per_block, "
        "cores_per_node, mem_per_node or gpus_per_node, or take another partition or qos ('scontrol show partition', "
        "'sacctmgr show qos')",
    ),
    (
        # Also what Slurm says first of a walltime that is too long.
        r"\bPartitionConfig\b",
        "the partition takes no job like this one: ask for less with walltime= or nodes_per_block=, or look at "
        "partition, constraint and scheduler_options ('scontrol show partition' tells its limits)",
    ),
    (
        r"\bBadConstraints\b",
        "no nodes of this partition are as the block asks for: look at partition, constraint, nodes_per_block and "
        "scheduler_options ('sinfo -o \"%P %D %c %m %f %l\"' tells what there is)",
    ),
    (
        r"\b(InvalidAccount|AccountNotAllowed)\b",
        "the account is not known, or may not use this partition: give account= one of yours",
    ),
    (
        r"\b(InvalidQOS|QOSNotAllowed)\b",
        "the quality of service is not known, or not for this account and partition: give qos= one of yours",
    ),
    (
        r"DependencyNeverSatisfied|dependency.*\b(invalid|never satisfied)\b",
        "the job waits for another one that will never end as its dependency demands: look at scheduler_options",
    ),
    (
        r"\b(ReservationDeleted|InvalidReservation)\b",
        "the reservation does not exist any more: look at scheduler_options",
    ),
    (
        r"requeued.held|JobHoldMaxRequeue|too many failed attempts to (run|start)",
        "the batch system has tried to start the job, could not, and holds it now: something is wrong with a node or "
        "with its prolog, not with the block; tell the site when the next block fares no better",
    ),
    (
        r"\bCan Never Run\b",
        "no nodes are as the block asks for: ask for less (nodes_per_block, cpus_per_node, select_options, walltime)",
    ),
)

# -- it waits for somebody, or for something that is not only its turn -----------------------------------------------

_PASSING = (
    (
        r"\bJobHeldUser\b",
        "you, or scheduler_options, have put the job on hold: 'scontrol release' with its number lets it go",
    ),
    (
        r"\bJobHeldAdmin\b",
        "an administrator (or a rule of the site) holds the job: only they let it go, ask them",
    ),
    (
        r"\bPartition(Down|Inactive)\b",
        "the partition starts no jobs now: 'sinfo' tells when it does, or which other one could be used",
    ),
    (
        r"\bReqNodeNotAvail\b|Nodes required for job are DOWN",
        "the nodes that it needs are down, drained or reserved, perhaps for maintenance: a shorter walltime= may fit "
        "in before that ('scontrol show reservation', 'sinfo -R')",
    ),
    (
        r"\b(QOS|Assoc)\w*(Minutes|UsageThreshold)\w*",
        "the share of computing time of your account is used up: take another account=, or ask the site",
    ),
    (
        r"\b(QOS|Assoc)(Max|Grp)\w+|\b(QOS|Association)(Job|Resource|Time)Limit",
        "a limit of your account or quality of service on what runs at a time is reached: it starts when others of "
        "your (group's) jobs have ended; lower max_blocks if that is too many",
    ),
    (
        r"\bpending: Dependency\b|dependency condition not satisfied|because of job dependencies",
        "the job waits for another one: see scheduler_options",
    ),
    (r"\bpending: BeginTime\b", "the job is not to start before a certain time: see scheduler_options"),
    (
        r"\bpending: (Reservation|Licenses)\b",
        "what scheduler_options ask for (a reservation, licenses) is not free yet",
    ),
    (
        r"queue (is )?not started|queue .*(inactivated|disabled|stopped|closed)|^state [a-zA-Z]*S[a-zA-Z]*qw",
        "the queue starts no jobs now: take another queue=, or wait until it does",
    ),
    (
        r"(would exceed|has reached|reached).*\blimit|\blimit\b.*\breached|because of (user|project|resource).*limit",
        "a limit of the queue or of your account on what runs at a time is reached: it starts when others have ended",
    ),
    (
        r"\b(job )?held\b.* by|in hold state|suspended by .* while pending|^state [a-zA-Z]*h[a-zA-Z]*|"
        r"\bstate (H|PSUSP)\b|requeue_hold|special_exit|resv_del_hold",
        "somebody holds the job: it starts when it is released",
    ),
    (
        r"cannot run (globally|in queue|in PE|because|on host)[^\n]*",
        "no queue or host that it may use offers what it asks for: look at queue=, walltime= and scheduler_options",
    ),
    (
        r"^not matched: (?!insufficient priority|submitter limit|PREEMPTION)",
        "no machine of the pool takes the job as it is: look at requirements, cores_per_slot and mem_per_slot ("
        "'condor_q -better-analyze' with its number tells more)",
    ),
    (r"no suitable hosts", "no host is as the block asks for, or none is up: ask for less, or wait"),
)

# What stands here is not worth a word: the job waits for its turn, or for nodes.
_ORDINARY = r"^pending(: (None|Resources|Priority|Prolog|Cleaning|NodesToPowerUp))?$|^held: Spooling input"

_RULES = (
    _rule(_ORDINARY, "", passes=True),
    # "via condor_hold" is somebody's wish; whatever else HTCondor holds a job for has failed, and would fail again.
    _rule(
        r"^held: .*(condor_hold|user'?s request)",
        "somebody has put the job on hold: 'condor_release' with its number lets it go",
        passes=True,
    ),
    _rule(r"^held: (?P<reason>.+)", "HTCondor could not run the job, and holds it ({reason})", passes=False),
    *(_rule(pattern, hint, passes=False) for pattern, hint in _NEVER),
    *(_rule(pattern, hint, passes=True) for pattern, hint in _PASSING),
    _rule(
        r"^pending: (?P<reason>.+)",
        "the reason is {reason}: with Slurm, 'man squeue' tells what that is, and 'scontrol show job' more of the job",
        passes=True,
    ),
)

# How the end of a block is worded whose job waited in vain, so that its cause is found again in that text.
_NEVER_STARTS = "its job can never start: "


def never_starts(reason: str) -> str:
    """What to say of a job that waits for such a reason."""
    return f"{_NEVER_STARTS}{reason}"


def why_never(text: str) -> str | None:
    """The hint for a text that ``never_starts`` made; None for any other."""
    _, found, reason = text.partition(_NEVER_STARTS)
    cause = why_it_waits(reason) if found else None
    return None if cause is None else cause.hint

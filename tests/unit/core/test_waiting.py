"""Reasons for which jobs wait, as batch systems word them: which are worth a word, and which are the end."""

from __future__ import annotations

import pytest

from trellis.core.diagnosis import diagnose
from trellis.core.waiting import never_starts, why_it_waits

NEVER = [
    ("pending: PartitionTimeLimit", "walltime="),
    ("pending: QOSMaxWallDurationPerJobLimit", "walltime="),
    ("pending: AssocMaxWallDurationPerJobLimit", "walltime="),
    ("pending: DeadLine", "walltime="),
    ("pending: QOSMaxCpuPerJobLimit", "QOSMaxCpuPerJobLimit"),
    ("pending: AssocMaxNodePerJobLimit", "nodes_per_block"),
    ("pending: QOSMaxGRESPerNode", "gpus_per_node"),
    ("pending: QOSMinCpuNotSatisfied", "QOSMinCpuNotSatisfied"),
    ("pending: MaxMemPerLimit", "mem_per_node"),
    ("pending: PartitionNodeLimit", "nodes_per_block"),
    ("pending: PartitionConfig", "ask for less with walltime="),
    ("pending: BadConstraints", "constraint"),
    ("pending: AccountNotAllowed", "account="),
    ("pending: InvalidQOS", "qos="),
    ("pending: DependencyNeverSatisfied", "scheduler_options"),
    ("pending: ReservationDeleted", "scheduler_options"),
    ("pending: launch failed requeued held", "tell the site"),
    ("pending: launch_failed_requeued_held", "tell the site"),
    ("requeue_hold: JobHoldMaxRequeue", "tell the site"),
    ("Can Never Run: Insufficient amount of resource: ncpus (R: 999 A: 64 T: 64)", "ask for less"),
    ("job held, too many failed attempts to run", "tell the site"),
    ("Dependency condition invalid or never satisfied", "scheduler_options"),
    ("held: Error from slot1@node: Failed to execute '/x/job.sh': (errno=2: 'No such file')", "Failed to execute"),
    ("held: memory usage exceeded request_memory, the limit was reached", "memory usage exceeded"),
]

PASSING = [
    ("pending: JobHeldUser", "scontrol release"),
    ("JobHeldUser", "scontrol release"),
    ("JobHeldAdmin", "administrator"),
    ("pending: PartitionDown", "sinfo"),
    ("pending: PartitionInactive", "sinfo"),
    ("pending: ReqNodeNotAvail, UnavailableNodes:n[1-2]", "maintenance"),
    ("pending: Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority", "maintenance"),
    ("pending: QOSMaxJobsPerUserLimit", "lower max_blocks"),
    ("pending: QOSGrpCpuLimit", "lower max_blocks"),
    ("pending: AssocGrpNodeLimit", "lower max_blocks"),
    ("pending: AssociationJobLimit", "lower max_blocks"),
    ("pending: AssocGrpCPUMinutesLimit", "used up"),
    ("pending: QOSUsageThreshold", "used up"),
    ("pending: Dependency", "another one"),
    ("pending: BeginTime", "certain time"),
    ("pending: Licenses", "licenses"),
    ("pending: SomethingNew", "SomethingNew"),
    ("Not Running: Queue not started.", "another queue="),
    ("Not Running: User has reached queue workq running job limit.", "when others have ended"),
    ("Not Running: Job would exceed user's limit on resource ncpus in complex", "when others have ended"),
    ("Job held by root on Mon Nov 30 18:00:00 2026", "released"),
    ("state H", "released"),
    ("state hqw", "released"),
    ("state PSUSP", "released"),
    ("Job was suspended by the user while pending", "released"),
    ("User has reached the per-user job slot limit of the queue", "when others have ended"),
    ("The queue is inactivated by its administrator", "another queue="),
    ("Job dependency condition not satisfied", "another one"),
    ("There are no suitable hosts for the job", "ask for less"),
    ('cannot run in queue "all.q" because it offers only qf:h_rt=00:00:10', "walltime="),
    ("job dropped because of job dependencies", "another one"),
    ('queue instance "all.q@vm" dropped because it is disabled; All queues dropped', "another queue="),
    ("Job is in hold state", "released"),
    ("not matched: no match found", "condor_q -better-analyze"),
    ("held: via condor_hold (by user alice)", "condor_release"),
    ("held: submitted on hold at user's request", "condor_release"),
]

ORDINARY = [
    "",
    "pending",
    "pending: None",
    "pending: Resources",
    "pending: Priority",
    "configuring",
    "suspended",
    "state Q",
    "state qw",
    "state PEND",
    "Not Running: Insufficient amount of resource: ncpus (R: 8 A: 0 T: 64)",
    "Not Running: Not enough free nodes available",
    "New job is waiting for scheduling",
    'queue instance "all.q@node1" dropped because it is full',
    "All queues dropped because of overload or full",
    "not matched: insufficient priority",
    "held: Spooling input data files",
]


@pytest.mark.parametrize(("reason", "hint"), NEVER)
def test_reasons_that_never_pass(reason: str, hint: str) -> None:
    cause = why_it_waits(reason)
    assert cause is not None
    assert (cause.passes, hint in cause.hint) == (False, True), cause


@pytest.mark.parametrize(("reason", "hint"), PASSING)
def test_reasons_that_may_pass(reason: str, hint: str) -> None:
    cause = why_it_waits(reason)
    assert cause is not None
    assert (cause.passes, hint in cause.hint) == (True, True), cause


@pytest.mark.parametrize("reason", ORDINARY)
def test_the_daily_life_of_a_queue(reason: str) -> None:
    assert why_it_waits(reason) is None


@pytest.mark.parametrize(("reason", "hint"), NEVER)
def test_the_cause_is_found_again_in_what_is_said_of_the_block(reason: str, hint: str) -> None:
    assert hint in (diagnose(f"exit code 15\n{never_starts(reason)}") or "")


def test_a_long_reason_is_cut_in_the_hint() -> None:
    cause = why_it_waits(f"pending: {'x' * 5000}")
    assert cause is not None
    assert len(cause.hint) < 400

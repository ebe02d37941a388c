"""The tables of a recorded run: Parsl's seven, exactly as its releases make them, and some of our own beside them.

Parsl's columns hold what Parsl's hold: times are local and without a zone, ``run_id`` is a UUID. Ours begin with
``trellis_``, so that readers of Parsl's tables never meet them; their times are seconds since the epoch, as numbers,
and rows of an attempt, a dependency or a file have the short number of a run, ``run``, in place of the UUID.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
)

metadata = MetaData()

# In SQLite the rows of most tables lie in the order of their primary keys, and not beside an index: a third less.

# -- Parsl's -----------------------------------------------------------------------------------------------------

workflow = Table(
    "workflow",
    metadata,
    Column("run_id", Text, nullable=False, primary_key=True),
    Column("workflow_name", Text),
    Column("workflow_version", Text),
    Column("time_began", DateTime, nullable=False),
    Column("time_completed", DateTime),
    Column("host", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("rundir", Text, nullable=False),
    Column("tasks_failed_count", Integer, nullable=False),
    Column("tasks_completed_count", Integer, nullable=False),
)

status = Table(
    "status",
    metadata,
    Column("task_id", Integer, nullable=False),
    Column("task_status_name", Text, nullable=False),
    Column("timestamp", DateTime, nullable=False),
    Column("run_id", Text, ForeignKey("workflow.run_id"), nullable=False),
    Column("try_id", Integer, nullable=False),
    PrimaryKeyConstraint("task_id", "run_id", "task_status_name", "timestamp"),
    sqlite_with_rowid=False,
)

task = Table(
    "task",
    metadata,
    Column("task_id", Integer, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("task_depends", Text),
    Column("task_func_name", Text, nullable=False),
    Column("task_memoize", Text, nullable=False),
    Column("task_hashsum", Text, index=True),
    Column("task_inputs", Text),
    Column("task_outputs", Text),
    Column("task_stdin", Text),
    Column("task_stdout", Text),
    Column("task_stderr", Text),
    Column("task_time_invoked", DateTime),
    Column("task_time_returned", DateTime),
    Column("task_fail_count", Integer, nullable=False),
    Column("task_fail_cost", Float, nullable=False),
    PrimaryKeyConstraint("task_id", "run_id"),
    sqlite_with_rowid=False,
)

tries = Table(
    "try",
    metadata,
    Column("try_id", Integer, nullable=False),
    Column("task_id", Integer, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("block_id", Text),
    Column("hostname", Text),
    Column("task_executor", Text, nullable=False),
    Column("task_try_time_launched", DateTime),
    Column("task_try_time_running", DateTime),
    Column("task_try_time_returned", DateTime),
    Column("task_fail_history", Text),
    Column("task_joins", Text),
    PrimaryKeyConstraint("try_id", "task_id", "run_id"),
    sqlite_with_rowid=False,
)

node = Table(
    "node",
    metadata,
    Column("id", Integer, nullable=False, primary_key=True, autoincrement=True),
    Column("run_id", Text, nullable=False),
    Column("hostname", Text, nullable=False),
    Column("uid", Text, nullable=False),
    Column("block_id", Text, nullable=False),
    Column("cpu_count", Integer, nullable=False),
    Column("total_memory", BigInteger, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("worker_count", Integer, nullable=False),
    Column("python_v", Text, nullable=False),
    Column("timestamp", DateTime, nullable=False),
    Column("last_heartbeat", DateTime, nullable=False),
)

block = Table(
    "block",
    metadata,
    Column("run_id", Text, nullable=False),
    Column("executor_label", Text, nullable=False),
    Column("block_id", Text, nullable=False),
    Column("job_id", Text),
    Column("timestamp", DateTime, nullable=False),
    Column("status", Text, nullable=False),
    PrimaryKeyConstraint("run_id", "block_id", "executor_label", "timestamp"),
)

resource = Table(
    "resource",
    metadata,
    Column("try_id", Integer, nullable=False),
    Column("task_id", Integer, nullable=False),
    Column("run_id", Text, ForeignKey("workflow.run_id"), nullable=False),
    Column("timestamp", DateTime, nullable=False),
    Column("resource_monitoring_interval", Float),
    Column("psutil_process_pid", Integer),
    Column("psutil_process_memory_percent", Float),
    Column("psutil_process_children_count", Float),
    Column("psutil_process_time_user", Float),
    Column("psutil_process_time_system", Float),
    Column("psutil_process_memory_virtual", Float),
    Column("psutil_process_memory_resident", Float),
    Column("psutil_process_disk_read", Float),
    Column("psutil_process_disk_write", Float),
    Column("psutil_process_status", Text),
    Column("psutil_cpu_num", Text),
    Column("psutil_process_num_ctx_switches_voluntary", Float),
    Column("psutil_process_num_ctx_switches_involuntary", Float),
    PrimaryKeyConstraint("try_id", "task_id", "run_id", "timestamp"),
    sqlite_with_rowid=False,
)

# -- our own -----------------------------------------------------------------------------------------------------

# A row for each run that Trellis has recorded. ``state``: "running", "ended", or "lost": its program was killed.
trellis_run = Table(
    "trellis_run",
    metadata,
    Column("run", Integer, nullable=False, primary_key=True, autoincrement=True),
    Column("run_id", Text, nullable=False, unique=True),
    Column("state", Text, nullable=False),
    Column("recorded_until", Float, nullable=False),  # when the last thing happened that is recorded
    Column("tasks", BigInteger, nullable=False),  # submitted until then
    Column("dropped_samples", BigInteger, nullable=False),  # there was no room for
    Column("dropped_events", BigInteger, nullable=False),
    Column("read_until", BigInteger, nullable=False),  # of the journal, by whoever writes these tables
    Column("pid", Integer, nullable=False),
    Column("host", Text, nullable=False),
    Column("trellis_version", Text, nullable=False),
    Column("python_version", Text, nullable=False),
)

# What Parsl's table of tasks has no column for. A row for each task.
trellis_task = Table(
    "trellis_task",
    metadata,
    Column("run", Integer, nullable=False),
    Column("task_id", Integer, nullable=False),
    Column("app", Text, nullable=False),
    Column("state", Text, nullable=False),  # the last one that is known: a name of trellis.dataflow.states.States
    Column("arguments", Text),  # shortened, for people to search in; None: there are none
    Column("resources", Text),  # resource specification, as JSON; None: there is none
    Column("submitted", Float, nullable=False),
    Column("returned", Float),  # None: it is not final
    Column("tries", Integer, nullable=False),  # attempts until now
    PrimaryKeyConstraint("run", "task_id"),
    Index("ix_trellis_task_app", "run", "app", "state"),
    sqlite_with_rowid=False,
)

# A row for each attempt that has been launched: who ran it, how long, and what it has used.
trellis_attempt = Table(
    "trellis_attempt",
    metadata,
    Column("run", Integer, nullable=False),
    Column("task_id", Integer, nullable=False),
    Column("try_id", Integer, nullable=False),
    Column("app", Text, nullable=False),
    Column("executor", Text, nullable=False),
    Column("hostname", Text),  # None in these four: nobody has told
    Column("block_id", Text),
    Column("manager", Text),  # the thread's name for thread pools
    Column("worker", Integer),
    Column("launched", Float, nullable=False),
    Column("started", Float),
    Column("duration_s", Float),
    Column("returned", Float),  # None: it has not ended
    Column("exception", Text),  # name of its class; None: it has succeeded, or not ended
    Column("user_s", Float),
    Column("system_s", Float),
    Column("peak_memory_bytes", BigInteger),
    Column("read_bytes", BigInteger),
    Column("written_bytes", BigInteger),
    PrimaryKeyConstraint("run", "task_id", "try_id"),
    sqlite_with_rowid=False,
)

# ``task_id`` waits for ``depends_on``, both of one run.
trellis_dependency = Table(
    "trellis_dependency",
    metadata,
    Column("run", Integer, nullable=False),
    Column("task_id", Integer, nullable=False),
    Column("depends_on", Integer, nullable=False),
    PrimaryKeyConstraint("run", "task_id", "depends_on"),
    Index("ix_trellis_dependency_depends_on", "run", "depends_on"),
    sqlite_with_rowid=False,
)

# A row for each attempt that has failed, and each task that could not run. Equal fingerprints: probably one cause.
trellis_failure = Table(
    "trellis_failure",
    metadata,
    Column("run", Integer, nullable=False),
    Column("task_id", Integer, nullable=False),
    Column("try_id", Integer, nullable=False),
    Column("at", Float, nullable=False),
    Column("app", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("exception", Text, nullable=False),  # name of its class
    Column("message", Text, nullable=False),
    Column("traceback", Text),
    Column("final", Boolean, nullable=False),  # False: the task was tried again
    PrimaryKeyConstraint("run", "task_id", "try_id", "at"),
    Index("ix_trellis_failure_fingerprint", "run", "fingerprint"),
)

# What a batch system has said of a block; Parsl's table of blocks has no column for it.
trellis_block = Table(
    "trellis_block",
    metadata,
    Column("run", Integer, nullable=False),
    Column("executor", Text, nullable=False),
    Column("block_id", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("state", Text, nullable=False),
    Column("job_id", Text),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("run", "executor", "block_id", "at"),
)

# Managers and workers, as they came, went, or were heard again: also those of executors that have no blocks.
trellis_node = Table(
    "trellis_node",
    metadata,
    Column("run", Integer, nullable=False),
    Column("executor", Text, nullable=False),
    Column("manager", Text, nullable=False),
    Column("hostname", Text, nullable=False),
    Column("block_id", Text, nullable=False),
    Column("cpus", Integer, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("workers", Integer, nullable=False),
    Column("python_version", Text, nullable=False),
    Column("started", Float, nullable=False),
    Column("last_heard", Float, nullable=False),
    Column("active", Boolean, nullable=False),
    PrimaryKeyConstraint("run", "executor", "manager"),
)

# What has become of files and libraries that TaskVine keeps at workers: see trellis.core.measurements.FileSeen.
trellis_file = Table(
    "trellis_file",
    metadata,
    Column("id", Integer, nullable=False, primary_key=True, autoincrement=True),
    Column("run", Integer, nullable=False),
    Column("executor", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("worker", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("at", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    Index("ix_trellis_file_run", "run", "name"),
)

PARSLS = (workflow, status, task, tries, node, block, resource)
OWN = tuple(table for table in metadata.sorted_tables if table.name.startswith("trellis_"))

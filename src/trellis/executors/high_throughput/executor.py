"""Public path of the HighThroughputExecutor; it is made in ``trellis.executors.htex.executor``."""

from trellis.addresses import get_all_addresses
from trellis.core.jobs import TERMINAL_STATES, JobState, JobStatus
from trellis.errors import BadMessage, InvalidResourceSpecification, ScalingFailed
from trellis.executors.htex.executor import HighThroughputExecutor
from trellis.executors.htex.interchange.selection import ManagerSelector, RandomManagerSelector
from trellis.executors.htex.launch import DEFAULT_LAUNCH_CMD
from trellis.executors.htex.options import GENERAL_HTEX_PARAM_DOCS
from trellis.executors.htex.parsl_commands import DEFAULT_INTERCHANGE_LAUNCH_CMD
from trellis.executors.missing import HTEXFuture
from trellis.executors.scalable import BlockProviderExecutor
from trellis.process_loggers import wrap_with_logs
from trellis.serialize.facade import deserialize, pack_apply_message, pack_res_spec_apply_message
from trellis.utils import RepresentationMixin

__all__ = [
    "DEFAULT_INTERCHANGE_LAUNCH_CMD",
    "DEFAULT_LAUNCH_CMD",
    "GENERAL_HTEX_PARAM_DOCS",
    "TERMINAL_STATES",
    "BadMessage",
    "BlockProviderExecutor",
    "HTEXFuture",
    "HighThroughputExecutor",
    "InvalidResourceSpecification",
    "JobState",
    "JobStatus",
    "ManagerSelector",
    "RandomManagerSelector",
    "RepresentationMixin",
    "ScalingFailed",
    "deserialize",
    "get_all_addresses",
    "pack_apply_message",
    "pack_res_spec_apply_message",
    "wrap_with_logs",
]

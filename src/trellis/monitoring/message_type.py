"""Kinds of monitoring messages, as Parsl numbers them: programs put them into messages of their own."""

from enum import Enum


class MessageType(Enum):
    """What a monitoring message tells of."""

    TASK_INFO = 0
    RESOURCE_INFO = 1
    WORKFLOW_INFO = 2
    NODE_INFO = 3
    BLOCK_INFO = 4
    WORKER_TASK_INFO = 5

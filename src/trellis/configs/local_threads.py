"""Threads of this process."""

from trellis.config import Config
from trellis.executors.threads import ThreadPoolExecutor

config = Config(executors=[ThreadPoolExecutor()])

"""Stand-in for what sends Parsl's usage data."""

from trellis.core.missing import Missing


class UsageTracker(
    Missing,
    was="tells Parsl's developers of a run, if it may",
    instead="Trellis sends nothing; get_parsl_usage (in usage_tracking.api) gives what a configuration consists of",
): ...

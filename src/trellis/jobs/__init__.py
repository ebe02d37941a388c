"""Public paths for states of jobs and for block error handlers."""

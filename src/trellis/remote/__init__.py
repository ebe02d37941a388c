"""What runs on a worker on behalf of an app: shell commands, time limits."""

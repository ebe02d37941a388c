"""What runs on a worker on behalf of an app: shell commands, time limits, a look at the files that it was to make."""

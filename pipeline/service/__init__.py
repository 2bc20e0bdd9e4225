"""The process that serves for months: system signals, drop directories, reloading, the heartbeat."""

"""The way to Adobe Target: HTTP client, call queue, status gate, status poller, time windows."""

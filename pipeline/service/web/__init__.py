"""The web server of the service: its status and its jobs as JSON, its health, and events of what changes."""

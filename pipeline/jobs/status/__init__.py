"""The status of tenants, their jobs and their drop directories: read beside the processes that write it."""

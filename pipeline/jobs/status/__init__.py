"""The status of tenants, their jobs and drop directories, read beside who writes it; and what of it others are told."""

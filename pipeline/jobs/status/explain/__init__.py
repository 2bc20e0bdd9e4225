"""The story of one id, job by job, read beside the process that works; and the profile that Target has of it now."""

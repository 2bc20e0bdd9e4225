"""Notifications: what is told of a job, a pause or an overdue export, and how a receiver knows that it is ours."""

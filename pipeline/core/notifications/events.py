"""The names of the events that are told."""

#: The events that a receiver may ask for.
EVENTS = ("done", "incomplete", "failed", "quarantined", "paused", "recovered", "overdue")
#: The event of a call that only says that a job is done; and of a trial.
HEARTBEAT, TEST = "heartbeat", "test"
#: States of a job of which there is an event, which has the same name.
TOLD_STATES = ("done", "incomplete", "failed", "quarantined")
#: The events that a process comes upon again after each start, though they were told.
COME_AGAIN = ("quarantined",)

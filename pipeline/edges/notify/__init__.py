"""Notifications on their way: the outbox in the state directory, the receivers, and the calls to them."""

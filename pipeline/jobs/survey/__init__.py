"""The survey of an export: what it is and comes to, without sending anything and without a state directory."""

"""The sections of a configuration: their keys, with default, bounds, unit and reason."""

"""Traces: what a job did when, as spans for a collector of OpenTelemetry; `asked` says if anybody wants them."""

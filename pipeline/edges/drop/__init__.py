"""The drop directory: listing it, taking files out of it, noticing arrivals."""

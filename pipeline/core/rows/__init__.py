"""From the bytes of an export to encoded rows and rejects."""

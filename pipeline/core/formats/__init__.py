"""From the bytes of an export, whatever it is, to records."""

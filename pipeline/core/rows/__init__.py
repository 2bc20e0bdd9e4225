"""From records to encoded rows and rejects."""

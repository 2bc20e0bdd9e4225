"""Expectations of exports: by when each is done (`days`, `calendar`), and what is usual of them (`guard`)."""

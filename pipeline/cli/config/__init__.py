"""`config`: what a configuration holds, and what in it does not work here."""

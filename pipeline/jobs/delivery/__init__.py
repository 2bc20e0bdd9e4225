"""The way of a sealed batch: it is uploaded when it may be, followed, and split where Target refuses it."""

"""The state directory: ledger, spool, mailbox, job folders."""

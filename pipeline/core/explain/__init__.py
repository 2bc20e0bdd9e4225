"""The fates of the rows of one id, job by job, and what to conclude of them."""

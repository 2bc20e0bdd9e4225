"""Reports as people see them: on a terminal, as a page, in words."""

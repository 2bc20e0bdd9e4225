"""The work of [mapping] on cells: fixed steps by column, constants, and conditions by which a row is left out."""

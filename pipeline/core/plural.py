"""Numbers of things in words, for people: one place for plural forms."""


def counted(count: int, one: str, more: str | None = None) -> str:
    """A number with what it counts, such as `1 row` and `1,204 rows`. `more`: the plural, if it is not `one` + "s"."""
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"

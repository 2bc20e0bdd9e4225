"""Masks: the shape of a cell without what it says, so that a person sees what kind of values a column has."""

#: Characters of a cell that are masked and shown.
MOST_SHOWN = 20
#: Characters that stay, since they make the shape of dates, numbers, addresses and lists.
_SHAPE = frozenset(" .,:;-/+@_()|")
_CUT = "..."


def mask(text: str, *, with_case: bool = False) -> str:
    """The shape of a text: x for each letter, 9 for each digit, ? for what is neither and makes no shape.

    At most `MOST_SHOWN` characters of it are shown, with dots behind where there are more.
    `with_case`: X stands for a letter in upper case.
    """
    shown = "".join(_masked(character, with_case=with_case) for character in text[:MOST_SHOWN])
    return shown + _CUT if len(text) > MOST_SHOWN else shown


def _masked(character: str, *, with_case: bool) -> str:
    if character in _SHAPE:
        return character
    if character.isalpha():
        return "X" if with_case and character.isupper() else "x"
    return "9" if character.isdecimal() else "?"

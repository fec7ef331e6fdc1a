"""Names of participants and conversations: what a name may not hold, wherever it enters.

Leaf module; pure.
"""

import re
import unicodedata

MAX_NAME_CHARS = 128
BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the order in which others are shown (UAX #9 §2), so that a name can look like another."""
INVISIBLE = frozenset("\u00ad\u180e\u200b\u2060\ufeff")
"""Characters without a shape or a meaning in a name. Joiners (U+200C, U+200D) have one, in Persian and in emoji."""
_NOTHING_TO_SHOW = re.compile(
    r"[\s\u2800\U0001d159"
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]*"
)
"""Spaces, two blank symbols and what Unicode calls default ignorable (DerivedCoreProperties): some are letters by category."""
_CATEGORIES = frozenset(("Cc", "Cs", "Zl", "Zp"))


def name_problem(name: object, *, max_chars: int = MAX_NAME_CHARS) -> str | None:
    r"""Return what is wrong with a name, as the end of a sentence that begins with its field; None if nothing is.

    Example:
        ```python
        from meeshy_sfu.names import name_problem

        assert name_problem("Zoë 👩‍🚀") is None
        assert name_problem("ada\u202etxt.exe") == "holds the bidirectional character U+202E"
        ```
    """
    if not isinstance(name, str) or not 0 < len(name) <= max_chars:
        return f"is no string of 1 to {max_chars} characters"
    for character in () if name.isascii() and name.isprintable() else name:
        if character in BIDIRECTIONAL:
            return f"holds the bidirectional character {_code(character)}"
        if unicodedata.category(character) in _CATEGORIES:
            return f"holds the control character {_code(character)}"
        if character in INVISIBLE:
            return f"holds the invisible character {_code(character)}"
    if _NOTHING_TO_SHOW.fullmatch(name):
        return "has nothing to show"
    return None


def _code(character: str) -> str:
    return f"U+{ord(character):04X}"

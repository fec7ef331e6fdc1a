"""Which names may be shown to people."""

from __future__ import annotations

import unicodedata

import pytest

from meeshy_sfu.names import BIDIRECTIONAL, name_problem


def test_every_control_and_bidirectional_character_of_unicode_is_refused() -> None:
    for code in range(0x110000):
        character = chr(code)
        if unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs") or character in BIDIRECTIONAL:
            problem = name_problem(f"a{character}b")
            assert problem is not None
            assert f"U+{code:04X}" in problem
            assert character not in problem


def test_the_bidirectional_controls_are_those_of_unicode() -> None:
    formats = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    known = {chr(code) for code in range(0x110000) if unicodedata.bidirectional(chr(code)) in formats}
    # and the marks, which have the class of a letter
    assert known | {"\u200e", "\u200f", "\u061c"} == BIDIRECTIONAL


@pytest.mark.parametrize(
    "name", ["a", "x" * 128, "Zoë Łuk", "עדה", "می\u200cخواهم", "👩\u200d🚀", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "Ｏ’Brien"]
)
def test_names_in_any_script_are_taken(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize("name", ["", "x" * 129, None, 7, ["a"], b"a"])
def test_what_is_no_string_of_that_length_is_refused(name: object) -> None:
    assert name_problem(name) == "is no string of 1 to 128 characters"


@pytest.mark.parametrize("name", [" ", "\u3000", "\u00a0 "])
def test_a_name_of_spaces_is_refused(name: str) -> None:
    assert name_problem(name) == "has nothing to show"


LETTERS_WITHOUT_A_SHAPE = {
    "Hangul filler": "\u3164",
    "Hangul choseong filler": "\u115f",
    "Hangul jungseong filler": "\u1160",
    "halfwidth Hangul filler": "\uffa0",
    "Braille without dots": "\u2800",
    "Khmer inherent vowel": "\u17b4",
    "combining grapheme joiner": "\u034f",
    "joiner": "\u200d",
    "variation selectors": "\ufe0f\U000e0100",
    "tags": "\U000e0067\U000e007f",
    "null notehead": "\U0001d159",
}


@pytest.mark.parametrize("letters", LETTERS_WITHOUT_A_SHAPE.values(), ids=LETTERS_WITHOUT_A_SHAPE)
def test_a_name_of_invisible_letters_alone_is_an_empty_name(letters: str) -> None:
    for name in (letters, letters * 3, f" {letters} ", f"{letters}\u3164\u2800"):
        assert name_problem(name) == "has nothing to show", ascii(name)


def test_invisible_letters_between_others_change_nothing() -> None:
    assert name_problem("한\u3164글") is None
    assert name_problem("⠁\u2800⠃") is None

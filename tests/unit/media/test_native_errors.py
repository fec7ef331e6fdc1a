"""The native module raises nothing that Python does not know."""

import re
from pathlib import Path

import pytest

from meeshy_sfu import errors

SKIN = Path(__file__).parents[3] / "crates" / "sfu-py" / "src" / "errors.rs"
IMPORTED = re.findall(r"import_exception!\(meeshy_sfu\.errors, (\w+)\)", SKIN.read_text())


def test_the_skin_imports_some() -> None:
    assert len(IMPORTED) >= 5


@pytest.mark.parametrize("name", IMPORTED)
def test_each_error_of_the_native_module_is_in_the_tree(name: str) -> None:
    assert issubclass(getattr(errors, name), errors.MeeshyError)


def test_the_skin_raises_no_other_exceptions() -> None:
    raised = set(re.findall(r"(\w+)::new_err\(", SKIN.read_text()))
    assert raised <= set(IMPORTED)

"""The check of module circles in the Rust crates (.ci/check_rust_modules.py), over small crates written here."""

from pathlib import Path
from types import ModuleType

import pytest

from tests.unit.ci_scripts import ci_script


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return ci_script("check_rust_modules")


def crate(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / (name.replace("__", "/") + ".rs")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("use crate::b::B;", "use super::a::A;"),
        ("use crate::{b::{self, B}, c::C};", "fn f() { crate::a::f(); }"),
        ("pub struct A(super::b::B);", "use crate::A;"),
    ],
    ids=["use", "tree and path", "re-export"],
)
def test_two_modules_that_use_each_other_are_a_circle(
    script: ModuleType, tmp_path: Path, a: str, b: str
) -> None:
    root = crate(tmp_path, lib="mod a; mod b; mod c; pub use a::A;", a=a, b=b, c="pub struct C;")
    (breach,) = script.check(root, "x", {})
    assert breach.startswith("x: circle of a, b;")
    assert "a.rs:1: a uses b" in breach
    assert "b.rs:1: b uses a" in breach


def test_a_circle_over_three_modules_is_found(script: ModuleType, tmp_path: Path) -> None:
    root = crate(tmp_path, lib="", a="use crate::b::B;", b="use crate::c::C;", c="use crate::a::A;")
    (breach,) = script.check(root, "x", {})
    assert breach.startswith("x: circle of a, b, c;")


def test_a_parent_that_uses_the_child_that_uses_it_is_a_circle_unless_permitted(
    script: ModuleType, tmp_path: Path
) -> None:
    root = crate(tmp_path, lib="", a="mod b; use b::B; pub struct A(B);", a__b="use super::A; pub struct B;")
    (breach,) = script.check(root, "x", {})
    assert breach.startswith("x: circle of a, a::b;")
    assert script.check(root, "x", {("x", "a::b", "a"): "a reason"}) == []


def test_what_is_no_use_makes_no_circle(script: ModuleType, tmp_path: Path) -> None:
    b = """
        // crate::a::A, `super::a::A`
        const TEXT: &str = "crate::a::A";
        const RAW: &str = r#"use crate::a::A;"#;
        fn f<'a>(quote: char) -> bool { quote == '"' }
        #[cfg(test)]
        mod tests { use crate::a::A; }
    """
    root = crate(tmp_path, lib="mod a; pub use a::A;", a="use crate::b::B;", b=b)
    assert script.check(root, "x", {}) == []


def test_a_permission_that_nothing_needs_or_that_names_strangers_is_refused(
    script: ModuleType, tmp_path: Path
) -> None:
    root = crate(tmp_path, lib="", a="mod b; use b::B;", a__b="pub struct B;", c="")
    assert "does not use a any more" in script.check(root, "x", {("x", "a::b", "a"): ""})[0]
    assert "only a child may be listed" in script.check(root, "x", {("x", "a::b", "c"): ""})[0]

"""Module circles in the Rust crates: two modules that use each other have to be read, tested and changed together.

Reads `use` declarations and paths (`crate::…`, `super::…`, `self::…`, names of child modules) of every crate, follows
re-exports to the module that defines the name, and prints each circle with the lines that make it. Test modules are
left out. Run by `make lint`; exits 1 when there is a circle that PERMITTED does not list.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# (crate, child, parent) → why the child may use its parent. Only a child and the module it lies in may be listed.
PERMITTED: dict[tuple[str, str, str], str] = {}

Module = tuple[str, ...]
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
# A lifetime is no character, so a character needs both of its quotes.
STRING = re.compile(r'b?r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|b?\'(?:\\.|[^\'\\])\'', re.S)
TEST_ITEM = re.compile(r"#\[cfg\((?:test|any\(test\b[^\]]*)\)\]\s*")
TEST_FILE = re.compile(r"#\[cfg\(test\)\]\s*(?:pub(?:\([a-z]+\))?\s+)?mod\s+(\w+)\s*;")
USE = re.compile(r"(?P<public>\bpub(?:\([^)]*\))?\s+)?\buse\s+(?P<tree>[^;]+);")
PATH = re.compile(r"(?<![\w:])(?:crate|super|self)(?:\s*::\s*\w+)+")


@dataclass(slots=True)
class Source:
    """One module: its text without comments, strings and tests, and what it offers under another module's name."""

    path: Path
    text: str
    children: set[str] = field(default_factory=set)
    reexports: dict[str, Module] = field(default_factory=dict)


def blank(found: re.Match[str]) -> str:
    """Replace text by its line breaks, so that line numbers stay."""
    return "\n" * found[0].count("\n") or " "


def without_tests(text: str) -> str:
    """Cut items that are compiled for tests only."""
    while found := TEST_ITEM.search(text):
        end, depth = found.end(), 0
        while end < len(text):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
            if depth == 0 and text[end - 1] in ";}":
                break
        text = text[: found.start()] + "\n" * text.count("\n", found.start(), end) + text[end:]
    return text


def expand(tree: str, prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every path of a `use` tree, with the name it is known by afterwards."""
    tree = tree.strip()
    depth, start, parts = 0, 0, []
    for at, char in enumerate(tree):
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == "," and depth == 0:
            parts.append(tree[start:at])
            start = at + 1
    parts.append(tree[start:])
    for part in filter(None, (part.strip() for part in parts)):
        head, brace, rest = part.partition("{")
        if brace:
            inner = rest.rsplit("}", 1)[0]
            yield from expand(inner, prefix + tuple(filter(None, head.replace(" ", "").split("::"))))
            continue
        words, _, alias = part.partition(" as ")
        names = prefix + tuple(filter(None, words.replace(" ", "").split("::")))
        if names[-1] == "self":
            names = names[:-1]
        yield names, alias.strip() or names[-1]


def load(root: Path) -> dict[Module, Source]:
    """The modules of a crate by their path in it; the crate's root is ()."""
    modules: dict[Module, Source] = {}
    tests: set[Module] = set()
    for path in sorted(root.rglob("*.rs")):
        parts = path.relative_to(root).with_suffix("").parts
        name: Module = parts[:-1] if parts[-1] in {"mod", "lib", "main"} else parts
        text = STRING.sub(blank, COMMENT.sub(blank, path.read_text(encoding="utf-8")))
        tests.update((*name, child) for child in TEST_FILE.findall(text))
        modules[name] = Source(path, without_tests(text))
    for name in list(modules):
        if any(name[: len(test)] == test for test in tests):
            del modules[name]
        elif name:
            modules[name[:-1]].children.add(name[-1])
    return modules


def resolve(modules: dict[Module, Source], at: Module, words: tuple[str, ...]) -> Module | None:
    """The module that defines what a path in module `at` names; None when it lies in another crate."""
    here = at
    if words[0] == "crate":
        here, words = (), words[1:]
    elif words[0] in {"super", "self"}:
        while words and words[0] in {"super", "self"}:
            here, words = (here[:-1] if words[0] == "super" else here), words[1:]
    elif words[0] not in modules[at].children:
        return None
    for word in words:
        if (*here, word) in modules:
            here = (*here, word)
        else:
            return modules[here].reexports.get(word, here)
    return here


def paths(source: Source) -> Iterator[tuple[tuple[str, ...], str, bool, int]]:
    """Every path that is used: its words, its new name, whether it is re-exported, the line."""
    for found in USE.finditer(source.text):
        line = source.text.count("\n", 0, found.start("tree")) + 1
        for words, alias in expand(found["tree"]):
            yield words, alias, bool(found["public"]), line
    text = USE.sub(blank, source.text)
    inline = [PATH]
    if source.children:
        inline.append(re.compile(rf"(?<![\w:.])(?:{'|'.join(source.children)})\s*::\s*\w+"))
    for pattern in inline:
        for found in pattern.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield tuple(word.strip() for word in found[0].split("::")), "", False, line


def uses(modules: dict[Module, Source]) -> dict[Module, dict[Module, str]]:
    """Which module uses which, with the first place where it does."""
    for name, source in modules.items():
        for words, alias, public, _ in paths(source):
            if public and (target := resolve(modules, name, words)) is not None and target != name:
                source.reexports[alias] = target
    found: dict[Module, dict[Module, str]] = {name: {} for name in modules}
    for name, source in modules.items():
        for words, _, public, line in paths(source):
            target = resolve(modules, name, words)
            # A re-export is a signpost: who follows it uses the module behind it.
            if target is not None and target != name and not public:
                found[name].setdefault(target, f"{source.path}:{line}")
    return found


def circle(graph: dict[Module, dict[Module, str]], start: Module) -> list[Module] | None:
    """The shortest circle through a module, from it and back to it."""
    before: dict[Module, Module] = {}
    waiting = [start]
    for at in waiting:  # it grows on the way
        for target in graph[at]:
            if target == start:
                way = [start, at]
                while way[-1] != start:
                    way.append(before[way[-1]])
                return way[::-1]
            if target not in before:
                before[target] = at
                waiting.append(target)
    return None


def written(name: Module) -> str:
    """A module as Rust writes it."""
    return "::".join(name) or "crate"


def check(root: Path, crate: str, permitted: dict[tuple[str, str, str], str]) -> list[str]:
    """The circles of one crate, and the permissions nothing needs."""
    modules = load(root)
    graph = uses(modules)
    breaches = []
    for owner, child, parent in permitted:
        inner, outer = tuple(child.split("::")), () if parent == "crate" else tuple(parent.split("::"))
        if owner != crate:
            continue
        if inner[:-1] != outer:
            breaches.append(
                f"PERMITTED: {crate} {child} does not lie in {parent}; only a child may be listed"
            )
        elif graph.get(inner, {}).pop(outer, None) is None:
            breaches.append(f"PERMITTED: {crate} {child} does not use {parent} any more; remove the entry")
    while graph:
        found = min(
            filter(None, (circle(graph, name) for name in graph)),
            key=lambda way: (len(way), way),
            default=None,
        )
        if found is None:
            break
        steps = [
            f"\n    {graph[user][used]}: {written(user)} uses {written(used)}"
            for user, used in itertools.pairwise(found)
        ]
        breaches.append(
            f"{crate}: circle of {', '.join(written(name) for name in dict.fromkeys(found))}"
            f"; move what both need into a module of its own{''.join(steps)}"
        )
        del graph[found[0]][found[1]]
    return breaches


def main() -> int:
    """Check every crate."""
    breaches = [
        breach
        for root in sorted(Path("crates").glob("*/src"))
        for breach in check(root, root.parent.name, PERMITTED)
    ]
    for breach in breaches:
        print(breach)
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())

"""The examples in the docstrings of the media objects and rooms run as they stand."""

import importlib
import inspect
import pkgutil
import re
import textwrap
from types import ModuleType

import pytest

import meeshy_sfu.media
import meeshy_sfu.rooms
from meeshy_sfu.clock import SystemClock
from meeshy_sfu.media.certificate import Certificate
from meeshy_sfu.media.codecs import DEFAULT_MEDIA_CODECS

GIVEN = {
    "Certificate": Certificate,
    "DEFAULT_MEDIA_CODECS": DEFAULT_MEDIA_CODECS,
    "SystemClock": SystemClock,
}


def examples() -> list[tuple[str, ModuleType, str]]:
    found: list[tuple[str, ModuleType, str]] = []
    for package in (meeshy_sfu.media, meeshy_sfu.rooms):
        for info in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(info.name)
            for name, thing in inspect.getmembers(module, inspect.isclass):
                if thing.__module__ == module.__name__:
                    for code in re.findall(r"```python\n(.*?)```", inspect.getdoc(thing) or "", re.DOTALL):
                        found.append((name, module, textwrap.dedent(code)))
    return found


def test_there_are_some() -> None:
    assert {name for name, _, _ in examples()} >= {"Signal", "WorkerPool"}


@pytest.mark.parametrize(("name", "module", "code"), examples(), ids=lambda value: str(value)[:20])
async def test_an_example_runs(name: str, module: ModuleType, code: str) -> None:
    scope = {**vars(module), **GIVEN}
    exec(f"async def example():\n{textwrap.indent(code, '    ')}", scope)
    await scope["example"]()

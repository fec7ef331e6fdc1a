"""A listener that writes down what it is told."""

import inspect
from typing import Any

from meeshy_sfu.rooms.listener import RoomListener


class Notes(RoomListener):
    def __init__(self) -> None:
        self.told: list[tuple[str, tuple[Any, ...]]] = []

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [arguments for told, arguments in self.told if told == name]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.told]


def _note(name: str) -> Any:
    def method(self: Notes, room: object, *arguments: object) -> None:
        self.told.append((name, arguments))

    return method


for _name, _ in inspect.getmembers(RoomListener, inspect.isfunction):
    if not _name.startswith("_"):
        setattr(Notes, _name, _note(_name))

"""The rules of the tree that the project checks itself: what they find, and what they let pass."""

from __future__ import annotations

from tests.unit.ci_scripts import ci_script


def reads(source: str) -> list[str]:
    return [line.split(": ")[1] for line in ci_script("check_tree").private_reads("meeshy_sfu/a.py", source)]


def test_private_field_of_another_object_is_found_wherever_it_is_read_or_written() -> None:
    source = """
class Link:
    def run(self):
        self._owner._jobs.start()
        call._mode = 1
        return [leg for leg in legs if not leg._closed]

print(Link()._run)
"""
    assert reads(source) == ["self._owner._jobs", "call._mode", "leg._closed", "Link()._run"]


def test_class_may_reach_into_itself_its_parents_and_objects_of_its_own() -> None:
    source = """
class Pool(Base):
    _made: "Pool | None" = None

    def __init__(self):
        self._size = 1
        super()._begin()

    @classmethod
    async def start(cls):
        pool = cls()
        await pool._start_worker()
        return pool._size, pool._made, cls._made

    async def _start_worker(self):
        return self.__class__.__name__
"""
    assert reads(source) == []

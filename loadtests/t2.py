"""locust -f loadtests/t2.py: see loadtests/README.md."""

from loadtests.shapes import T2
from loadtests.users import CallUser

__all__ = ["T2", "CallUser"]

"""locust -f loadtests/t1.py: see loadtests/README.md."""

from loadtests.shapes import T1
from loadtests.users import CallUser

__all__ = ["T1", "CallUser"]

"""locust -f loadtests/t3.py: see loadtests/README.md."""

from loadtests.shapes import T3
from loadtests.users import CallUser

__all__ = ["T3", "CallUser"]

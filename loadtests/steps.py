"""locust -f loadtests/steps.py: see loadtests/README.md."""

from loadtests.shapes import Steps
from loadtests.users import CallUser

__all__ = ["CallUser", "Steps"]

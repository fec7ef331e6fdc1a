"""locust -f loadtests/signalling.py -u 50 -r 10 -t 1m: users without media; see loadtests/README.md."""

from loadtests.shapes import Signalling
from loadtests.users import SignallingUser

__all__ = ["Signalling", "SignallingUser"]

"""locust -f loadtests/locustfile.py -u 20 -r 5 -t 1m: participants in calls, as many and as long as the options say."""

from loadtests.shapes import Free
from loadtests.users import CallUser

__all__ = ["CallUser", "Free"]

"""Load suites for locust: participants in calls, judged from raw samples as `meeshy simulate` judges (loadtests/README.md)."""

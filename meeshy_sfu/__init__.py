"""Meeshy SFU: media server, call gateway and load-test simulator.

Re-exports the public names and the version, nothing else.
"""

from importlib.metadata import version

__version__ = version("meeshy-sfu")

__all__ = ["__version__"]

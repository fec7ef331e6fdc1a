"""Call gateway: who is in which call, over which path the media goes, and how it changes without a gap.

Reaches the media server over HTTP and Socket.IO only.
"""

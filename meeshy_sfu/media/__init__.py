"""Media objects as mediasoup has them, over the native core.

Knows workers, routers, transports, producers and consumers; rooms and participants are in rooms/.
"""

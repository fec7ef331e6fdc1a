"""Child processes of a locust process: stack and verdict, and participants with their media. Plain asyncio, no gevent.

locust replaces sockets, threads, locks and `select` of its process by gevent's. asyncio and native threads that call back
into such a process stall or deadlock, and a greenlet that computes holds up all others. So everything that has an event loop,
a bot or a data frame lives here, in processes that never import locust; what they say goes over one socket (channel.py).
"""

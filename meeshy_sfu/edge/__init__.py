"""The edge both services have towards clients: envelopes, tokens, limits, sockets, declared routes, process life.

Used by the media server and the gateway alike; knows neither calls nor media.
"""

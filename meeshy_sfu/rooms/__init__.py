"""Calls and the people in them.

Decides who owns and who closes what; the wire is in server/, the media in media/.
"""

"""Calls and their participants.

Decides who owns and who closes what; the wire is in server/, the media in media/.
"""

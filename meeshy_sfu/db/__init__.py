"""The gateway's database: calls, participants, metrics; SQLite by default, PostgreSQL by URL.

Stores and finds; decides nothing. Values leave as frozen dataclasses, never as database rows.
"""

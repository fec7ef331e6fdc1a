"""Calls of the gateway: who is in them, which path their media takes, and what is written down about them."""

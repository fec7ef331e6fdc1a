"""The search for how much a server holds: the largest number with which runs still pass."""

"""The media servers as the gateway sees them: rooms, their events, and what has to be removed."""

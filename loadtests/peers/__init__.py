"""The same bots, clip, stamps and verdict against media servers of others; see README.md."""

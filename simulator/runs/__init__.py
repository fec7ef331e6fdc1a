"""What a run does: its frame, its environment, and one file for each pattern."""

"""Reports of a run: what is said, how it is drawn, and the files it becomes."""

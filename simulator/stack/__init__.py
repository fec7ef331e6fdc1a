"""The servers of a run: started, watched, inspected and taken down."""

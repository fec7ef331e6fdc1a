"""What a run records: the columns on disk and how they are written. Nothing is computed here."""

"""Plots of a run: each is one function marked with `plot` of report/drawing.py, and is found by that."""

"""Figures and checks of one run, computed by pandas from its raw samples. Pure: nothing here talks to a server."""

"""The self-test: a call through a broken server and network, to see whether the verdict names what was broken."""

"""Whatever is sent to the readers of outside input: no error but our own, in bounded time."""

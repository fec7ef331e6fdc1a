"""How long a secret that signs tokens must be, wherever it is given.

Leaf module; pure. The JWT library signs with any secret and prints a warning of its own.
"""

SECRET_BYTES_MIN = 32
"""Of an HS256 secret (RFC 7518 §3.2)."""


def secret_problem(secret: str) -> str | None:
    """Return what is wrong with a secret, as the end of a sentence that begins with its source; None if nothing is.

    Example:
        ```python
        from meeshy_sfu.secret_length import secret_problem

        assert secret_problem("x" * 32) is None
        ```
    """
    length = len(secret.encode(errors="surrogatepass"))
    if length >= SECRET_BYTES_MIN:
        return None
    return (
        f"has {length} bytes, and at least {SECRET_BYTES_MIN} bytes are needed; "
        "make one with `openssl rand -hex 32`"
    )

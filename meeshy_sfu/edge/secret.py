"""The secret that signs tokens: the configured one, or one made for development.

Keeps the development secret in the state directory, so that ``meeshy token`` in another terminal and a
restarted server agree. Never logs or prints it.
"""

import hmac
import os
import secrets
from pathlib import Path

from meeshy_sfu.config import Settings
from meeshy_sfu.errors import StartError
from meeshy_sfu.private_files import make_private_directory
from meeshy_sfu.secret_length import SECRET_BYTES_MIN


def signing_secret(settings: Settings) -> str:
    """Return the secret to sign and check tokens with.

    Raises:
        StartError: The development secret cannot be read or written.
    """
    if settings.jwt_secret is not None:
        return settings.jwt_secret.get_secret_value()
    return _development_secret(settings.state_dir / "development-secret")


def same_secret(given: str | None, expected: str | None) -> bool:
    """Compare secrets in constant time; an absent one equals nothing."""
    if not given or not expected:
        return False
    # a header that is no UTF-8 comes with surrogates
    return hmac.compare_digest(given.encode(errors="surrogatepass"), expected.encode(errors="surrogatepass"))


def _development_secret(path: Path) -> str:
    try:
        make_private_directory(path.parent)
        if path.is_file():
            known = path.read_text(encoding="ascii").strip()
            if len(known) >= SECRET_BYTES_MIN:
                return known
        fresh = secrets.token_hex(SECRET_BYTES_MIN)
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(fresh + "\n")
            scratch.replace(path)
        except OSError:
            scratch.unlink(missing_ok=True)
            raise
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(
            f"cannot keep the development secret in {path}: {error}; "
            "set JWT_SECRET, or MEESHY_STATE_DIR to a directory with room that this user may write"
        ) from None
    return fresh

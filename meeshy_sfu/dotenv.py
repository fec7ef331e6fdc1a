"""Files of variables, such as ``.env``: their form alone. Which variables there are is known to config.py."""

import re
from pathlib import Path

from meeshy_sfu.errors import ConfigError


def read_dotenv(path: Path) -> dict[str, str]:
    """Read ``NAME=value`` lines; ``#`` starts a comment, quotes are taken off, ``export`` is skipped.

    Raises:
        ConfigError: The file cannot be read, or a line is of another form; the message names it.
    """
    found: dict[str, str] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is no text in UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise ConfigError(f"cannot read {path}: {reason}") from None
    for number, line in enumerate(lines, start=1):
        text = line.strip().removeprefix("export ")
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name.strip()):
            raise ConfigError(f"{path}:{number} is not of the form NAME=value")
        value = value.strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        else:
            value = re.split(r"\s+#", value, maxsplit=1)[0]
        found[name.strip()] = value
    return found

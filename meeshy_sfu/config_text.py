"""Settings as text: the sample file, and single values as the environment holds them.

What the settings are is in config.py.
"""

from pydantic import SecretStr

from meeshy_sfu.config import table


def sample_env() -> str:
    """Write ``.env.example``: every setting with its default, commented out."""
    lines = [
        "# Settings of Meeshy's services. Copy to .env and uncomment what you change.",
        "# Order: flag, environment, .env, the file of --config, default; the first that is given counts.",
        "# Generated from meeshy_sfu/config.py by `meeshy settings --env`; a test compares the two.",
    ]
    group = ""
    for row in table():
        if row.group != group:
            group = row.group
            lines += ["", f"# ---- {group}"]
        unit = f" [{row.unit}]" if row.unit else ""
        lines += ["", f"# {row.does}{unit}", f"# Cost: {row.cost} Change: {row.when}"]
        if len(row.variables) > 1:
            lines.append(f"# Also read as {row.variables[1]}.")
        lines.append(f"#{row.variable}={plain(row.default)}")
    return "\n".join(lines) + "\n"


def plain(value: object) -> str:
    """Write a value as the environment holds it."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case tuple() | list():
            return ",".join(str(part) for part in value)
        case SecretStr():
            return value.get_secret_value()
        case _:
            return str(value)

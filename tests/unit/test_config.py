"""Settings come from flags, environment, .env and file, in this order; the unknown and unsafe is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from meeshy_sfu.config import Settings, load_settings, table
from meeshy_sfu.config_text import plain, sample_env
from meeshy_sfu.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
SECRET = "x" * 32


def load(tmp_path: Path, *, flags=None, environ=None, dotenv: str = "", toml: str = "") -> Settings:
    (tmp_path / ".env").write_text(dotenv, encoding="utf-8")
    (tmp_path / "meeshy.toml").write_text(toml, encoding="utf-8")
    return load_settings(
        flags=flags, environ=environ, config_file=tmp_path / "meeshy.toml", directory=tmp_path
    )


@pytest.mark.parametrize(
    ("flags", "environ", "dotenv", "toml", "port"),
    [
        ({"port": 1}, {"MEESHY_PORT": "2", "PORT": "3"}, "PORT=4", "port = 5", 1),
        ({"port": None}, {"MEESHY_PORT": "2", "PORT": "3"}, "PORT=4", "port = 5", 2),
        ({}, {"PORT": "3"}, "MEESHY_PORT=4", "port = 5", 3),
        ({}, {"PORT": ""}, "PORT=4", "port = 5", 4),
        ({}, {}, "", "port = 5", 5),
        ({}, {}, "", "", 3001),
    ],
)
def test_the_nearer_source_wins(tmp_path: Path, flags, environ, dotenv, toml, port: int) -> None:
    assert load(tmp_path, flags=flags, environ=environ, dotenv=dotenv, toml=toml).port == port


@pytest.mark.parametrize(
    ("variable", "value", "key", "expected"),
    [
        ("PORT", "4321", "port", 4321),
        ("LOG_LEVEL", "debug", "log_level", "debug"),
        ("RTC_MIN_PORT", "20000", "rtc_min_port", 20000),
        ("RTC_MAX_PORT", "20100", "rtc_max_port", 20100),
        ("ANNOUNCED_IP", "203.0.113.9", "announced_ip", "203.0.113.9"),
        ("ANNOUNCED_IP", "sfu-1.media.example.org", "announced_ip", "sfu-1.media.example.org"),
        ("FRONTEND_URL", "https://a.example/, http://b.example:3000", "cors_origins",
         ("https://a.example", "http://b.example:3000")),
        ("MEESHY_TCP", "false", "tcp", False),
    ],
)  # fmt: skip
def test_variables_are_read_under_their_names(variable: str, value: str, key: str, expected: object) -> None:
    environ = {variable: value, "RTC_MAX_PORT": "20100"} if variable == "RTC_MIN_PORT" else {variable: value}
    assert getattr(load_settings(environ=environ), key) == expected


@pytest.mark.parametrize(
    ("listen", "announced", "other"),
    [
        ("127.0.0.1", "2001:db8::1", "::1"),
        ("::1", "203.0.113.9", "127.0.0.1"),
        ("localhost", "2001:db8::1", "::1"),
    ],
)
def test_an_announced_address_of_a_family_nobody_listens_on_is_refused(
    listen: str, announced: str, other: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load_settings(flags={"rtc_listen_ips": [listen], "announced_ip": announced})
    version = 6 if ":" in announced else 4
    for word in ("announced_ip", announced, f"IPv{version}", "rtc_listen_ips"):
        assert word in str(refused.value)
    both = load_settings(flags={"rtc_listen_ips": [listen, other], "announced_ip": announced})
    assert both.announced_ip == announced
    assert load_settings(flags={"rtc_listen_ips": [listen], "announced_ip": "sfu.example"}).announced_ip


@pytest.mark.parametrize(
    ("listen", "media"),
    [
        (["::"], ("0.0.0.0", "::")),
        (["0:0::0"], ("0.0.0.0", "0:0::0")),
        (["::", "203.0.113.1"], ("::", "203.0.113.1")),
        (["0.0.0.0", "::"], ("0.0.0.0", "::")),
        (["0.0.0.0"], ("0.0.0.0",)),
        (["::1"], ("::1",)),
    ],
)
def test_two_colons_alone_listen_on_both_families_for_media(
    listen: list[str], media: tuple[str, ...]
) -> None:
    assert load_settings(flags={"rtc_listen_ips": listen, "jwt_secret": SECRET}).media_ips == media


def test_a_secret_is_read_and_not_shown() -> None:
    settings = load_settings(environ={"JWT_SECRET": SECRET})
    assert settings.jwt_secret is not None
    assert settings.jwt_secret.get_secret_value() == SECRET
    assert SECRET not in repr(settings)
    assert not settings.is_development


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ({"environ": {"MEESHY_PROT": "1"}}, ["MEESHY_PROT", "environment", "did you mean MEESHY_PORT"]),
        ({"dotenv": "RTC_MIN_PROT=1"}, ["RTC_MIN_PROT", ".env", "did you mean RTC_MIN_PORT"]),
        (
            {"toml": "max_particpants_per_room = 3"},
            ["max_particpants", "meeshy.toml", "max_participants_per_room"],
        ),
        ({"environ": {"MEESHY_ANNOUNCE_IP": "1"}}, ["did you mean MEESHY_ANNOUNCED_IP"]),
        ({"environ": {"MEESHY_NONSENSE": "1"}}, ["MEESHY_NONSENSE", "; `meeshy settings` lists all"]),
        ({"toml": "xyzzy = 1"}, ["xyzzy", "meeshy.toml; `meeshy settings` lists all"]),
        ({"flags": {"prt": 3}}, ["prt", "did you mean port"]),
        (
            {"environ": {"PORT": "many"}},
            ["PORT in the environment", "many", "must be a whole number from 0 to 65535"],
        ),
        ({"toml": "port = 70000"}, ["port in", "meeshy.toml", "65535"]),
        ({"toml": "port = "}, ["no valid TOML"]),
        ({"dotenv": "what is this"}, [".env:1", "NAME=value"]),
        ({"environ": {"MEESHY_HOST": "example.org"}}, ["MEESHY_HOST", "no IP address", "127.0.0.1"]),
        ({"environ": {"MEESHY_HOST": "::1%lo"}}, ["MEESHY_HOST", "'::1%lo' has a zone", "without %"]),
        ({"environ": {"MEESHY_RTC_LISTEN_IPS": "127.0.0.1,fe80::1%eth0"}}, ["RTC_LISTEN_IPS", "has a zone"]),
        ({"environ": {"ANNOUNCED_IP": "fe80::1%eth0"}}, ["ANNOUNCED_IP", "has a zone"]),
        ({"environ": {"MEESHY_TRUSTED_PROXIES": "fe80::%eth0/64"}}, ["TRUSTED_PROXIES", "has a zone"]),
        (
            {"environ": {"MEESHY_MAX_BODY_BYTES": "9" * 20}},
            ["MEESHY_MAX_BODY_BYTES in the environment", "whole number from 1024 to 16777216 (bytes)"],
        ),
        ({"toml": "max_event_bytes = 1e9"}, ["max_event_bytes in", "from 1024 to 4194304 (bytes)"]),
        ({"environ": {"MEESHY_SHUTDOWN_TIMEOUT_S": "nan"}}, ["number above 0 and up to 60 (seconds)"]),
        ({"environ": {"MEESHY_RATE_OTHER": "1e3"}}, ["MEESHY_RATE_OTHER", "whole number from 0 to 10000000"]),
        ({"environ": {"ANNOUNCED_IP": "203.0.113.444"}}, ["ANNOUNCED_IP", "neither", "203.0.113.9"]),
        ({"environ": {"ANNOUNCED_IP": "http://203.0.113.9"}}, ["ANNOUNCED_IP", "neither"]),
        ({"environ": {"ANNOUNCED_IP": "203.0.113.9:10000"}}, ["ANNOUNCED_IP", "neither"]),
        ({"environ": {"ANNOUNCED_IP": "[2001:db8::1]"}}, ["ANNOUNCED_IP", "neither"]),
        ({"environ": {"ANNOUNCED_IP": "0.0.0.0"}}, ["ANNOUNCED_IP", "no address that clients can reach"]),
        ({"environ": {"MEESHY_TRUSTED_PROXIES": "10.0.0.0/33"}}, ["MEESHY_TRUSTED_PROXIES", "10.0.0.0/8"]),
        ({"environ": {"FRONTEND_URL": "app.example.org"}}, ["FRONTEND_URL", "no origin"]),
        ({"environ": {"MEESHY_TLS_CERT": "a.pem"}}, ["tls_cert and tls_key"]),
        ({"environ": {"RTC_MIN_PORT": "20", "RTC_MAX_PORT": "10"}}, ["20 is above", "10"]),
        ({"environ": {"MEESHY_WORKERS": "3", "RTC_MIN_PORT": "10", "RTC_MAX_PORT": "11"}}, ["3 workers"]),
        ({"environ": {"MEESHY_UDP": "no", "MEESHY_TCP": "no"}}, ["udp and tcp"]),
    ],
)
def test_what_is_wrong_is_named_with_its_source(tmp_path: Path, sources, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, **sources)
    for word in words:
        assert word in caught.value.message


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml.*MEESHY_CONFIG"):
        load_settings(environ={"MEESHY_CONFIG": "/nowhere.toml"})


def test_a_short_secret_is_refused_without_being_repeated() -> None:
    with pytest.raises(ConfigError, match="at least 32 bytes") as caught:
        load_settings(environ={"JWT_SECRET": "sekrit"})
    assert "sekrit" not in caught.value.message


@pytest.mark.parametrize(
    "environ",
    [
        {"MEESHY_HOST": "0.0.0.0"},
        {"MEESHY_HOST": "::"},
        {"MEESHY_RTC_LISTEN_IPS": "127.0.0.1,192.0.2.1"},
        {"MEESHY_HOST": "0.0.0.0", "JWT_SECRET": SECRET, "MEESHY_DEVELOPMENT": "true"},
    ],
)
def test_development_mode_listens_on_loopback_only(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"refusing to listen on .*JWT_SECRET"):
        load_settings(environ=environ)


def test_with_a_secret_any_address_will_do() -> None:
    settings = load_settings(environ={"MEESHY_HOST": "0.0.0.0", "JWT_SECRET": SECRET})
    assert (settings.is_development, settings.is_loopback) == (False, False)


def test_variables_of_other_programs_are_left_alone(tmp_path: Path) -> None:
    load(tmp_path, environ={"MEESHY_SIMULATE_SEED": "1", "HOME": "/"}, dotenv="DATABASE_URL=sqlite://")


def test_dotenv_takes_quotes_comments_and_export(tmp_path: Path) -> None:
    dotenv = "# a comment\nexport PORT=4000 # why\nJWT_SECRET='" + "#" * 32 + "'\n"
    settings = load(tmp_path, dotenv=dotenv)
    assert settings.port == 4000
    assert settings.jwt_secret is not None
    assert settings.jwt_secret.get_secret_value() == "#" * 32


def test_a_dotenv_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfePORT=1\n")
    with pytest.raises(ConfigError, match=r"cannot read .*\.env: it is no text in UTF-8"):
        load_settings(environ={}, directory=tmp_path)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("workers", "first", "last", "cores", "expected"),
    [(0, 10000, 10100, 2, 2), (0, 10000, 10000, 8, 1), (3, 10000, 10100, 8, 3), (0, 0, 0, 4, 4)],
)
def test_there_are_no_more_workers_than_ports(workers, first, last, cores, expected) -> None:
    settings = load_settings(flags={"workers": workers, "rtc_min_port": first, "rtc_max_port": last})
    assert settings.worker_count(cores) == expected


def test_every_setting_is_documented_and_named_once() -> None:
    rows = list(table())
    for row in rows:
        assert row.does.endswith("."), row.key
        assert row.cost.endswith("."), row.key
        assert row.when.endswith("."), row.key
    names = [name for row in rows for name in (row.flag, *row.variables)]
    assert len(names) == len(set(names))


def test_units_stand_in_the_names() -> None:
    units = {"_s": "seconds", "_bps": "bits per second", "_bytes": "bytes", "_us": "microseconds"}
    for row in table():
        for suffix, unit in units.items():
            assert row.key.endswith(suffix) == (row.unit == unit), row.key


def test_the_sample_file_is_up_to_date() -> None:
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == sample_env(), (
        "run: meeshy settings --env > .env.example"
    )


def test_the_sample_file_with_every_line_uncommented_gives_the_defaults(tmp_path: Path) -> None:
    lines = re.findall(r"^#(MEESHY_\w+=.*)$", sample_env(), re.MULTILINE)
    assert len(lines) == len(Settings.model_fields)
    settings = load(tmp_path, dotenv="\n".join(lines))
    assert settings == load_settings()


def test_a_value_survives_the_way_through_the_environment() -> None:
    flags = {
        "jwt_secret": SECRET,
        "host": "::1",
        "cors_origins": ["https://a.example"],
        "tcp": False,
        "port": 0,
    }
    settings = load_settings(flags=flags)
    environ = {row.variable: plain(getattr(settings, row.key)) for row in table()}
    assert load_settings(environ=environ) == settings


def test_every_number_has_a_floor_and_a_ceiling() -> None:
    for key, field in Settings.model_fields.items():
        if field.annotation in (int, float):
            limits = {type(rule).__name__ for rule in field.metadata}
            assert "Le" in limits, f"{key} has no ceiling"
            assert limits & {"Ge", "Gt"}, f"{key} has no floor"

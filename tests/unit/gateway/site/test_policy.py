"""What a page may load, connect to and use."""

from __future__ import annotations

import pytest

from meeshy_sfu.gateway.site.policy import content_policy, security_headers


def rules(*media_urls: str) -> dict[str, list[str]]:
    return {rule.split()[0]: rule.split()[1:] for rule in content_policy(media_urls).split("; ")}


def test_nothing_inline_and_nothing_of_third_parties_is_allowed() -> None:
    found = rules()
    assert found["default-src"] == ["'none'"]
    assert found["script-src"] == found["style-src"] == found["connect-src"] == ["'self'"]
    assert found["img-src"] == ["'self'", "data:", "blob:"]
    assert found["media-src"] == ["'self'", "blob:", "mediastream:"]
    assert found["frame-ancestors"] == found["base-uri"] == found["form-action"] == ["'none'"]
    assert "unsafe" not in content_policy(())


@pytest.mark.parametrize(
    ("url", "sources"),
    [
        ("http://127.0.0.1:3001", ["http://127.0.0.1:3001", "ws://127.0.0.1:3001"]),
        ("https://media.example.org/one", ["https://media.example.org", "wss://media.example.org"]),
        # a policy cannot name an IPv6 address, nor may a setting end a rule
        ("http://[::1]:3001", ["http:", "ws:"]),
        ("https://a;script-src", ["https:", "wss:"]),
    ],
)
def test_the_page_connects_to_the_media_servers_by_http_and_websocket(url: str, sources: list[str]) -> None:
    assert rules(url, url)["connect-src"] == ["'self'", *sources]


def test_devices_are_for_the_page_alone_and_all_else_is_off() -> None:
    headers = security_headers([])
    features = dict(part.split("=") for part in headers["Permissions-Policy"].split(", "))
    for name in ("camera", "microphone", "display-capture", "speaker-selection"):
        assert features[name] == "(self)"
    for name in ("geolocation", "usb", "payment"):
        assert features[name] == "()"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"

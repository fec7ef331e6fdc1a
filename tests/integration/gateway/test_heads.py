"""What no handler sees: heads too long, no HTTP, broken bodies. One envelope on both services, and no part of the input."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import random
import time
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import socketio

from meeshy_sfu.edge.auth import MAX_TOKEN_CHARS
from meeshy_sfu.edge.token_signing import sign_media_token, sign_token, sign_user_token
from meeshy_sfu.gateway.app import Gateway
from meeshy_sfu.gateway.wire.auth import MAX_CONVERSATIONS, Conversation
from meeshy_sfu.server.app import MediaServer
from tests.integration.gateway.callers import SECRET
from tests.integration.hearing import DEADLINE_S

CANARY = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLWNhbmFyeQ"
"""Looks like a token; no piece of it may come back or be written."""
PIECES = tuple(CANARY[at : at + 10] for at in range(0, len(CANARY) - 10, 5))
HOST = b"Host: x\r\n"


def get(headers: bytes, *, path: bytes = b"/health") -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\n" + HOST + headers + b"\r\n"


def websocket(headers: bytes) -> bytes:
    return get(
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n" + headers,
        path=b"/socket.io/?EIO=4&transport=websocket",
    )


T = CANARY.encode()
REFUSED = {
    "a header line that is too long": get(b"Authorization: Bearer " + T * 4000 + b"\r\n"),
    "a header name that is too long": get(T * 4000 + b": x\r\n"),
    "more headers than the limit": get(b"".join(b"X-%d: %s\r\n" % (n, T) for n in range(300))),
    "a head that is too long as a whole": get(b"".join(b"X-%d: %s\r\n" % (n, T * 1000) for n in range(100))),
    "a request line that is too long": get(b"", path=b"/health?token=" + T * 400),
    "no method": T + b"\r\n\r\n",
    "a method that is none": T + b" / HTTP/1.1\r\n\r\n",
    "a version that is none": b"GET /health " + T + b"\r\n\r\n",
    "a header without a colon": get(T + b"\r\n"),
    "a header name that is none": get(T + b" x: 1\r\n"),
    "a control character in a header": get(b"Authorization: Bearer " + T + b"\x00\r\n"),
    "no host": b"GET /health HTTP/1.1\r\nAuthorization: Bearer " + T + b"\r\n\r\n",
    "two hosts": get(b"Host: " + T + b"\r\n"),
    "a target without a slash": b"GET " + T + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target with a port that is none": b"GET http://x:" + T + b"/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "a bracket in the host of a target": b"GET http://[" + T + b"/ HTTP/1.1\r\n" + HOST + b"\r\n",
    "a tunnel": b"CONNECT " + T + b":1 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a tunnel to nowhere": b"CONNECT " + T + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a length that is none": b"POST /api/x HTTP/1.1\r\n" + HOST + b"Content-Length: " + T + b"\r\n\r\n",
    "two lengths": b"POST /api/x HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a transfer coding that is none": get(b"Transfer-Encoding: " + T + b"\r\n"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + T + b"\r\n\r\n",
    "an expectation that is none": get(b"Expect: " + T + b"\r\n"),
    "a path with a token": get(b"", path=b"/" + T),
    "an API path with a token": get(b"", path=b"/api/rooms/" + T),
    "a query with a token": get(b"", path=b"/nowhere?token=" + T),
    "a token that is none": get(b"Authorization: Bearer " + T + b"\r\n", path=b"/api/calls/1"),
    "a socket's version with a token": get(b"", path=b"/socket.io/?EIO=" + T),
    "a socket's session with a token": get(b"", path=b"/socket.io/?EIO=4&sid=" + T),
    "a socket's transport with a token": get(b"", path=b"/socket.io/?EIO=4&transport=" + T),
    "a socket's origin with a token": get(
        b"Origin: http://" + T + b"\r\n", path=b"/socket.io/?EIO=4&transport=polling"
    ),
    "a websocket of another version": websocket(
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: " + T + b"\r\n"
    ),
    "a websocket with a key that is none": websocket(
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + T + b"\r\n"
    ),
    "a websocket with a key that is no text": websocket(
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + T + b"\xfb\r\n"
    ),
    "a websocket that does not ask for the upgrade": get(
        b"Upgrade: websocket\r\nConnection: " + T + b"\r\n", path=b"/socket.io/?EIO=4&transport=websocket"
    ),
    "HTTP/2 by prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + T,
    "a proxy's own protocol": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET /" + T + b" HTTP/1.1\r\n\r\n",
    "an expectation that is no text": get(b"Expect: " + T + b"\xfb\r\n"),
    "a token that a slash divides": get(b"", path=b"/api/rooms/" + T[:40] + b"/" + T[40:]),
    "an origin with a token": b"OPTIONS /health HTTP/1.1\r\nOrigin: http://x/"
    + T[30:]
    + b"\r\n"
    + HOST
    + b"\r\n",
    "a method that the sockets do not know": b"PUT /socket.io/?EIO=4 HTTP/1.1\r\n" + HOST + b"\r\n",
    "the protocol of sockets on another path": get(
        b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n" + T, path=b"/nowhere"
    ),
}


@pytest.fixture(params=["media", "gateway"])
async def url(request: pytest.FixtureRequest, media: MediaServer, gateway: Gateway) -> str:
    """Each of the services in turn."""
    return media.url if request.param == "media" else gateway.url


async def answer_to(url: str, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes, and read the answer until the server closes or its body is there."""
    at = urlsplit(url)
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection(at.hostname, at.port)
        try:
            writer.write(raw)
            head = await reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode().strip().split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            return int(first.split()[1]), headers, head + body
        finally:
            writer.transport.abort()


def envelope(raw: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(raw.partition(b"\r\n\r\n")[2])
    return found


@pytest.mark.parametrize("name", REFUSED)
async def test_whatever_is_refused_gets_the_envelope_and_no_piece_of_a_token(
    url: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        status, headers, raw = await answer_to(url, REFUSED[name])
    assert 400 <= status < 500, raw
    assert headers["content-type"].startswith("application/json"), raw
    found = envelope(raw)
    assert found["success"] is False
    assert found["error"]["code"].isupper()
    assert found["error"]["message"]
    written = raw.decode(errors="replace") + caplog.text
    assert not [piece for piece in PIECES if piece in written], written
    # and the service lives
    assert (await answer_to(url, get(b"Connection: close\r\n")))[0] == 200


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("a header line that is too long", 431, "HEADERS_TOO_LARGE"),
        ("a header name that is too long", 431, "HEADERS_TOO_LARGE"),
        ("more headers than the limit", 431, "HEADERS_TOO_LARGE"),
        ("a head that is too long as a whole", 431, "HEADERS_TOO_LARGE"),
        ("a request line that is too long", 414, "URI_TOO_LONG"),
        ("a method that is none", 400, "INVALID_REQUEST"),
        ("no host", 400, "INVALID_REQUEST"),
    ],
)
async def test_the_answer_to_a_head_that_is_too_long_names_the_limit(
    url: str, name: str, status: int, code: str
) -> None:
    got, _, raw = await answer_to(url, REFUSED[name])
    error = envelope(raw)["error"]
    assert (got, error["code"]) == (status, code)
    if status in (414, 431):
        assert any(character.isdigit() for character in error["message"])


async def test_a_body_that_breaks_off_in_its_coding_gets_the_envelope(url: str) -> None:
    raw = (
        b"POST /api/rooms/c/create HTTP/1.1\r\n"
        + HOST
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + T
        + b"\r\n\r\n"
    )
    status, headers, got = await answer_to(url, raw)
    assert status in (400, 401, 404)
    assert headers["content-type"].startswith("application/json")
    assert not [piece for piece in PIECES if piece.encode() in got]


@pytest.mark.parametrize("page", ["docs", "docs/events"])
async def test_no_page_may_frame_the_documentation(url: str, page: str, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{url}/{page}") as answer:
        assert answer.status == 200
        policy = {one.strip() for one in answer.headers["Content-Security-Policy"].split(";")}
    assert {"frame-ancestors 'none'", "default-src 'none'", "base-uri 'none'", "form-action 'none'"} <= policy


def long_token(chars: int) -> str:
    """A good user's token of exactly so many characters."""
    claims: dict[str, Any] = {
        "sub": "ada",
        "kind": "user",
        "conversations": [{"id": "c1", "type": "GROUP"}],
        "more": "",
    }

    def signed(filling: int) -> str:
        return sign_token(claims | {"more": "x" * filling}, secret=SECRET, now_s=time.time(), lifetime_s=3600)

    guess = (chars - len(signed(0))) * 3 // 4
    return next(made for filling in range(guess - 3, guess + 4) if len(made := signed(filling)) == chars)


def many(count: int = MAX_CONVERSATIONS) -> str:
    """The token of a user in so many conversations, with ids and roles as long as real ones."""
    return sign_user_token(
        secret=SECRET,
        now_s=time.time(),
        lifetime_s=3600,
        user_id="ada",
        conversations=[
            Conversation(f"{n:08x}-58cc-4372-a567-0e02b2c3d479", "GROUP", "moderator") for n in range(count)
        ],
    )


PROMISED = {
    "a thousand conversations": many,
    "32,768 characters": lambda: long_token(32_768),
    "as many characters as are allowed": lambda: long_token(MAX_TOKEN_CHARS),
}


@pytest.mark.parametrize("name", PROMISED)
async def test_a_long_token_opens_the_gateway_by_header(
    gateway: Gateway, http: aiohttp.ClientSession, name: str
) -> None:
    token = PROMISED[name]()
    conversation = "00000000-58cc-4372-a567-0e02b2c3d479" if "thousand" in name else "c1"
    url = f"{gateway.url}/api/conversations/{conversation}/active-call"
    async with http.get(url, headers={"Authorization": f"Bearer {token}"}) as answer:
        assert answer.status == 200, await answer.text()


@pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]], ids="+".join)
@pytest.mark.parametrize("name", PROMISED)
async def test_a_long_token_opens_the_gateway_by_socket(
    gateway: Gateway, name: str, transports: list[str]
) -> None:
    token = PROMISED[name]()
    client = socketio.AsyncClient(reconnection=False)
    try:
        await client.connect(
            gateway.url, auth={"token": token}, transports=transports, wait_timeout=DEADLINE_S
        )
        # and again in mid-connection
        answer = await client.call("authenticate", {"token": token}, timeout=DEADLINE_S)
        assert answer["success"], answer
    finally:
        await client.disconnect()


async def test_the_polling_handshake_waits_for_all_of_a_long_token(gateway: Gateway) -> None:
    """A body arrives in pieces; what is there first is not all."""
    at = urlsplit(gateway.url)
    async with aiohttp.ClientSession() as http:
        path = f"{gateway.url}/socket.io/?EIO=4&transport=polling"
        async with http.get(path) as opened:
            sid = json.loads((await opened.text())[1:])["sid"]
        body = f"40{json.dumps({'token': long_token(32_768)})}".encode()
        reader, writer = await asyncio.open_connection(at.hostname, at.port)
        writer.write(
            f"POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n"
            f"Content-Type: text/plain\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        for start in range(0, len(body), 4096):
            writer.write(body[start : start + 4096])
            await writer.drain()
            await asyncio.sleep(0.005)
        async with asyncio.timeout(DEADLINE_S):
            assert b"200" in await reader.readline()
        writer.close()
        async with http.get(f"{path}&sid={sid}") as polled:
            welcome = await polled.text()
        assert '40{"sid"' in welcome, welcome


async def test_a_token_beyond_the_limit_is_refused_in_the_same_words_everywhere(
    gateway: Gateway, media: MediaServer, http: aiohttp.ClientSession
) -> None:
    token = long_token(MAX_TOKEN_CHARS + 4)
    told = set()
    for url in (f"{gateway.url}/api/calls/x", f"{media.url}/api/rooms/x"):
        async with http.get(url, headers={"Authorization": f"Bearer {token}"}) as answer:
            body = await answer.json()
            assert (answer.status, body["error"]["code"]) == (401, "UNAUTHORIZED")
            told.add(body["error"]["message"])
    for url in (gateway.url, media.url):
        client = socketio.AsyncClient(reconnection=False)
        heard: list[Any] = []
        client.on("connect_error", lambda data, heard=heard: heard.append(data))
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.connect(url, auth={"token": token}, transports=["websocket"])
        assert heard[0]["data"]["code"] == "UNAUTHORIZED"
        told.add(heard[0]["message"])
    assert len(told) == 1
    assert f"{MAX_TOKEN_CHARS:,}" in told.pop()


def mutated(chance: random.Random) -> bytes:
    """One of the requests above with a few changes anywhere in it."""
    raw = chance.choice([request for request in REFUSED.values() if len(request) < 2000])
    pieces = [
        T,
        b"\r\n",
        b"\n",
        b"\r",
        b"\x00",
        b" ",
        b":",
        b"\xff",
        b"/",
        b"?",
        b"[",
        b"]",
        b"%",
        b"\t",
        b"http://",
    ]
    headers = [
        b"Transfer-Encoding: chunked",
        b"Content-Length: 5",
        b"Upgrade: websocket\r\nConnection: Upgrade",
        b"Expect: ",
    ]
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(raw) + 1)
        match chance.randrange(5):
            case 0:
                raw = raw[:at] + chance.choice(pieces) + raw[at:]
            case 1:
                raw = raw[:at] + raw[at + chance.randint(1, 8) :]
            case 2:
                lines = raw.split(b"\r\n")
                lines.insert(1, chance.choice([*headers, chance.choice(lines)]) + chance.choice([b"", T]))
                raw = b"\r\n".join(lines)
            case 3:
                raw += raw
            case _:
                raw = raw[:at] + bytes([chance.randrange(256)]) + raw[at + 1 :]
    return raw


async def first_bytes(url: str, raw: bytes) -> bytes:
    """What a request is answered with; nothing, if it is only the beginning of one."""
    at = urlsplit(url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    try:
        writer.write(raw)
        async with asyncio.timeout(1):
            return await reader.read(65_536)
    except (TimeoutError, ConnectionError):
        return b""
    finally:
        writer.transport.abort()


async def test_no_mutated_request_gets_a_piece_of_a_token_back(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    seed = int(os.environ.get("MEESHY_TEST_SEED", time.time()))
    print(f"MEESHY_TEST_SEED={seed}")
    chance = random.Random(seed)
    answers = 0
    gc.collect()  # what an earlier test left behind complains now, and not in here
    caplog.clear()
    with caplog.at_level(logging.INFO):
        for _ in range(20):
            batch = [mutated(chance) for _ in range(20)]
            for raw, got in zip(
                batch, await asyncio.gather(*(first_bytes(url, raw) for raw in batch)), strict=True
            ):
                text = got.decode("latin-1")
                answers += text.startswith("HTTP/")
                assert not [piece for piece in PIECES if piece in text], (raw, got)
                assert " 500 " not in text.partition("\r\n")[0], (raw, got, caplog.text)
                if text.startswith("HTTP/1.1 4"):
                    assert "\r\nContent-Type: application/json" in text, (raw, got)
    assert answers > 200
    assert not [piece for piece in PIECES if piece in caplog.text], caplog.text
    assert "Traceback" not in caplog.text, caplog.text
    assert (await answer_to(url, get(b"Connection: close\r\n")))[0] == 200


PACKETS = [
    *(
        f"{kind}{CANARY}"
        for kind in ("4", "41/", "42", "43", "44", "45", "451-", "2", "3", "5", "6", "9", "")
    ),
    *(f'42["{event}",{{"token":"{CANARY}"}}]' for event in ("authenticate", "refresh-token", CANARY)),
    f'42["{CANARY}"]',
    f'421["authenticate",{{"token":"{CANARY}"}}]',
    f'40{{"token":"{CANARY}"}}',
    f'42/{CANARY},["x"]',
    f'42["join-room",{{"callId":"{CANARY}","participantId":"p"}}]',
    f'42["call:join",{{"callId":"{CANARY}"}}]',
    f'42["call:signal",{{"callId":"{CANARY}","signal":{{"type":"{CANARY}"}}}}]',
    f'421["call:media-token",{{"callId":"{CANARY}","{CANARY}":1}}]',
]


async def answers_to_packet(http: aiohttp.ClientSession, url: str, token: str, packet: str) -> str:
    """All that a connection with a good token receives after a packet, for a while."""
    heard = ""
    async with http.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket") as socket:
        await socket.send_str(f"40{json.dumps({'token': token})}")
        while not heard.startswith('40{"sid"'):
            heard = str((await socket.receive(timeout=DEADLINE_S)).data)
        await socket.send_str(packet)
        try:
            while (message := await socket.receive(timeout=0.5)).type == aiohttp.WSMsgType.TEXT:
                heard += str(message.data)
        except TimeoutError:
            return heard
        return f"{heard}{message.extra}"


async def test_no_packet_gets_a_piece_of_a_token_back(
    url: str, media: MediaServer, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = time.time()
    token = (
        sign_media_token(secret=SECRET, now_s=now_s, lifetime_s=60, call_id="c", participant_id="p")
        if url == media.url
        else sign_user_token(secret=SECRET, now_s=now_s, lifetime_s=60, user_id="ada", conversations=[])
    )
    with caplog.at_level(logging.INFO):
        heard = await asyncio.gather(*(answers_to_packet(http, url, token, packet) for packet in PACKETS))
    for packet, answer in zip(PACKETS, heard, strict=True):
        assert not [piece for piece in PIECES if piece in answer], (packet, answer)
    assert not [piece for piece in PIECES if piece in caplog.text], caplog.text

"""What is fuzzed: a reader of outside input, inputs for it, and what holds whatever they are."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from meeshy_sfu.edge.auth import TokenRules, bearer
from meeshy_sfu.edge.json_body import json_bytes, parse_object
from meeshy_sfu.edge.token_signing import sign_media_token, sign_user_token
from meeshy_sfu.edge.wire import WireModel, read
from meeshy_sfu.errors import (
    ForbiddenError,
    InvalidRequestError,
    InvalidSignalError,
    PayloadTooLargeError,
    PermissionDeniedError,
    UnauthorizedError,
    UnsupportedCodecError,
)
from meeshy_sfu.gateway.turn.ice_servers import IceServerError, parse_server, server_address
from meeshy_sfu.gateway.wire import signals
from meeshy_sfu.gateway.wire.auth import Conversation, read_user_token
from meeshy_sfu.gateway.wire.messages import EVENTS as GATEWAY_EVENTS
from meeshy_sfu.media import ortc
from meeshy_sfu.media.codecs import DEFAULT_MEDIA_CODECS
from meeshy_sfu.media.rtp_parameters import DtlsParameters, RtpCapabilities, RtpParameters, read_media_codecs
from meeshy_sfu.names import name_problem
from meeshy_sfu.server import schemas as media_schemas
from meeshy_sfu.server.auth import read_token
from meeshy_sfu.server.messages import EVENTS as MEDIA_EVENTS
from simulator.client import sdp as simulated
from simulator.errors import SdpError
from tests.fuzz.inputs import Make, Source, any_of, changed, changed_text
from tests.unit.gateway.wire.test_signals import CANDIDATES
from tests.unit.gateway.wire.test_signals import CHROMIUM as CHROMIUM_SDP
from tests.unit.media.recordings import CHROMIUM

SECRET = "the-secret-of-all-these-tokens-here"
NOW_S = 1_800_000_000.0
CPU_MAX_S = 1.0
"""No input of the sizes that get this far may take longer, on however slow a machine."""
SDP = Path(__file__).parents[1] / "data" / "sdp"
AIORTC_SDP = [
    (SDP / name).read_text().replace("\r\n", "\n").replace("\n", "\r\n")
    for name in ("aiortc_offer.sdp", "aiortc_answer.sdp")
]
RTP = [track.get("rtpParameters", track) for track in CHROMIUM["produce"].values()]
CAPABILITIES = [CHROMIUM["recvRtpCapabilities"]]
ROUTER = ortc.router_capabilities(DEFAULT_MEDIA_CODECS)
CONSUMABLE = []
for _track in RTP:
    with suppress(UnsupportedCodecError, InvalidRequestError):
        _read = RtpParameters.from_wire(_track)
        _kind = _read.codecs[0].kind
        _mapped, _mapping = ortc.producer_mapping(
            ortc.check_producible(_kind, _read), ROUTER, first_mapped_ssrc=1
        )
        CONSUMABLE.append(ortc.consumable_parameters(_kind, _mapped, ROUTER, _mapping))


@dataclass(frozen=True, slots=True)
class Target:
    """One reader."""

    make: Make
    check: Callable[[Any], None]

    def run(self, value: Any) -> None:
        """Check one input, and that it took no long time."""
        begun_s = time.thread_time()
        self.check(value)
        taken_s = time.thread_time() - begun_s
        assert taken_s < CPU_MAX_S, f"{taken_s:.2f} s for {str(value)[:200]!r}"


def description(text: str) -> None:
    try:
        signals.check_description(text, max_bytes=50_000)
    except InvalidSignalError as error:
        assert error.path == "signal.sdp"
        assert len(error.message) < 200
    else:
        text.encode()  # what passes is Unicode, and the same lines to every parser
        assert [line for line in text.splitlines() if line] == [
            line for line in text.replace("\r\n", "\n").split("\n") if line
        ]
    try:
        parsed = simulated.parse(text)
    except SdpError:
        return
    assert parsed.sections


def candidate(text: str) -> None:
    with suppress(InvalidSignalError):
        signals.check_candidate(text, max_bytes=1024)
        assert text.isascii()
    try:
        parsed = simulated.parse_candidate(text)
    except SdpError:
        return
    assert parsed is None or parsed["port"] >= 0


def rtp_parameters(value: Any) -> None:
    try:
        parameters = RtpParameters.from_wire(value)
    except InvalidRequestError as error:
        assert error.path.startswith("rtpParameters")
        return
    assert RtpParameters.from_wire(json.loads(json.dumps(parameters.to_wire()))) == parameters
    for kind in ("audio", "video"):
        try:
            checked = ortc.check_producible(kind, parameters)
            mapped, mapping = ortc.producer_mapping(checked, ROUTER, first_mapped_ssrc=2**32 - 2)
        except (InvalidRequestError, UnsupportedCodecError):
            continue
        consumable = ortc.consumable_parameters(kind, mapped, ROUTER, mapping)
        assert ortc.stream_type(consumable) in ("simple", "simulcast", "svc")
        if ortc.can_consume(consumable, ROUTER):
            template = ortc.consumer_template(consumable, ROUTER)
            consumer = ortc.consumer_parameters(template, ssrc=5, mid="0")
            assert RtpParameters.from_wire(json.loads(json.dumps(consumer.to_wire()))) == consumer


def rtp_capabilities(value: Any) -> None:
    try:
        capabilities = RtpCapabilities.from_wire(value)
    except InvalidRequestError as error:
        assert error.path.startswith("rtpCapabilities")
        return
    assert RtpCapabilities.from_wire(json.loads(json.dumps(capabilities.to_wire()))) == capabilities
    for consumable in CONSUMABLE:
        if ortc.can_consume(consumable, capabilities):
            ortc.consumer_template(consumable, capabilities)
        else:
            with suppress(UnsupportedCodecError):
                ortc.consumer_template(consumable, capabilities)


def media_codecs(value: Any) -> None:
    try:
        codecs = read_media_codecs(value)
        made = None if codecs is None else ortc.router_capabilities(codecs)
    except (InvalidRequestError, UnsupportedCodecError):
        return
    if made is not None:
        numbers = [codec.preferred_payload_type for codec in made.codecs]
        assert len(set(numbers)) == len(numbers)
        assert RtpCapabilities.from_wire(json.loads(json.dumps(made.to_wire()))) == made


def dtls_parameters(value: Any) -> None:
    with suppress(InvalidRequestError):
        parameters = DtlsParameters.from_wire(value)
        assert DtlsParameters.from_wire(json.loads(json.dumps(parameters.to_wire()))) == parameters


def token(text: Any) -> None:
    for reader in (read_token, read_user_token):
        try:
            reader(text, TokenRules(secret=SECRET), now_s=NOW_S)
        except UnauthorizedError as error:
            said = f"{error.message} {error.details}"
            assert len(said) < 400
            parts = text.split(".") if isinstance(text, str) else []
            assert not [part for part in parts if len(part) > 12 and part[:12] in said]
    if isinstance(text, str):
        bearer(text)
        bearer(f"Bearer {text}")


def claims(value: Any) -> None:
    try:
        written = json.dumps(value).encode()
    except UnicodeEncodeError:
        return
    signed = jwt.api_jws.encode(written, SECRET, algorithm="HS256")
    token(signed)
    with suppress(UnauthorizedError):
        user = read_user_token(signed, TokenRules(secret=SECRET), now_s=NOW_S)
        assert name_problem(user.username) is None
        assert NOW_S < user.expires_at_s < NOW_S + 400 * 86_400
        made = sign_user_token(
            secret=SECRET,
            now_s=NOW_S,
            lifetime_s=60,
            user_id=user.id,
            username=user.username,
            conversations=user.conversations.values(),
            anonymous=user.anonymous,
        )
        again = read_user_token(made, TokenRules(secret=SECRET), now_s=NOW_S)
        assert (again.key, again.conversations) == (user.key, user.conversations)
        with suppress(PermissionDeniedError, ForbiddenError):
            user.call_type("c1")
    with suppress(UnauthorizedError):
        found = read_token(signed, TokenRules(secret=SECRET), now_s=NOW_S)
        assert not {"kind", "conversations"} & value.keys() or "meeshy-media" in value["aud"]
        assert name_problem(found.subject, max_chars=256) is None
        with suppress(ForbiddenError):
            found.require_call("c1")


def ice_server(text: str) -> None:
    try:
        urls = parse_server(text)
    except IceServerError as error:
        assert len(str(error)) < 600
        return
    for url in urls:
        assert url.isascii()
        assert parse_server(url) == (url,)
        assert 0 < server_address(url).port < 65536


MODELS: list[type[WireModel]] = sorted(
    {event.request for event in (*GATEWAY_EVENTS.client.values(), *MEDIA_EVENTS.client.values())}
    | {
        model
        for name, model in vars(media_schemas).items()
        if isinstance(model, type) and issubclass(model, WireModel) and name.endswith("Request")
    },
    key=lambda model: model.__name__,
)
BODIES = [
    {"callId": "c", "participantId": "p", "participantIds": ["p"], "token": "a.b.c", "consumerId": "x", "producerId": "y"},
    {"participantId": "p", "kind": "video", "rtpParameters": RTP[0], "appData": {"source": "camera"}, "paused": False},
    {"participantId": "p", "dtlsParameters": CHROMIUM["connect"]["dtlsParameters"], "role": "auto"},
    {"participantId": "p", "producerIds": ["y"], "rtpCapabilities": CAPABILITIES[0], "spatialLayer": 1, "temporalLayer": 1},
    {"callId": "c", "signal": {"type": "offer", "from": "p", "to": "q", "sdp": CHROMIUM_SDP, "epoch": 4}},
    {"callId": "c", "signal": {"type": "ice-candidate", "to": "q", "candidate": {"candidate": CANDIDATES[0], "sdpMid": "0"}}},
    {"conversationId": "c", "type": "video", "settings": {"audioEnabled": True}, "expectedParticipants": 3, "epoch": 1},
    {"callId": "c", "enabled": True, "audioEnabled": True, "videoEnabled": None, "mode": "sfu", "success": False, "error": "x"},
]  # fmt: skip


def body(value: tuple[type[WireModel], Any]) -> None:
    model, content = value
    with suppress(InvalidRequestError):
        read(model, content)


def name(text: str) -> None:
    problem = name_problem(text)
    if problem is None:
        text.encode()
        assert text.strip()
    else:
        assert problem.isprintable()


def json_text(text: bytes) -> None:
    with suppress(InvalidRequestError, PayloadTooLargeError):
        found = parse_object(text, max_depth=32)
        if "Infinity" not in json.dumps(found):  # 1e999, which each field refuses by its path
            assert parse_object(json_bytes(found), max_depth=32) == found


GOOD_CLAIMS: list[dict[str, Any]] = [
    {
        "aud": "meeshy-gateway",
        "sub": "ada",
        "username": "Ada",
        "kind": "user",
        "conversations": [{"id": "c1", "type": "GROUP", "role": "admin"}],
        "iat": NOW_S,
        "nbf": NOW_S,
        "exp": NOW_S + 60,
    },
    {"aud": "meeshy-media", "sub": "ada", "role": "a", "callId": "c", "participantId": "p", "iat": NOW_S, "exp": NOW_S + 60},
    {"sub": "gateway", "role": "service", "iat": NOW_S, "exp": NOW_S + 60},
]  # fmt: skip
GOOD_TOKENS = [
    sign_media_token(secret=SECRET, now_s=NOW_S, lifetime_s=60, call_id="c1", participant_id="p"),
    sign_user_token(
        secret=SECRET, now_s=NOW_S, lifetime_s=60, user_id="ada", conversations=[Conversation("c1", "GROUP")]
    ),
]
SERVERS = [
    "turn:turn.example.org:3478?transport=udp",
    "TURNS:[2001:db8::7]:5349?transport=TCP",
    "stun:192.0.2.7",
    "turn.example.org:3478",
]


def some_bytes(source: Source) -> bytes:
    if source.happens(3):
        return bytes(source.number(0, 255) for _ in range(source.number(0, 40)))
    text: str = changed_text([json.dumps(body) for body in BODIES], lines=False)(source)
    return text.encode("utf-8", "surrogatepass")


TARGETS: dict[str, Target] = {
    "session descriptions": Target(changed_text([CHROMIUM_SDP, *AIORTC_SDP]), description),
    "candidates": Target(changed_text(CANDIDATES, lines=False), candidate),
    "rtpParameters": Target(changed(RTP), rtp_parameters),
    "rtpCapabilities": Target(changed([*CAPABILITIES, ROUTER.to_wire()]), rtp_capabilities),
    "mediaCodecs": Target(changed([[codec.to_wire() for codec in DEFAULT_MEDIA_CODECS]]), media_codecs),
    "dtlsParameters": Target(changed([CHROMIUM["connect"]["dtlsParameters"]]), dtls_parameters),
    "tokens": Target(any_of(changed_text(GOOD_TOKENS, lines=False), lambda source: source.junk()), token),
    "claims of tokens": Target(changed(GOOD_CLAIMS), claims),
    "ICE servers": Target(changed_text(SERVERS, lines=False), ice_server),
    "bodies and events": Target(lambda source: (source.pick(MODELS), changed(BODIES)(source)), body),
    "JSON": Target(some_bytes, json_text),
    "names": Target(lambda source: source.text(), name),
}

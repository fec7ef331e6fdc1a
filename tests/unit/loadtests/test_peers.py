"""Other media servers: their SDP as transport parameters of native bots and back, and the options of the command."""

from __future__ import annotations

import numpy as np
import pytest

from loadtests.peers.__main__ import main, parser, peer_of
from loadtests.peers.descriptions import (
    accepted,
    publish_offer,
    receive_offer,
    server_transport,
    streams_of,
    subscribe_answer,
)
from loadtests.peers.whip import Endpoints, Whip
from simulator.bots.native import ROW_DTYPE, owned
from simulator.bots.pool_wire import LocalTransport
from simulator.client.media_server import Json
from simulator.client.sdp import Section, parse
from simulator.errors import SdpError, UsageError

LOCAL: LocalTransport = {
    "dtls": {"role": "client", "fingerprints": [{"algorithm": "sha-256", "value": "AA:BB"}]},
    "ice": {"usernameFragment": "abcd", "password": "p" * 24},
    "address": "127.0.0.1",
    "port": 5000,
}
AUDIO: Json = {
    "mid": "0",
    "codecs": [{"mimeType": "audio/opus", "payloadType": 100, "clockRate": 48000, "channels": 2}],
    "headerExtensions": [],
    "encodings": [{"ssrc": 7}],
}


def test_offer_says_sendonly_active_and_the_bots_ssrc() -> None:
    """A bot offers what it sends: its SSRC, its address, and that it begins DTLS."""
    text = publish_offer(LOCAL, [Section("audio", AUDIO)])
    assert "a=sendonly" in text
    assert "a=sendrecv" not in text
    offer = parse(text)
    assert (offer.setup, offer.candidates[0]["port"]) == ("active", 5000)
    assert offer.sections[0].parameters["encodings"] == [{"ssrc": 7}]


def test_answer_accepts_by_the_numbers_of_the_offer_and_sends_nothing() -> None:
    """An answer repeats mid and payload type, and names no SSRC."""
    offer = parse(publish_offer(LOCAL, [Section("audio", {**AUDIO, "mid": "a5"})]))
    text = subscribe_answer(LOCAL, offer)
    assert "a=recvonly" in text
    assert "a=ssrc" not in text
    section = parse(text).sections[0].parameters
    assert (section["mid"], section["codecs"][0]["payloadType"]) == ("a5", 100)


def test_server_transport_has_its_ice_dtls_and_whether_it_is_lite() -> None:
    """The server's description becomes the parameters that a bot connects with."""
    text = publish_offer(LOCAL, [Section("audio", AUDIO)]).replace("a=setup:active", "a=setup:passive")
    transport = server_transport(text.replace("t=0 0", "t=0 0\r\na=ice-lite"), LOCAL)
    assert transport["iceParameters"] == {**LOCAL["ice"], "iceLite": True}
    assert transport["dtlsParameters"]["role"] == "server"
    assert not server_transport(text, LOCAL)["iceParameters"]["iceLite"]


def test_a_server_that_wants_to_begin_dtls_or_has_no_address_is_refused() -> None:
    """Native bots begin DTLS and need a UDP candidate."""
    text = publish_offer(LOCAL, [Section("audio", AUDIO)])
    with pytest.raises(SdpError, match="setup:active"):
        server_transport(text, LOCAL)
    passive = text.replace("a=setup:active", "a=setup:passive")
    bare = "\r\n".join(line for line in passive.split("\r\n") if not line.startswith("a=candidate"))
    with pytest.raises(SdpError, match="candidate"):
        server_transport(bare, LOCAL)


def test_candidates_of_another_address_family_are_left_out() -> None:
    """A bot's socket is of one family; a server with none of it is refused."""
    text = publish_offer(LOCAL, [Section("audio", AUDIO)]).replace("a=setup:active", "a=setup:passive")
    six = text.replace("127.0.0.1 5000 typ", "::1 5000 typ")
    with pytest.raises(SdpError, match="IPv4"):
        server_transport(six, LOCAL)
    line = next(line for line in six.split("\r\n") if line.startswith("a=candidate"))
    both = text.replace("a=candidate", f"{line}\r\na=candidate", 1)
    found = server_transport(both, LOCAL)["iceCandidates"]
    assert [candidate["address"] for candidate in found] == ["127.0.0.1"]


def test_an_offer_to_receive_names_no_ssrc_and_no_stream() -> None:
    """WHEP: the server says what it sends."""
    text = receive_offer(LOCAL, [Section("audio", AUDIO)])
    assert "a=recvonly" in text
    assert "a=ssrc" not in text
    assert "a=msid:" not in text


def test_an_offer_to_publish_is_one_media_stream() -> None:
    """RFC 9725 §4.3: all tracks are of one."""
    video = {
        **AUDIO,
        "mid": "1",
        "codecs": [{"mimeType": "video/VP8", "payloadType": 101, "clockRate": 90000}],
    }
    text = publish_offer(LOCAL, [Section("audio", AUDIO), Section("video", video)])
    assert [line.split()[0] for line in text.split("\r\n") if line.startswith("a=msid:")] == [
        "a=msid:bot"
    ] * 2


def test_an_answer_without_a_stream_or_with_other_numbers_is_refused() -> None:
    """Bots send by the numbers of their offer, and tell received streams apart by SSRC."""
    sections = [Section("audio", AUDIO)]
    answer = parse(publish_offer(LOCAL, sections))
    accepted(answer, sections)
    other = parse(publish_offer(LOCAL, sections).replace("100", "96"))
    with pytest.raises(SdpError, match="payload type 100, but the answer says 96"):
        accepted(other, sections)
    video = Section("video", AUDIO)
    with pytest.raises(SdpError, match="no video"):
        accepted(answer, [video])
    assert [s.parameters["encodings"] for s in streams_of(answer, sections)] == [[{"ssrc": 7}]]
    with pytest.raises(SdpError, match="a=ssrc"):
        streams_of(parse(receive_offer(LOCAL, sections)), sections)
    with pytest.raises(SdpError, match="no video"):
        streams_of(answer, [video])


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("--peer whip", "--whip and --whep"),
        ("--peer whip --whip http://a/x --whep http://a/y", "{stream}"),
        ("--peer whip --whip http://a/{stream} --whep http://a/y", "--whep has no {stream}"),
        ("--peer whip --whip ftp://a/{stream} --whep http://a/{stream}", "no address of HTTP"),
        ("--peer whip --server ws://a --whip http://a/{stream} --whep http://a/{stream}", "has no --server"),
        (
            "--peer whip --stream-prefix a/b --whip http://a/{stream} --whep http://a/{stream}",
            "--stream-prefix",
        ),
        ("--peer janus --whip http://a/{stream}", "--whip belongs to --peer whip"),
        ("--peer mediasoup --whep http://a/{stream}", "--whep belongs to --peer whip"),
        ("--peer whip --whip http://a/x --whep http://a/y --senders 2", "2 senders would share one stream"),
    ],
)
def test_options_that_do_not_belong_together_are_refused(
    arguments: str, error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong usage ends with 2 and a sentence that names the option."""
    assert main(arguments.split()) == 2
    assert error in capsys.readouterr().err


def test_one_sender_needs_no_place_for_its_name() -> None:
    """A broadcast has one stream, whose address is as it is."""
    given = parser().parse_args(
        ["--peer", "whip", "--whip", "http://a/x", "--whep", "http://a/y", "--senders", "1"]
    )
    assert isinstance(peer_of(given), Whip)


def test_a_token_is_in_no_text_of_the_endpoints() -> None:
    """Errors and logs may print them."""
    assert "secret" not in repr(Endpoints("http://a", "http://a", "secret"))


def test_streams_of_a_bot_that_receives_for_another_are_counted_as_its_owners() -> None:
    """Only the receiver changes; rows of others stay as they are."""
    rows = np.zeros(3, ROW_DTYPE)
    rows["bot"], rows["sender"] = [1, 7, 8], [7, 2, 3]
    mapped = owned(rows, "bot", {7: 1, 8: 0})
    assert mapped["bot"].tolist() == [1, 1, 0]
    assert mapped["sender"].tolist() == [7, 2, 3]
    assert rows["bot"].tolist() == [1, 7, 8]
    with pytest.raises(UsageError):
        Endpoints("x", "y").check(1)

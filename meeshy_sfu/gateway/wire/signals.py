"""Signals of two peers who connect directly: session descriptions and candidates, checked before they are relayed.

Pure. A description must be SDP (RFC 8866) as WebRTC writes it (RFC 8829), with ICE and DTLS; anything else never reaches
the peer's parser. Who may send a signal to whom is decided by `calls`; its meaning is up to the peers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from meeshy_sfu.errors import InvalidSignalError
from meeshy_sfu.gateway.wire.messages import CandidateBody, RelayedCandidate, RelayedSignal

if TYPE_CHECKING:
    from meeshy_sfu.config import Settings
    from meeshy_sfu.gateway.wire.messages import Signal

LINES_MAX = 2000
LINE_CHARS_MAX = 2000
SECTIONS_MAX = 64

WORD = r"[!#$%&'*+\-.^_`{|}~0-9A-Za-z]+"
LINE = re.compile(r"([a-z])=([^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]*)")
"""Without anything that some parser takes for the end of a line: that would be a way to slip lines in."""
MEDIA = re.compile(rf"{WORD} (\d{{1,5}})(?:/\d{{1,3}})? ({WORD}(?:/{WORD})*)((?: {WORD})+)", re.ASCII)
ATTRIBUTE = re.compile(rf"({WORD})(?::(.+))?")
ORIGIN = re.compile(r"\S+ \d{1,20} \d{1,20} IN IP[46] \S+", re.ASCII)
CANDIDATE = re.compile(
    r"(?:candidate:)?[A-Za-z0-9+/]{1,32} (\d{1,3}) [A-Za-z-]{1,10} (\d{1,10}) "
    rf"([0-9A-Za-z.:-]{{1,253}}) (\d{{1,5}}) typ (?:host|srflx|prflx|relay)((?: {WORD} [!-~]+)*)",
    re.ASCII,
)
ICE_CHARS = "[A-Za-z0-9+/]"
CHECKED_ATTRIBUTES = {
    "ice-ufrag": re.compile(rf"{ICE_CHARS}{{4,256}}"),
    "ice-pwd": re.compile(rf"{ICE_CHARS}{{22,256}}"),
    "fingerprint": re.compile(rf"{WORD} [0-9A-Fa-f]{{2}}(?::[0-9A-Fa-f]{{2}}){{15,63}}"),
    "setup": re.compile("active|passive|actpass|holdconn"),
}
SESSION_LETTERS = frozenset("vosiuepcbtrzka")
SECTION_LETTERS = frozenset("micbka")
NEEDED = ("fingerprint", "ice-ufrag", "ice-pwd")
"""What the first section of a group, or the whole description, must hold; the others may lean on it (RFC 9143)."""
SECURED = ("TLS", "DTLS")
PLAIN_PROFILES = frozenset(("RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF"))
"""What some write and mean DTLS: RFC 8829 §5.1.2 has them accepted, as the fingerprint alone decides."""


def relayed(signal: Signal, settings: Settings, *, sender: str) -> RelayedSignal:
    """Return what is passed on of a signal: only what belongs to its type.

    Raises:
        InvalidSignalError: It lacks what its type needs, is too large, or malformed; the path names the field.
    """
    sdp: str | None = None
    candidate: str | RelayedCandidate | None = None
    if signal.type == "ice-candidate":
        candidate = _candidate(signal.candidate, max_bytes=settings.max_candidate_bytes)
    else:
        if not signal.sdp:
            raise InvalidSignalError("is missing", path="signal.sdp")
        check_description(signal.sdp, max_bytes=settings.max_sdp_bytes)
        sdp = signal.sdp
    return RelayedSignal(
        type=signal.type,
        sender=sender,
        to=signal.to,
        sdp=sdp,
        candidate=candidate,
        sdp_mid=signal.sdp_mid,
        sdp_m_line_index=signal.sdp_m_line_index,
        username_fragment=signal.username_fragment,
        epoch=signal.epoch,
    )


def _candidate(candidate: str | CandidateBody | None, *, max_bytes: int) -> str | RelayedCandidate:
    if candidate is None:
        raise InvalidSignalError("is missing", path="signal.candidate")
    text = candidate if isinstance(candidate, str) else candidate.candidate
    check_candidate(text, max_bytes=max_bytes)
    return text if isinstance(candidate, str) else RelayedCandidate(**dict(candidate))


def check_candidate(text: str, *, max_bytes: int) -> None:
    """Check an ICE candidate (RFC 8839 §5.1), with or without ``a=candidate:``; an empty one says that no more come.

    Raises:
        InvalidSignalError: It is none.
    """
    path = "signal.candidate"
    if _size(text) > max_bytes:
        raise InvalidSignalError(f"is larger than {max_bytes} bytes", path=path)
    if text and not _is_candidate(text.removeprefix("a=")):
        raise InvalidSignalError(
            "is no ICE candidate; write candidate:<foundation> <component> <protocol> <priority> <address> <port> "
            "typ <type>, or nothing when there are no more",
            path=path,
        )


def check_description(text: str, *, max_bytes: int) -> None:
    """Check a session description.

    Raises:
        InvalidSignalError: It is none that WebRTC would write; the message names the line.
    """
    if _size(text) > max_bytes:
        raise InvalidSignalError(f"is larger than {max_bytes} bytes", path="signal.sdp")
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    if len(lines) > LINES_MAX:
        raise InvalidSignalError(f"has more than {LINES_MAX} lines", path="signal.sdp")
    opening, session, sections = "", _Section(port=1), list[_Section]()
    for number, line in enumerate(lines, start=1):
        letter, value = _split(number, line)
        if letter == "m":
            sections.append(_Section(port=_check_section(number, value)))
        elif letter not in (SECTION_LETTERS if sections else SESSION_LETTERS):
            raise _wrong(number, f"{letter}= does not belong here")
        if not sections:
            opening += letter
            _check_opening(number, opening, value)
        if letter == "a":
            (sections[-1] if sections else session).note(*_check_attribute(number, value))
    if len(sections) > SECTIONS_MAX:
        raise InvalidSignalError(f"has more than {SECTIONS_MAX} media sections", path="signal.sdp")
    missing = _missing(opening, session, sections)
    if missing:
        raise InvalidSignalError(f"is no session description: lacks {missing}", path="signal.sdp")


@dataclass(slots=True)
class _Section:
    """What of a media section decides whether it is secured; or of the lines above all of them."""

    port: int
    names: set[str] = field(default_factory=set)
    mid: str = ""
    groups: list[list[str]] = field(default_factory=list)
    """The mids of each BUNDLE group; only above the sections."""

    def note(self, name: str, value: str) -> None:
        """Take note of an attribute."""
        self.names.add(name)
        if name == "mid":
            self.mid = value
        elif name == "group" and value.startswith("BUNDLE "):
            self.groups.append(value.split(" ")[1:])

    @property
    def is_used(self) -> bool:
        """Whether it is not rejected; a section of a bundle alone has no port either (RFC 9143 §6)."""
        return self.port != 0 or "bundle-only" in self.names


def _size(text: str) -> int:
    """Count the bytes; half a surrogate pair, which no UTF-8 could hold, is for the lines' check to refuse."""
    return len(text.encode("utf-8", "surrogatepass"))


def _split(number: int, line: str) -> tuple[str, str]:
    if len(line) > LINE_CHARS_MAX:
        raise _wrong(number, f"is longer than {LINE_CHARS_MAX} characters")
    match = LINE.fullmatch(line)
    if match is None:
        raise _wrong(number, "is no letter, equals sign and text")
    return match[1], match[2]


def _check_opening(number: int, letters: str, value: str) -> None:
    """Check that a description begins with v=0, o= and s=."""
    if not "vos".startswith(letters[:3]) or letters.count("v") + letters.count("o") + letters.count("s") > 3:
        raise _wrong(number, "a description begins with v=, o= and s=, once each")
    if letters == "v" and value != "0":
        raise _wrong(number, "the version must be 0")
    if letters == "vo" and not ORIGIN.fullmatch(value):
        raise _wrong(number, "o= must be <user> <session> <version> IN IP4|IP6 <address>")


def _check_section(number: int, value: str) -> int:
    """Check an m= line and return its port, 0 for a rejected section."""
    match = MEDIA.fullmatch(value)
    if match is None or int(match[1]) > 65535:
        raise _wrong(number, "m= must be <media> <port> <protocol> <format> …")
    if match[2] not in PLAIN_PROFILES and not set(match[2].split("/")) & set(SECURED):
        raise _wrong(number, "its protocol is none of those that mean DTLS (RFC 8829 §5.1.2)")
    return int(match[1])


def _check_attribute(number: int, value: str) -> tuple[str, str]:
    """Check an a= line and return its name and value."""
    match = ATTRIBUTE.fullmatch(value)
    if match is None:
        raise _wrong(number, "a= must be <name> or <name>:<value>")
    name, content = match[1], match[2] or ""
    if name == "crypto":
        raise _wrong(number, "keys are agreed on by DTLS, not told (RFC 8827 §6.5)")
    if name == "candidate" and not _is_candidate(content):
        raise _wrong(number, "is no ICE candidate")
    expected = CHECKED_ATTRIBUTES.get(name)
    if expected is not None and not expected.fullmatch(content):
        raise _wrong(number, f"is no valid a={name}")
    return name, content


def _is_candidate(text: str) -> bool:
    match = CANDIDATE.fullmatch(text)
    return (
        match is not None and 1 <= int(match[1]) <= 256 and int(match[2]) < 2**32 and int(match[4]) <= 65535
    )


def _missing(opening: str, session: _Section, sections: list[_Section]) -> str:
    """Say what is missing: above the sections, or in the first used one that neither has it nor leans on one that has."""
    lines = [f"{letter}=" for letter in "vost" if letter not in opening]
    by_mid = {section.mid: section for section in reversed(sections) if section.mid}
    leads = {mid: by_mid[group[0]] for group in session.groups if group[0] in by_mid for mid in group}
    for number, section in enumerate(sections, start=1):
        if not section.is_used:
            continue
        lead = leads.get(section.mid, section)
        found = session.names | section.names | lead.names
        lacking = [f"a={name}" for name in NEEDED if name not in found]
        if lacking:
            lines += [*lacking[:-1], f"{lacking[-1]} for media section {number}"]
            break
    return ", ".join(lines)


def _wrong(number: int, what: str) -> InvalidSignalError:
    return InvalidSignalError(f"line {number}: {what}", path="signal.sdp")

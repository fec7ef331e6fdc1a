"""Write srtp_vectors.txt: packets protected by libsrtp, an implementation that shares nothing with ours.

Run with ``python srtp_vectors.py > srtp_vectors.txt`` where pylibsrtp 1.0 is installed. The output is the same on
every run. One line is a master key or a packet:

    key <profile> <master key> <master salt>
    rtp <ssrc> <48-bit index> <header length> <plain packet> <protected packet>
    rtcp <SRTCP index> <plain compound> <protected compound>
"""

import random
import struct
import sys

from pylibsrtp import Policy, Session

PROFILES = [
    ("AES_CM_128_HMAC_SHA1_80", Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 16, 14),
    ("AEAD_AES_128_GCM", Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 16, 12),
    ("AEAD_AES_256_GCM", Policy.SRTP_PROFILE_AEAD_AES_256_GCM, 32, 12),
]
# Two wraps of the sequence number, stepping less than half its range; then neighbours.
INDICES = [0, 1, 30000, 60000, 65535, 65536, 65537, 95000, 125000, 131071, 131072, 131073]
PAYLOAD_LENGTHS = [0, 1, 15, 16, 17, 120, 333]


def rtp_packet(rng: random.Random, ssrc: int, index: int, length: int) -> tuple[bytes, int]:
    """Make a plain packet, some with CSRCs and an extension; give it and the length of its header."""
    csrcs = rng.choice([0, 0, 2])
    extension = rng.choice([b"", struct.pack("!HH", 0xBEDE, 1) + b"\x10\x30\x00\x00"])
    first = 0x80 | (0x10 if extension else 0) | csrcs
    header = struct.pack("!BBHII", first, 0x80 | 101, index & 0xFFFF, 3000 * index & 0xFFFFFFFF, ssrc)
    header += rng.randbytes(4 * csrcs) + extension
    return header + rng.randbytes(length), len(header)


def rtcp_compound(rng: random.Random, ssrc: int) -> bytes:
    """Make a plain compound: a sender report, with or without a description, or an empty receiver report."""
    report = struct.pack("!BBHI", 0x80, 200, 6, ssrc) + rng.randbytes(20)
    description = struct.pack("!BBHI", 0x81, 202, 3, ssrc) + b"\x01\x04seed\x00\x00"
    return rng.choice([report, report + description, struct.pack("!BBHI", 0x80, 201, 1, ssrc)])


def line(*fields: object) -> None:
    """Write one line of the file."""
    sys.stdout.write(" ".join(map(str, fields)) + "\n")


def main() -> None:
    """Write all lines, profile by profile."""
    rng = random.Random(3711)
    for name, profile, key_len, salt_len in PROFILES:
        key, salt = rng.randbytes(key_len), rng.randbytes(salt_len)
        line("key", name, key.hex(), salt.hex())
        policy = Policy(key=key + salt, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile)
        session = Session(policy)
        for ssrc in (1, 0xDEADBEEF):
            for at, index in enumerate(INDICES):
                length = PAYLOAD_LENGTHS[at % len(PAYLOAD_LENGTHS)]
                packet, header_len = rtp_packet(rng, ssrc, index, length)
                line("rtp", f"{ssrc:08x}", index, header_len, packet.hex(), session.protect(packet).hex())
        for index in range(1, 6):
            compound = rtcp_compound(rng, 0xCAFEF00D)
            line("rtcp", index, compound.hex(), session.protect_rtcp(compound).hex())


main()

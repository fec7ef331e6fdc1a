"""The DTLS certificate of this server: made once, kept in files, replaced when it expires.

Clients trust it by its fingerprint, which they get over the signalling; no authority signs it.
"""

import hashlib
import logging
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from meeshy_sfu.clock import Clock
from meeshy_sfu.errors import CertificateError
from meeshy_sfu.media.rtp_parameters import DtlsFingerprint
from meeshy_sfu.private_files import FILE_MODE, close_to_others, make_private_directory

CERTIFICATE_FILE = "dtls-cert.pem"
KEY_FILE = "dtls-key.pem"
LIFETIME = timedelta(days=365)
RENEW_BEFORE = timedelta(days=1)
CLOCK_SKEW = timedelta(days=1)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its private key. ECDSA P-256, because aiortc offers nothing else."""

    certificate_der: bytes
    key_pkcs8_der: bytes = field(repr=False)

    @property
    def fingerprint(self) -> DtlsFingerprint:
        """What clients are sent; exactly one, because they differ in which of several they take."""
        digest = hashlib.sha256(self.certificate_der).hexdigest().upper()
        return DtlsFingerprint("sha-256", ":".join(digest[at : at + 2] for at in range(0, len(digest), 2)))

    @classmethod
    def generate(cls, clock: Clock) -> "Certificate":
        """Make a fresh one, valid for a year."""
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(_sign(key, _now(clock)).public_bytes(serialization.Encoding.DER), _key_der(key))


def load_or_create(directory: Path, clock: Clock) -> Certificate:
    """Load the certificate in a directory, or make and keep one there when there is none or it has expired.

    The key's file is readable by its owner alone.

    Raises:
        CertificateError: The files cannot be read, written or used; the message says what to do.
    """
    certificate_path, key_path = directory / CERTIFICATE_FILE, directory / KEY_FILE
    try:
        make_private_directory(directory.parent)
        make_private_directory(directory)
        if certificate_path.exists() and key_path.exists():
            found = _load(certificate_path, key_path, clock)
            if found is not None:
                for path in (key_path, certificate_path):
                    close_to_others(path)
                return found
            logger.warning("the DTLS certificate %s has expired and is replaced", certificate_path)
        return _create(directory, certificate_path, key_path, clock)
    except OSError as error:
        raise CertificateError(
            f"cannot read or write the DTLS certificate in {directory}: {error.strerror};"
            " make the directory writable or set another state directory"
        ) from error


def _load(certificate_path: Path, key_path: Path, clock: Clock) -> Certificate | None:
    remedy = f"remove {certificate_path} and {key_path} to have new ones made"
    try:
        certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise CertificateError(f"the DTLS certificate or its key is damaged: {error}; {remedy}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateError(f"the DTLS key in {key_path} is not ECDSA P-256; {remedy}")
    if certificate.public_key() != key.public_key():
        raise CertificateError(f"the DTLS certificate does not belong to the key in {key_path}; {remedy}")
    now = _now(clock)
    if now + RENEW_BEFORE >= certificate.not_valid_after_utc:
        return None
    return Certificate(certificate.public_bytes(serialization.Encoding.DER), _key_der(key))


def _create(directory: Path, certificate_path: Path, key_path: Path, clock: Clock) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _sign(key, _now(clock))
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _replace_file(key_path, key_pem)
    _replace_file(certificate_path, certificate.public_bytes(serialization.Encoding.PEM))
    logger.info("made a DTLS certificate in %s", directory)
    return Certificate(certificate.public_bytes(serialization.Encoding.DER), _key_der(key))


def _sign(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "meeshy-sfu")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
        .sign(key, hashes.SHA256())
    )


def _key_der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _replace_file(path: Path, content: bytes) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def _now(clock: Clock) -> datetime:
    return datetime.fromtimestamp(clock.unix_s(), UTC)

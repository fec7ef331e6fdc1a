"""The DTLS certificate: made once, reused, replaced in time."""

import hashlib
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from meeshy_sfu.clock import ManualClock
from meeshy_sfu.errors import CertificateError
from meeshy_sfu.media.certificate import CERTIFICATE_FILE, KEY_FILE, Certificate, load_or_create


def test_a_certificate_is_made_once_and_reused(tmp_path: Path) -> None:
    first = load_or_create(tmp_path / "certs", ManualClock())
    assert load_or_create(tmp_path / "certs", ManualClock()) == first


def test_the_key_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    load_or_create(tmp_path, ManualClock())
    (tmp_path / KEY_FILE).chmod(0o644)
    load_or_create(tmp_path, ManualClock())
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == [CERTIFICATE_FILE, KEY_FILE]


def test_an_expired_certificate_is_replaced(tmp_path: Path) -> None:
    clock = ManualClock()
    first = load_or_create(tmp_path, clock)
    clock.advance(363 * 86_400)
    assert load_or_create(tmp_path, clock) == first
    clock.advance(2 * 86_400)
    assert load_or_create(tmp_path, clock) != first


def test_the_fingerprint_is_the_sha_256_of_the_certificate() -> None:
    certificate = Certificate.generate(ManualClock())
    digest = hashlib.sha256(certificate.certificate_der).digest()
    assert certificate.fingerprint.value == ":".join(f"{byte:02X}" for byte in digest)
    key = x509.load_der_x509_certificate(certificate.certificate_der).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert isinstance(key.curve, ec.SECP256R1)


def test_the_key_does_not_show_in_logs() -> None:
    assert "key" not in repr(Certificate.generate(ManualClock()))


@pytest.mark.parametrize("name", [CERTIFICATE_FILE, KEY_FILE])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path, name: str) -> None:
    load_or_create(tmp_path, ManualClock())
    (tmp_path / name).write_text("nonsense")
    with pytest.raises(CertificateError, match=r"remove .*dtls-cert.pem and .*dtls-key.pem"):
        load_or_create(tmp_path, ManualClock())


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    load_or_create(tmp_path / "one", ManualClock())
    load_or_create(tmp_path / "two", ManualClock())
    (tmp_path / "two" / KEY_FILE).replace(tmp_path / "one" / KEY_FILE)
    with pytest.raises(CertificateError, match="does not belong"):
        load_or_create(tmp_path / "one", ManualClock())


def test_a_directory_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "certs").write_text("a file")
    with pytest.raises(CertificateError, match="state directory"):
        load_or_create(tmp_path / "certs", ManualClock())

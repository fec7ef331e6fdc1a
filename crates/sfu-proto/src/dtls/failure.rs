//! Why a DTLS association failed: cause and remedy.

use std::fmt;
use std::time::Duration;

use super::Fingerprint;

/// Handshake timeout.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a DTLS association failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DtlsFailure {
    /// The peer's certificate matches none of the announced fingerprints; holds the fingerprint it has.
    FingerprintMismatch(Fingerprint),
    /// The peer's messages did not arrive in time.
    Timeout,
    /// The handshake completed without an SRTP profile.
    NoSrtpProfile,
    /// The peer sent this alert.
    Alert(u8),
    /// The peer's ClientHello offers neither DTLS 1.2 nor 1.3.
    NoVersion,
    /// The peer's ClientHello offers no cipher suite for an ECDSA certificate.
    NoCipherSuite,
    /// Any other error of the handshake.
    Handshake(String),
}

impl DtlsFailure {
    /// Returns the alert to send to the peer, unless it knows already (RFC 8122 §5, RFC 5246 §7.2.2).
    pub(crate) fn alert(&self) -> Option<u8> {
        match self {
            DtlsFailure::FingerprintMismatch(_) => Some(BAD_CERTIFICATE),
            DtlsFailure::NoVersion => Some(PROTOCOL_VERSION),
            DtlsFailure::NoSrtpProfile | DtlsFailure::NoCipherSuite | DtlsFailure::Handshake(_) => {
                Some(HANDSHAKE_FAILURE)
            }
            DtlsFailure::Timeout | DtlsFailure::Alert(_) => None,
        }
    }
}

const HANDSHAKE_FAILURE: u8 = 40;
const BAD_CERTIFICATE: u8 = 42;
const PROTOCOL_VERSION: u8 = 70;

impl fmt::Display for DtlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DtlsFailure::FingerprintMismatch(seen) => write!(
                f,
                "the peer's certificate is not the announced one (its {} is {}); the connection may be \
                 intercepted, or the announced fingerprints belong to another certificate",
                seen.algorithm.as_str(),
                seen.value
            ),
            DtlsFailure::Timeout => write!(
                f,
                "the DTLS handshake did not finish within {} s; the peer sends no DTLS, or both sides wait for \
                 the other to start: check the roles",
                HANDSHAKE_TIMEOUT.as_secs()
            ),
            DtlsFailure::NoSrtpProfile => f.write_str(
                "the peer offers no supported SRTP profile; it must offer AEAD_AES_256_GCM, AEAD_AES_128_GCM \
                 or AES128_CM_HMAC_SHA1_80",
            ),
            DtlsFailure::Alert(description) => write!(
                f,
                "the peer aborted the DTLS handshake with alert {description} ({}); see its log for the reason",
                alert_name(*description)
            ),
            DtlsFailure::NoVersion => {
                f.write_str("the peer offers neither DTLS 1.2 nor 1.3; update it")
            }
            DtlsFailure::NoCipherSuite => f.write_str(
                "the peer offers no cipher suite for an ECDSA certificate; it must offer one like \
                 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            ),
            DtlsFailure::Handshake(reason) => write!(
                f,
                "the DTLS handshake failed: {reason}; the peer must speak ECDHE with an ECDSA certificate"
            ),
        }
    }
}

impl std::error::Error for DtlsFailure {}

/// Names of the alerts that end handshakes (RFC 8446 §6.2, RFC 5246 §7.2.2).
fn alert_name(description: u8) -> &'static str {
    match description {
        10 => "unexpected_message",
        40 => "handshake_failure",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        109 => "missing_extension",
        116 => "certificate_required",
        _ => "see RFC 8446",
    }
}

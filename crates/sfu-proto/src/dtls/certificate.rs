//! Our certificate, and fingerprints of certificates.
//!
//! # Job
//! Holds an ECDSA P-256 certificate with its key, generates certificates for bots and tests, and computes and
//! compares fingerprints. Reading certificate files belongs to the caller.
//!
//! RFC 8122 §5 (fingerprint attribute).

use aws_lc_rs::digest;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

/// Hash of a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// `sha-256`
    Sha256,
    /// `sha-384`
    Sha384,
    /// `sha-512`
    Sha512,
}

impl HashAlgorithm {
    /// Returns the name used in signalling: `sha-256`, `sha-384`, `sha-512`.
    pub fn as_str(self) -> &'static str {
        match self {
            HashAlgorithm::Sha256 => "sha-256",
            HashAlgorithm::Sha384 => "sha-384",
            HashAlgorithm::Sha512 => "sha-512",
        }
    }

    /// Returns the hash with this name, in upper or lower case.
    pub fn from_name(name: &str) -> Option<HashAlgorithm> {
        [
            HashAlgorithm::Sha256,
            HashAlgorithm::Sha384,
            HashAlgorithm::Sha512,
        ]
        .into_iter()
        .find(|hash| hash.as_str().eq_ignore_ascii_case(name))
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            HashAlgorithm::Sha256 => &digest::SHA256,
            HashAlgorithm::Sha384 => &digest::SHA384,
            HashAlgorithm::Sha512 => &digest::SHA512,
        }
    }
}

/// Fingerprint of a certificate, as announced by signalling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// The hash used.
    pub algorithm: HashAlgorithm,
    /// Upper-case hexadecimal pairs separated by colons.
    pub value: String,
}

impl Fingerprint {
    /// Computes the fingerprint of a certificate in DER.
    pub fn of(certificate: &[u8], algorithm: HashAlgorithm) -> Fingerprint {
        let digest = digest::digest(algorithm.digest(), certificate);
        let pairs: Vec<String> = digest
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        Fingerprint {
            algorithm,
            value: pairs.join(":"),
        }
    }

    /// Returns whether the value has as many hexadecimal pairs as the hash has bytes.
    pub fn is_well_formed(&self) -> bool {
        let mut pairs = 0;
        for pair in self.value.split(':') {
            if pair.len() != 2 || !pair.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return false;
            }
            pairs += 1;
        }
        pairs == self.algorithm.digest().output_len()
    }

    /// Returns whether `certificate` (DER) has this fingerprint, in upper or lower case.
    pub fn matches(&self, certificate: &[u8]) -> bool {
        Fingerprint::of(certificate, self.algorithm)
            .value
            .eq_ignore_ascii_case(&self.value)
    }
}

/// An ECDSA P-256 certificate with its private key.
#[derive(Clone)]
pub struct Certificate {
    certificate: Vec<u8>,
    private_key: Vec<u8>,
}

impl Certificate {
    /// Uses a certificate in DER and its key in PKCS#8 DER.
    pub fn from_der(
        certificate: Vec<u8>,
        private_key: Vec<u8>,
    ) -> Result<Certificate, CertificateError> {
        if certificate.is_empty() {
            return Err(CertificateError::Empty);
        }
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &private_key)
            .map_err(|_| CertificateError::KeyNotP256)?;
        let public = aws_lc_rs::signature::KeyPair::public_key(&pair).as_ref();
        // SubjectPublicKeyInfo contains the public point unchanged, so no X.509 parser is needed.
        if !certificate
            .windows(public.len())
            .any(|window| window == public)
        {
            return Err(CertificateError::KeyOfAnother);
        }
        Ok(Certificate {
            certificate,
            private_key,
        })
    }

    /// Generates a self-signed certificate with a new key, for bots and tests.
    pub fn generate() -> Result<Certificate, CertificateError> {
        let made = dimpl::certificate::generate_self_signed_certificate()
            .map_err(|_| CertificateError::NotGenerated)?;
        Certificate::from_der(made.certificate, made.private_key)
    }

    /// Returns the certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.certificate
    }

    /// Returns the private key in PKCS#8 DER.
    pub fn private_key(&self) -> &[u8] {
        &self.private_key
    }

    /// Returns the fingerprint to announce.
    pub fn fingerprint(&self, algorithm: HashAlgorithm) -> Fingerprint {
        Fingerprint::of(&self.certificate, algorithm)
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field(
                "fingerprint",
                &self.fingerprint(HashAlgorithm::Sha256).value,
            )
            .finish_non_exhaustive()
    }
}

/// Why a certificate cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateError {
    /// The certificate is empty.
    Empty,
    /// The key is not an ECDSA P-256 key in PKCS#8 DER.
    KeyNotP256,
    /// Certificate and key do not match.
    KeyOfAnother,
    /// Generating a certificate failed.
    NotGenerated,
}

impl std::fmt::Display for CertificateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CertificateError::Empty => "the certificate is empty; give it in DER",
            CertificateError::KeyNotP256 => {
                "the private key is not an ECDSA P-256 key in PKCS#8 DER; clients accept no other kind"
            }
            CertificateError::KeyOfAnother => "the private key is not the one of the certificate; give a matching pair",
            CertificateError::NotGenerated => "no certificate could be generated; the system gave no random numbers",
        })
    }
}

impl std::error::Error for CertificateError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_certificate_can_be_loaded_and_has_three_fingerprints() {
        let made = Certificate::generate().unwrap();
        let again =
            Certificate::from_der(made.der().to_vec(), made.private_key().to_vec()).unwrap();
        for (algorithm, bytes) in [
            (HashAlgorithm::Sha256, 32),
            (HashAlgorithm::Sha384, 48),
            (HashAlgorithm::Sha512, 64),
        ] {
            let fingerprint = again.fingerprint(algorithm);
            assert_eq!(fingerprint.value.len(), bytes * 3 - 1);
            assert!(fingerprint.is_well_formed());
            assert!(fingerprint.matches(made.der()));
            let lower = Fingerprint {
                algorithm,
                value: fingerprint.value.to_lowercase(),
            };
            assert!(lower.matches(made.der()));
            assert!(!fingerprint.matches(Certificate::generate().unwrap().der()));
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let one = Certificate::generate().unwrap();
        let other = Certificate::generate().unwrap();
        assert_eq!(
            Certificate::from_der(one.der().to_vec(), other.private_key().to_vec()).err(),
            Some(CertificateError::KeyOfAnother)
        );
        assert_eq!(
            Certificate::from_der(one.der().to_vec(), vec![1, 2, 3]).err(),
            Some(CertificateError::KeyNotP256)
        );
    }

    #[test]
    fn malformed_fingerprints_are_recognised() {
        for value in [
            "",
            "AA",
            "AA:BB:",
            "zz",
            &"AA:".repeat(32),
            &"AA".repeat(32),
        ] {
            let fingerprint = Fingerprint {
                algorithm: HashAlgorithm::Sha256,
                value: value.into(),
            };
            assert!(!fingerprint.is_well_formed(), "{value:?}");
        }
    }
}

//! Session keys from a master key: AES in counter mode over a label.
//!
//! # Left out
//! A key derivation rate: it is zero in DTLS-SRTP, so keys are derived once and `r` is zero.
//!
//! RFC 3711 §4.3.1, §4.3.3; RFC 6188 §3 for 256-bit keys; RFC 7714 §11 for 96-bit salts.

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use super::profile::MasterKey;

/// What a derived key is for; the labels of RFC 3711 §4.3.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Label {
    RtpEncryption = 0,
    RtpAuthentication = 1,
    RtpSalt = 2,
    RtcpEncryption = 3,
    RtcpAuthentication = 4,
    RtcpSalt = 5,
}

/// Derives session keys of one master key.
pub(super) struct Kdf {
    prf: EncryptingKey,
    salt: [u8; 14],
}

impl Kdf {
    /// # Panics
    /// If the master key is not 16 or 32 bytes, or its salt is over 14: DTLS gives it by profile.
    pub(super) fn new(master: &MasterKey) -> Self {
        let algorithm = match master.key.len() {
            16 => &AES_128,
            32 => &AES_256,
            other => panic!("invariant: master keys are 16 or 32 bytes, not {other}"),
        };
        // A shorter salt stands at the front of the 112 bits (RFC 7714 §11).
        let mut salt = [0; 14];
        salt[..master.salt.len()].copy_from_slice(&master.salt);
        let prf = UnboundCipherKey::new(algorithm, &master.key)
            .and_then(EncryptingKey::ctr)
            .expect("invariant: the length was matched to the algorithm");
        Self { prf, salt }
    }

    /// Fills `key` with the key of a label.
    pub(super) fn derive(&self, label: Label, key: &mut [u8]) {
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&self.salt);
        iv[7] ^= label as u8;
        key.fill(0);
        self.prf
            .less_safe_encrypt(key, EncryptionContext::Iv128(FixedLength::from(iv)))
            .expect("invariant: counter mode takes any length");
    }
}

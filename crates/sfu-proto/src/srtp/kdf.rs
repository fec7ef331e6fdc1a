//! Session keys from a master key: AES in counter mode over a label.
//!
//! # Left out
//! A key derivation rate: it is zero in DTLS-SRTP, so keys are derived once and `r` is zero.
//!
//! RFC 3711 §4.3.1, §4.3.3; RFC 6188 §3 for 256-bit keys; RFC 7714 §11 for 96-bit salts.

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;

use super::profile::{MasterKey, SrtpProfile};

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
    /// If key or salt do not have the profile's lengths; DTLS exports them by profile.
    pub(super) fn new(profile: SrtpProfile, master: &MasterKey) -> Self {
        assert_eq!(
            master.key.len(),
            profile.key_len(),
            "invariant: key length of the profile"
        );
        assert_eq!(
            master.salt.len(),
            profile.salt_len(),
            "invariant: salt length of the profile"
        );
        let algorithm = match profile {
            SrtpProfile::AeadAes128Gcm | SrtpProfile::Aes128CmSha1_80 => &AES_128,
            SrtpProfile::AeadAes256Gcm => &AES_256,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_rfc() {
        // RFC 3711 Appendix B.3
        let master = MasterKey {
            key: 0xE1F9_7A0D_3E01_8BE0_D64F_A32C_06DE_4139_u128
                .to_be_bytes()
                .to_vec(),
            salt: 0x0EC6_75AD_498A_FEEB_B696_0B3A_ABE6_u128.to_be_bytes()[2..].to_vec(),
        };
        let kdf = Kdf::new(SrtpProfile::Aes128CmSha1_80, &master);
        let mut key = [0; 16];
        kdf.derive(Label::RtpEncryption, &mut key);
        assert_eq!(
            u128::from_be_bytes(key),
            0xC61E_7A93_744F_39EE_1073_4AFE_3FF7_A087
        );
        let mut salt = [0; 16];
        kdf.derive(Label::RtpSalt, &mut salt[2..]);
        assert_eq!(
            u128::from_be_bytes(salt),
            0x30CB_BC08_863D_8C85_D49D_B34A_9AE1
        );
        let mut authentication = [0; 94];
        kdf.derive(Label::RtpAuthentication, &mut authentication);
        let head = u128::from_be_bytes(*authentication.first_chunk().unwrap());
        assert_eq!(head, 0xCEBE_321F_6FF7_716B_6FD4_AB49_AF25_6A15);
        let tail = u128::from_be_bytes(*authentication.last_chunk().unwrap());
        assert_eq!(
            tail & 0xffff_ffff_ffff_ffff,
            0xFC2F_34DB_60DB_DFB2,
            "the last eight bytes"
        );
    }
}

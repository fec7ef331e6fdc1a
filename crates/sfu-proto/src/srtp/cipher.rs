//! One session cipher: the keys of one direction for RTP, or for RTCP.
//!
//! # Job
//! Turns plaintext and associated header into ciphertext and tag, and back. Where index and SSRC come from
//! belongs to `tx` and `rx`.
//!
//! # Invariants
//! - `index` is the 48-bit packet index for RTP, the 31-bit SRTCP index for RTCP; with the SSRC it
//!   makes the nonce, so the pair must be new for each call that seals.
//!
//! # Cost
//! GCM reads the plaintext where it lies and writes ciphertext and tag in one call. CM copies first, since
//! the safe counter mode works in place; its HMAC starts from a copied state with both pads already hashed.
//! That state is 128 bytes in `hmac` and 1.2 KB in aws-lc, hence the one primitive not taken from there:
//! 100 ns per packet. Figures: `cargo bench -p meeshy-sfu-proto --bench srtp`.
//!
//! RFC 3711 §4.1.1, §4.2.1; RFC 7714 §8, §9.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use zeroize::Zeroize;

use super::kdf::{Kdf, Label};
use super::profile::SrtpProfile;
use crate::error::SrtpError;

/// Bytes of the authentication tag of AES-GCM.
pub(super) const GCM_TAG_LEN: usize = 16;
/// Bytes of the truncated HMAC-SHA1 tag.
pub(super) const SHA1_TAG_LEN: usize = 10;

pub(super) enum Cipher {
    Gcm(Gcm),
    CmSha1(Box<CmSha1>),
}

/// Which half of the derived keys a cipher uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Rtp,
    Rtcp,
}

impl Half {
    const fn labels(self) -> (Label, Label, Label) {
        match self {
            Self::Rtp => (
                Label::RtpEncryption,
                Label::RtpAuthentication,
                Label::RtpSalt,
            ),
            Self::Rtcp => (
                Label::RtcpEncryption,
                Label::RtcpAuthentication,
                Label::RtcpSalt,
            ),
        }
    }
}

impl Cipher {
    pub(super) fn new(profile: SrtpProfile, kdf: &Kdf, half: Half) -> Self {
        let (encryption, authentication, salting) = half.labels();
        let mut key = [0; 32];
        let key = &mut key[..profile.key_len()];
        kdf.derive(encryption, key);
        let cipher = match profile {
            SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => {
                let mut salt = [0; 12];
                kdf.derive(salting, &mut salt);
                Self::Gcm(Gcm::new(key, salt))
            }
            SrtpProfile::Aes128CmSha1_80 => {
                let mut salt = [0; 14];
                kdf.derive(salting, &mut salt);
                let mut mac = [0; 20];
                kdf.derive(authentication, &mut mac);
                let cipher = Self::CmSha1(Box::new(CmSha1::new(key, &mac, salt)));
                mac.zeroize();
                cipher
            }
        };
        key.zeroize();
        cipher
    }
}

/// AES-GCM of either key length.
pub(super) struct Gcm {
    key: LessSafeKey,
    salt: u128,
}

impl Gcm {
    fn new(key: &[u8], salt: [u8; 12]) -> Self {
        let algorithm = if key.len() == 32 {
            &AES_256_GCM
        } else {
            &AES_128_GCM
        };
        let key = UnboundKey::new(algorithm, key)
            .expect("invariant: the key has the length of its algorithm");
        let mut wide = [0; 16];
        wide[4..].copy_from_slice(&salt);
        Self {
            key: LessSafeKey::new(key),
            salt: u128::from_be_bytes(wide),
        }
    }

    /// 16 zero bits, SSRC, 48 bits of index, all over the salt (RFC 7714 §8.1, §9.1).
    #[inline]
    fn nonce(&self, ssrc: u32, index: u64) -> Nonce {
        let value = self.salt ^ (u128::from(ssrc) << 48 | u128::from(index));
        let mut nonce = [0; 12];
        nonce.copy_from_slice(&value.to_be_bytes()[4..]);
        Nonce::assume_unique_for_key(nonce)
    }

    /// Encrypts `plaintext` into `out`, which is longer by the tag.
    #[inline]
    pub(super) fn seal(
        &self,
        ssrc: u32,
        index: u64,
        header: &[u8],
        plaintext: &[u8],
        out: &mut [u8],
    ) {
        let (ciphertext, tag) = out.split_at_mut(plaintext.len());
        self.key
            .seal_out_of_place_scatter(
                self.nonce(ssrc, index),
                Aad::from(header),
                plaintext,
                ciphertext,
                &[],
                tag,
            )
            .expect("invariant: out is the plaintext's length and a tag");
    }

    /// Encrypts `body` but for its last bytes, which become the tag.
    pub(super) fn seal_in_place(&self, ssrc: u32, index: u64, header: &[u8], body: &mut [u8]) {
        let (text, tag) = body.split_at_mut(body.len() - GCM_TAG_LEN);
        self.key
            .seal_in_place_scatter(self.nonce(ssrc, index), Aad::from(header), text, &[], tag)
            .expect("invariant: the tag has its length");
    }

    /// Decrypts `sealed`, ciphertext and tag, into `out`, which is shorter by the tag.
    #[inline]
    pub(super) fn open(
        &self,
        ssrc: u32,
        index: u64,
        header: &[u8],
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<(), SrtpError> {
        let (ciphertext, tag) = sealed.split_at(out.len());
        self.key
            .open_separate_gather(
                self.nonce(ssrc, index),
                Aad::from(header),
                ciphertext,
                tag,
                out,
            )
            .map_err(|_| SrtpError::Authentication)
    }

    /// Decrypts `body` but for its last bytes, the tag.
    pub(super) fn open_in_place(
        &self,
        ssrc: u32,
        index: u64,
        header: &[u8],
        body: &mut [u8],
    ) -> Result<(), SrtpError> {
        self.key
            .open_in_place(self.nonce(ssrc, index), Aad::from(header), body)
            .map(|_| ())
            .map_err(|_| SrtpError::Authentication)
    }
}

/// AES-128 in counter mode with HMAC-SHA1.
pub(super) struct CmSha1 {
    key: EncryptingKey,
    mac: Hmac<Sha1>,
    salt: u128,
}

impl CmSha1 {
    fn new(key: &[u8], mac: &[u8; 20], salt: [u8; 14]) -> Self {
        let key = UnboundCipherKey::new(&AES_128, key)
            .and_then(EncryptingKey::ctr)
            .expect("invariant: the key has the length of its algorithm");
        let mut wide = [0; 16];
        wide[..14].copy_from_slice(&salt);
        Self {
            key,
            mac: Hmac::new_from_slice(mac).expect("invariant: HMAC takes keys of any length"),
            salt: u128::from_be_bytes(wide),
        }
    }

    /// Encrypts or decrypts `text`; the counter block is salt, SSRC and index (RFC 3711 §4.1.1).
    #[inline]
    pub(super) fn apply(&self, ssrc: u32, index: u64, text: &mut [u8]) {
        let counter = self.salt ^ (u128::from(ssrc) << 64) ^ (u128::from(index) << 16);
        self.key
            .less_safe_encrypt(
                text,
                EncryptionContext::Iv128(FixedLength::from(counter.to_be_bytes())),
            )
            .expect("invariant: counter mode takes any length");
    }

    /// The tag over `authenticated`, which ends with the roll-over counter or the SRTCP index.
    #[inline]
    pub(super) fn tag(&self, authenticated: &[u8]) -> [u8; SHA1_TAG_LEN] {
        let tag = self
            .mac
            .clone()
            .chain_update(authenticated)
            .finalize()
            .into_bytes();
        let mut out = [0; SHA1_TAG_LEN];
        out.copy_from_slice(&tag[..SHA1_TAG_LEN]);
        out
    }

    /// Checks the tag over `authenticated` followed by `tail`.
    #[inline]
    pub(super) fn verify(
        &self,
        authenticated: &[u8],
        tail: &[u8],
        tag: &[u8],
    ) -> Result<(), SrtpError> {
        self.mac
            .clone()
            .chain_update(authenticated)
            .chain_update(tail)
            .verify_truncated_left(tag)
            .map_err(|_| SrtpError::Authentication)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::tx::rtcp_associated;

    const TEXT: &[u8] = b"Gallia est omnis divisa in partes tres";
    const HEADER: [u8; 12] = [
        0x80, 0x40, 0xf1, 0x7b, 0x80, 0x41, 0xf8, 0xd3, 0x55, 0x01, 0xa0, 0xb2,
    ];
    const COMPOUND: &str = "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61\
                            deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text
            .chars()
            .map(|digit| digit.to_digit(16).unwrap())
            .collect();
        digits
            .chunks(2)
            .map(|pair| (pair[0] << 4 | pair[1]) as u8)
            .collect()
    }

    fn gcm(key_len: u8) -> Gcm {
        Gcm::new(&(0..key_len).collect::<Vec<u8>>(), *b"Quid pro quo")
    }

    #[test]
    fn rtp_under_gcm_is_that_of_the_rfc() {
        // RFC 7714 §16.1.1, §16.2.1
        let expected = [
            (
                16,
                "f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833\
                  899d7f27beb16a9152cf765ee4390cce",
            ),
            (
                32,
                "32b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b\
                  7aa3db36dfffd6b0f9bb7878d7a76c13",
            ),
        ];
        for (key_len, sealed) in expected {
            let gcm = gcm(key_len);
            let mut out = vec![0; TEXT.len() + GCM_TAG_LEN];
            gcm.seal(0x5501_a0b2, 0xf17b, &HEADER, TEXT, &mut out);
            assert_eq!(out, hex(sealed));
            let mut opened = vec![0; TEXT.len()];
            assert_eq!(
                gcm.open(0x5501_a0b2, 0xf17b, &HEADER, &out, &mut opened),
                Ok(())
            );
            assert_eq!(opened, TEXT);
        }
    }

    #[test]
    fn rtcp_under_gcm_is_that_of_the_rfc() {
        // RFC 7714 §17.1, §17.2
        let expected = [
            (
                16,
                "63e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275b\
                  c84aa45896cf4d2fc5abf87245d9eade",
            ),
            (
                32,
                "d50ae4d1f5ce5d304ba297e47d470c282c3ece5dbffe0a50a2eaa5c1110555be8415f658c61de0476f1b6fad\
                  1d1eb30c4446839f57ff6f6cb26ac3be",
            ),
        ];
        let compound = hex(COMPOUND);
        let associated = rtcp_associated(&compound[..8], 0x8000_05d4_u32.to_be_bytes());
        for (key_len, sealed) in expected {
            let gcm = gcm(key_len);
            let mut body = compound[8..].to_vec();
            body.resize(body.len() + GCM_TAG_LEN, 0);
            gcm.seal_in_place(u32::from_be_bytes(*b"Mars"), 0x5d4, &associated, &mut body);
            assert_eq!(body, hex(sealed));
        }
    }

    #[test]
    fn the_key_stream_of_counter_mode_is_that_of_the_rfc() {
        // RFC 3711 Appendix B.2
        let key = 0x2B7E_1516_28AE_D2A6_ABF7_1588_09CF_4F3C_u128.to_be_bytes();
        let salt = *0xF0F1_F2F3_F4F5_F6F7_F8F9_FAFB_FCFD_0000_u128
            .to_be_bytes()
            .first_chunk()
            .unwrap();
        let mut stream = [0; 48];
        CmSha1::new(&key, &[0; 20], salt).apply(0, 0, &mut stream);
        let blocks: Vec<u128> = stream
            .as_chunks()
            .0
            .iter()
            .map(|block| u128::from_be_bytes(*block))
            .collect();
        assert_eq!(
            blocks,
            [
                0xE03E_AD09_35C9_5E80_E166_B16D_D92B_4EB4,
                0xD235_1316_2B02_D0F7_2A43_A2FE_4A5F_97AB,
                0x41E9_5B3B_B0A2_E8DD_4779_01E4_FCA8_94C0,
            ]
        );
    }
}

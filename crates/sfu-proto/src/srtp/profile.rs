//! The protection profiles negotiated in DTLS, and the master key they start from.
//!
//! RFC 5764 §4.1.2, RFC 7714 §14.2.

use std::fmt;

use zeroize::Zeroize;

/// What protects the packets of a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SrtpProfile {
    /// AES-256 in Galois counter mode, 16 bytes of tag.
    AeadAes256Gcm,
    /// AES-128 in Galois counter mode, 16 bytes of tag.
    AeadAes128Gcm,
    /// AES-128 in counter mode, HMAC-SHA1 cut to 10 bytes of tag.
    Aes128CmSha1_80,
}

impl SrtpProfile {
    /// Returns the profile of a `use_srtp` id; `None` if it is not supported.
    #[must_use]
    pub const fn from_use_srtp_id(id: u16) -> Option<Self> {
        match id {
            0x0001 => Some(Self::Aes128CmSha1_80),
            0x0007 => Some(Self::AeadAes128Gcm),
            0x0008 => Some(Self::AeadAes256Gcm),
            _ => None,
        }
    }

    /// The id in the `use_srtp` extension of DTLS.
    #[must_use]
    pub const fn to_use_srtp_id(self) -> u16 {
        match self {
            Self::Aes128CmSha1_80 => 0x0001,
            Self::AeadAes128Gcm => 0x0007,
            Self::AeadAes256Gcm => 0x0008,
        }
    }

    /// The name in the IANA registry and in the statistics of browsers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::Aes128CmSha1_80 => "AES_CM_128_HMAC_SHA1_80",
        }
    }

    /// Bytes of the master key, and of the session encryption key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm => 32,
            Self::AeadAes128Gcm | Self::Aes128CmSha1_80 => 16,
        }
    }

    /// Bytes of the master salt.
    #[must_use]
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes256Gcm | Self::AeadAes128Gcm => 12,
            Self::Aes128CmSha1_80 => 14,
        }
    }

    /// Bytes an RTP packet grows by.
    #[inline]
    #[must_use]
    pub const fn rtp_overhead(self) -> usize {
        match self {
            Self::AeadAes256Gcm | Self::AeadAes128Gcm => 16,
            Self::Aes128CmSha1_80 => 10,
        }
    }

    /// Bytes a compound RTCP packet grows by: the tag, and the word of E flag and index.
    #[inline]
    #[must_use]
    pub const fn rtcp_overhead(self) -> usize {
        self.rtp_overhead() + 4
    }
}

/// Master key and salt of one direction, as DTLS exports them (RFC 5764 §4.2); wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    /// [`SrtpProfile::key_len`] bytes.
    pub key: Vec<u8>,
    /// [`SrtpProfile::salt_len`] bytes.
    pub salt: Vec<u8>,
}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.key.zeroize();
        self.salt.zeroize();
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_dtls_map_both_ways() {
        for profile in [
            SrtpProfile::AeadAes256Gcm,
            SrtpProfile::AeadAes128Gcm,
            SrtpProfile::Aes128CmSha1_80,
        ] {
            assert_eq!(
                SrtpProfile::from_use_srtp_id(profile.to_use_srtp_id()),
                Some(profile)
            );
        }
        // SRTP_AES128_CM_HMAC_SHA1_32
        assert_eq!(SrtpProfile::from_use_srtp_id(0x0002), None);
    }

    #[test]
    fn debug_output_does_not_show_the_key() {
        let master = MasterKey {
            key: vec![0xab; 16],
            salt: vec![0xcd; 12],
        };
        let shown = format!("{master:?}");
        assert!(!shown.contains("171") && !shown.contains("205"), "{shown}");
    }
}

//! SRTP keys as DTLS hands them over.

/// Protection profile agreed on with `use_srtp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SrtpProfile {
    /// AEAD_AES_256_GCM (RFC 7714).
    AeadAes256Gcm,
    /// AEAD_AES_128_GCM (RFC 7714).
    AeadAes128Gcm,
    /// AES128_CM_HMAC_SHA1_80 (RFC 3711).
    Aes128CmSha1_80,
}

/// Master key and salt of one direction.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    /// The master key.
    pub key: Vec<u8>,
    /// The master salt.
    pub salt: Vec<u8>,
}

/// The keys of both directions.
#[derive(Clone, PartialEq, Eq)]
pub struct SrtpKeys {
    /// Profile both directions use.
    pub profile: SrtpProfile,
    /// What we encrypt with.
    pub local: MasterKey,
    /// What the other end encrypts with.
    pub remote: MasterKey,
}

impl std::fmt::Debug for SrtpKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SrtpKeys")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

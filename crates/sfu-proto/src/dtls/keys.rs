//! SRTP keys as exported by DTLS.

use crate::srtp::{MasterKey, SrtpProfile};

/// The keys of both directions.
#[derive(Clone, PartialEq, Eq)]
pub struct SrtpKeys {
    /// The profile of both directions.
    pub profile: SrtpProfile,
    /// Key of outgoing packets.
    pub local: MasterKey,
    /// Key of incoming packets.
    pub remote: MasterKey,
}

impl std::fmt::Debug for SrtpKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SrtpKeys")
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

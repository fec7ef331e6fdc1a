//! SRTP keys as DTLS hands them over.

use crate::srtp::{MasterKey, SrtpProfile};

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

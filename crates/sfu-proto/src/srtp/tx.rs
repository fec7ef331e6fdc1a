//! The sending side: protects RTP and RTCP of one transport.
//!
//! # Job
//! Encrypts and authenticates. The stream that sends an RTP packet provides its index, so protecting needs no state
//! per stream; an index may be repeated only with the very same packet.
//!
//! RFC 3711 §3.3, §3.4; RFC 7714 §8, §9.

use std::fmt;

use super::cipher::{Cipher, Half, SHA1_TAG_LEN};
use super::kdf::Kdf;
use super::profile::{MasterKey, SrtpProfile};

/// The E flag: the packet is encrypted (RFC 3711 §3.4).
pub(super) const ENCRYPTED: u32 = 1 << 31;
/// Bytes of RTCP that stay unencrypted: the first header and the SSRC.
pub(super) const RTCP_CLEAR_LEN: usize = 8;

/// Protects the packets one transport sends.
pub struct SrtpTx {
    profile: SrtpProfile,
    rtp: Cipher,
    rtcp: Cipher,
    rtcp_index: u32,
}

impl SrtpTx {
    /// Derives the session keys.
    ///
    /// # Panics
    /// If key or salt do not have the profile's lengths; DTLS exports them by profile.
    #[must_use]
    pub fn new(profile: SrtpProfile, master: &MasterKey) -> Self {
        let kdf = Kdf::new(profile, master);
        Self {
            profile,
            rtp: Cipher::new(profile, &kdf, Half::Rtp),
            rtcp: Cipher::new(profile, &kdf, Half::Rtcp),
            rtcp_index: 0,
        }
    }

    /// The profile in use; its overheads say how packets grow.
    #[inline]
    #[must_use]
    pub const fn profile(&self) -> SrtpProfile {
        self.profile
    }

    /// Encrypts `plaintext` behind the finished header in `out[..header_len]` and returns the datagram's length.
    ///
    /// `index` is the roll-over count and the sequence number, 48 bits; a repeat of it must be the same packet.
    ///
    /// # Panics
    /// If `out` has no room for header, plaintext and [`SrtpProfile::rtp_overhead`].
    #[inline]
    pub fn protect_rtp(
        &self,
        out: &mut [u8],
        header_len: usize,
        plaintext: &[u8],
        ssrc: u32,
        index: u64,
    ) -> usize {
        let end = header_len + plaintext.len();
        let len = end + self.profile.rtp_overhead();
        match &self.rtp {
            Cipher::Gcm(gcm) => {
                let (header, body) = out[..len].split_at_mut(header_len);
                gcm.seal(ssrc, index, header, plaintext, body);
            }
            Cipher::CmSha1(cm) => {
                out[header_len..end].copy_from_slice(plaintext);
                cm.apply(ssrc, index, &mut out[header_len..end]);
                // The roll-over counter is authenticated but not sent (RFC 3711 §4.2); the tag overwrites it.
                out[end..end + 4].copy_from_slice(&((index >> 16) as u32).to_be_bytes());
                let tag = cm.tag(&out[..end + 4]);
                out[end..len].copy_from_slice(&tag);
            }
        }
        len
    }

    /// Encrypts the compound packet in `packet[..len]` in place and returns the datagram's length.
    ///
    /// Returns 0, and changes nothing, once all 2³¹ indices are used up: the transport then sends no more RTCP.
    ///
    /// # Panics
    /// If `len` is under 8 bytes or `packet` has no room for [`SrtpProfile::rtcp_overhead`].
    pub fn protect_rtcp(&mut self, packet: &mut [u8], len: usize) -> usize {
        if self.rtcp_index >= ENCRYPTED {
            return 0;
        }
        let index = self.rtcp_index;
        self.rtcp_index += 1;
        let word = (ENCRYPTED | index).to_be_bytes();
        let total = len + self.profile.rtcp_overhead();
        let packet = &mut packet[..total];
        let ssrc = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        match &self.rtcp {
            Cipher::Gcm(gcm) => {
                let (clear, rest) = packet.split_at_mut(RTCP_CLEAR_LEN);
                let (body, trailer) = rest.split_at_mut(total - RTCP_CLEAR_LEN - 4);
                trailer.copy_from_slice(&word);
                gcm.seal_in_place(ssrc, u64::from(index), &rtcp_associated(clear, word), body);
            }
            Cipher::CmSha1(cm) => {
                cm.apply(ssrc, u64::from(index), &mut packet[RTCP_CLEAR_LEN..len]);
                packet[len..len + 4].copy_from_slice(&word);
                let tag = cm.tag(&packet[..len + 4]);
                packet[len + 4..len + 4 + SHA1_TAG_LEN].copy_from_slice(&tag);
            }
        }
        total
    }
}

impl fmt::Debug for SrtpTx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrtpTx")
            .field("profile", &self.profile)
            .field("rtcp_index", &self.rtcp_index)
            .finish()
    }
}

/// What GCM authenticates beside the ciphertext: the clear header and the trailing word (RFC 7714 §9.2).
pub(super) fn rtcp_associated(clear: &[u8], word: [u8; 4]) -> [u8; RTCP_CLEAR_LEN + 4] {
    let mut associated = [0; RTCP_CLEAR_LEN + 4];
    associated[..RTCP_CLEAR_LEN].copy_from_slice(clear);
    associated[RTCP_CLEAR_LEN..].copy_from_slice(&word);
    associated
}

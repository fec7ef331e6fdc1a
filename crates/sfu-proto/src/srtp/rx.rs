//! The receiving side: decrypts RTP and RTCP of one transport.
//!
//! # Job
//! Estimates the packet index, verifies the tag, decrypts, refuses replays.
//!
//! # Invariants
//! - Streams are created and windows move for authenticated packets only, so a forger can neither shift a roll-over
//!   counter nor evict a stream.
//! - At most [`MAX_STREAMS`] streams of each kind; beyond that the one idle longest is forgotten. Only the holder of
//!   the keys can reach the limit, and affects only itself.
//!
//! # Cost
//! A scan over the few SSRCs of a transport, active streams first; 160 bytes per stream, allocated at its first
//! packet.
//!
//! # Left out
//! Guessing a non-zero roll-over count for a stream joined late: in WebRTC, streams start with their transport.
//!
//! RFC 3711 §3.3.1, §3.3.2, §3.4; RFC 7714 §8, §9.

use std::fmt;

use super::cipher::{Cipher, GCM_TAG_LEN, Half, SHA1_TAG_LEN};
use super::kdf::Kdf;
use super::profile::{MasterKey, SrtpProfile};
use super::replay::ReplayWindow;
use super::tx::{ENCRYPTED, RTCP_CLEAR_LEN, rtcp_associated};
use crate::error::SrtpError;
use crate::rtp::seq;

/// Streams remembered of each kind, RTP and RTCP.
pub const MAX_STREAMS: usize = 64;
/// Packets of a transport until a stream that sent none of them may be replaced.
const IDLE: u64 = 1024;
/// Streams that are prefetched: rarely are more active at a time.
const LIVELY: usize = 8;

/// Decrypts the packets one transport receives.
pub struct SrtpRx {
    profile: SrtpProfile,
    rtp: Cipher,
    rtcp: Cipher,
    rtp_streams: Streams,
    rtcp_streams: Streams,
}

impl SrtpRx {
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
            rtp_streams: Streams::default(),
            rtcp_streams: Streams::default(),
        }
    }

    /// The profile in use.
    #[inline]
    #[must_use]
    pub const fn profile(&self) -> SrtpProfile {
        self.profile
    }

    /// Returns the memory of the RTP replay windows, for prefetching.
    #[inline]
    pub(crate) fn rtp_windows(&self) -> &[impl Sized] {
        let entries = &self.rtp_streams.entries;
        &entries[..entries.len().min(LIVELY)]
    }

    /// Decrypts the payload of `packet` into `out`; returns the packet's 48-bit index and the payload's length.
    ///
    /// `header_len` is [`crate::rtp::RtpHeader::header_len`] of the same packet. `out` is untouched by packets
    /// that are too short or replayed, and may hold garbage after one that is not authentic.
    ///
    /// # Errors
    /// See [`SrtpError`]; no state has changed then.
    #[inline]
    pub fn unprotect_rtp(
        &mut self,
        packet: &[u8],
        header_len: usize,
        out: &mut [u8],
    ) -> Result<(u64, usize), SrtpError> {
        if header_len < 12 || packet.len() < header_len {
            return Err(SrtpError::TooShort);
        }
        let ssrc = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);

        let slot = self.rtp_streams.find(ssrc);
        let newest = slot.and_then(|slot| self.rtp_streams.window(slot).newest());
        let index = estimate_index(sequence, newest);
        if !slot.is_none_or(|slot| self.rtp_streams.window(slot).is_fresh(index)) {
            return Err(SrtpError::Replayed);
        }
        let len = self.open_rtp(packet, header_len, index, out)?;
        self.rtp_streams.record(slot, ssrc, index);
        Ok((index, len))
    }

    /// As [`SrtpRx::unprotect_rtp`] for a caller that keeps the streams itself: it has estimated `index`
    /// (roll-over count and sequence number) and refuses replays. For receivers of hundreds of streams, who find
    /// the state of each by a faster way than a scan.
    ///
    /// # Errors
    /// See [`SrtpError`]; never [`SrtpError::Replayed`].
    #[inline]
    pub fn open_rtp(
        &self,
        packet: &[u8],
        header_len: usize,
        index: u64,
        out: &mut [u8],
    ) -> Result<usize, SrtpError> {
        let end = packet
            .len()
            .checked_sub(self.profile.rtp_overhead())
            .ok_or(SrtpError::TooShort)?;
        if header_len < 12 {
            return Err(SrtpError::TooShort);
        }
        let len = end.checked_sub(header_len).ok_or(SrtpError::TooShort)?;
        let out = out.get_mut(..len).ok_or(SrtpError::TooShort)?;
        let ssrc = u32::from_be_bytes([packet[8], packet[9], packet[10], packet[11]]);
        let (header, sealed) = packet.split_at(header_len);
        match &self.rtp {
            Cipher::Gcm(gcm) => gcm.open(ssrc, index, header, sealed, out)?,
            Cipher::CmSha1(cm) => {
                let roll_over = ((index >> 16) as u32).to_be_bytes();
                cm.verify(&packet[..end], &roll_over, &packet[end..])?;
                out.copy_from_slice(&sealed[..len]);
                cm.apply(ssrc, index, out);
            }
        }
        Ok(len)
    }

    /// Decrypts a compound packet in place and returns its length.
    ///
    /// # Errors
    /// See [`SrtpError`]; no state has changed then, but `packet` may hold garbage.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let len = packet
            .len()
            .checked_sub(self.profile.rtcp_overhead())
            .ok_or(SrtpError::TooShort)?;
        if len < RTCP_CLEAR_LEN {
            return Err(SrtpError::TooShort);
        }
        // GCM puts the word behind the tag, CM before it (RFC 7714 §9.2, RFC 3711 §3.4).
        let word_at = match &self.rtcp {
            Cipher::Gcm(_) => len + GCM_TAG_LEN,
            Cipher::CmSha1(_) => len,
        };
        let word_bytes = [
            packet[word_at],
            packet[word_at + 1],
            packet[word_at + 2],
            packet[word_at + 3],
        ];
        let word = u32::from_be_bytes(word_bytes);
        if word & ENCRYPTED == 0 {
            return Err(SrtpError::NotEncrypted);
        }
        let index = u64::from(word & !ENCRYPTED);
        let ssrc = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
        let slot = self.rtcp_streams.find(ssrc);
        if !slot.is_none_or(|slot| self.rtcp_streams.window(slot).is_fresh(index)) {
            return Err(SrtpError::Replayed);
        }
        match &self.rtcp {
            Cipher::Gcm(gcm) => {
                let (clear, rest) = packet.split_at_mut(RTCP_CLEAR_LEN);
                let body = &mut rest[..len - RTCP_CLEAR_LEN + GCM_TAG_LEN];
                gcm.open_in_place(ssrc, index, &rtcp_associated(clear, word_bytes), body)?;
            }
            Cipher::CmSha1(cm) => {
                let (authenticated, tag) = packet.split_at(packet.len() - SHA1_TAG_LEN);
                cm.verify(authenticated, &[], tag)?;
                cm.apply(ssrc, index, &mut packet[RTCP_CLEAR_LEN..len]);
            }
        }
        self.rtcp_streams.record(slot, ssrc, index);
        Ok(len)
    }
}

impl fmt::Debug for SrtpRx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrtpRx")
            .field("profile", &self.profile)
            .field("rtp_streams", &self.rtp_streams.entries.len())
            .field("rtcp_streams", &self.rtcp_streams.entries.len())
            .finish()
    }
}

/// Estimates the index of a packet from its sequence number and the newest authenticated index.
fn estimate_index(sequence: u16, newest: Option<u64>) -> u64 {
    // Before the first wrap a number far ahead is used unchanged: a roll-over count cannot be negative.
    newest
        .and_then(|newest| seq::extend_near(sequence, newest))
        .unwrap_or(u64::from(sequence))
}

/// Replay windows of the known streams, by SSRC.
#[derive(Default)]
struct Streams {
    entries: Vec<Stream>,
    /// Counts authenticated packets; orders streams by their last one.
    clock: u64,
}

struct Stream {
    ssrc: u32,
    last_used: u64,
    window: ReplayWindow,
}

impl Streams {
    #[inline]
    fn find(&self, ssrc: u32) -> Option<usize> {
        self.entries.iter().position(|stream| stream.ssrc == ssrc)
    }

    #[inline]
    fn window(&self, slot: usize) -> &ReplayWindow {
        &self.entries[slot].window
    }

    #[inline]
    fn record(&mut self, slot: Option<usize>, ssrc: u32, index: u64) {
        self.clock += 1;
        let slot = slot.unwrap_or_else(|| self.create(ssrc));
        let stream = &mut self.entries[slot];
        stream.last_used = self.clock;
        stream.window.record(index);
        // Ended streams move back by one place with each packet of an active one.
        if slot > 0 && self.entries[slot - 1].last_used + IDLE < self.clock {
            self.entries.swap(slot - 1, slot);
        }
    }

    #[cold]
    fn create(&mut self, ssrc: u32) -> usize {
        let fresh = Stream {
            ssrc,
            last_used: self.clock,
            window: ReplayWindow::default(),
        };
        if self.entries.len() < MAX_STREAMS {
            self.entries.push(fresh);
            return self.entries.len() - 1;
        }
        let (slot, idle) = self
            .entries
            .iter_mut()
            .enumerate()
            .min_by_key(|(_, stream)| stream.last_used)
            .expect("invariant: the list is full");
        *idle = fresh;
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_that_ended_are_behind_those_that_live() {
        let mut streams = Streams::default();
        let packet = |streams: &mut Streams, ssrc: u32, index| {
            let slot = streams.find(ssrc);
            streams.record(slot, ssrc, index);
        };
        for ssrc in 0..60 {
            for index in 0..100 {
                packet(&mut streams, ssrc, index);
            }
        }
        // Three live on: one sends ten times as much as the others.
        for index in 0..20_000 {
            packet(&mut streams, 1000, index);
            if index % 10 == 0 {
                packet(&mut streams, 1001, index);
                packet(&mut streams, 59, 100 + index);
            }
        }
        for ssrc in [1000, 1001, 59] {
            assert!(streams.find(ssrc).is_some_and(|slot| slot < 3), "{ssrc}");
        }
        assert_eq!(streams.entries.len(), 62, "and no stream is forgotten");
        let found = streams.find(7).expect("known");
        assert!(
            !streams.window(found).is_fresh(99),
            "their replays are still refused"
        );
    }
}

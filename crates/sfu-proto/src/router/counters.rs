//! What a router counts for operators: repair, key frame requests, and paths and handshakes that failed.
//!
//! # Job
//! Declares the counters with their metrics. A new one is a line here, and an addition where it happens.
//!
//! # Left out
//! Packets and bytes, which are in `RouterStats`; drops, which are in `Drops`.

use crate::dtls::DtlsFailure;
use crate::ice::IceRefusal;
use crate::link::{LinkFailure, Unfinished};

crate::counters! {
    /// Counters of a router, by the metrics they belong to.
    pub struct Counters {
        "nacks", ["direction"], "NACK messages received from receivers and sent to senders of media." => {
            nacks_received: ["received"],
            nacks_sent: ["sent"],
        }
        "nacked_packets", ["direction"], "RTP packets that NACK messages asked for." => {
            nacked_packets_received: ["received"],
            nacked_packets_sent: ["sent"],
        }
        "rtx_packets", ["direction"], "Retransmissions: received by RTX; sent by RTX, or as the same packet again to clients without RTX." => {
            rtx_packets_received: ["received"],
            rtx_packets_sent: ["sent"],
        }
        "rtx_bytes", ["direction"], "Bytes of retransmissions, counted as datagrams." => {
            rtx_bytes_received: ["received"],
            rtx_bytes_sent: ["sent"],
        }
        "key_frame_requests", ["message", "outcome"], "Requests for key frames, by message (`pli`, `fir`): `received` from receivers; `suppressed`, those of them that caused no message to the sender, as the receiver asked too often or another request was under way; `sent` to senders, repetitions included." => {
            plis_received: ["pli", "received"],
            plis_suppressed: ["pli", "suppressed"],
            plis_sent: ["pli", "sent"],
            firs_received: ["fir", "received"],
            firs_suppressed: ["fir", "suppressed"],
            firs_sent: ["fir", "sent"],
        }
        "dtls_failures", ["reason"], "DTLS handshakes that failed: `fingerprint_mismatch`, `timeout`, `alert` (the peer gave up), `no_version`, `no_cipher_suite`, `no_srtp_profile`, `handshake` (anything else), `abandoned` (the transport was closed meanwhile)." => {
            dtls_abandoned: ["abandoned"],
            dtls_alert: ["alert"],
            dtls_fingerprint: ["fingerprint_mismatch"],
            dtls_handshake: ["handshake"],
            dtls_no_cipher_suite: ["no_cipher_suite"],
            dtls_no_srtp_profile: ["no_srtp_profile"],
            dtls_no_version: ["no_version"],
            dtls_timeout: ["timeout"],
        }
        "ice_failures", ["reason"], "Paths that failed: `consent_lost` (no check for 30 s), `no_check` (the transport was closed before a valid check came, though its client had connected it); and checks refused: `wrong_password`, `role_conflict`." => {
            ice_consent_lost: ["consent_lost"],
            ice_no_check: ["no_check"],
            ice_role_conflict: ["role_conflict"],
            ice_wrong_password: ["wrong_password"],
        }
    }
}

impl Counters {
    /// Counts a link that failed.
    pub(super) fn link_failed(&mut self, failure: &LinkFailure) {
        let count = match failure {
            LinkFailure::ConsentLost => &mut self.ice_consent_lost,
            LinkFailure::Unreachable | LinkFailure::Ice(_) => &mut self.ice_no_check,
            LinkFailure::Dtls(reason) => match reason {
                DtlsFailure::FingerprintMismatch(_) => &mut self.dtls_fingerprint,
                DtlsFailure::Timeout => &mut self.dtls_timeout,
                DtlsFailure::NoSrtpProfile => &mut self.dtls_no_srtp_profile,
                DtlsFailure::Alert(_) => &mut self.dtls_alert,
                DtlsFailure::NoVersion => &mut self.dtls_no_version,
                DtlsFailure::NoCipherSuite => &mut self.dtls_no_cipher_suite,
                DtlsFailure::Handshake(_) => &mut self.dtls_handshake,
            },
        };
        *count += 1;
    }

    /// Counts a link that is closed before it was established.
    pub(super) fn link_unfinished(&mut self, unfinished: Unfinished) {
        match unfinished {
            Unfinished::NoCheck => self.ice_no_check += 1,
            Unfinished::Handshake => self.dtls_abandoned += 1,
        }
    }

    /// Counts a check that was refused.
    pub(super) fn check_refused(&mut self, refusal: IceRefusal) {
        match refusal {
            IceRefusal::WrongPassword => self.ice_wrong_password += 1,
            IceRefusal::RoleConflict => self.ice_role_conflict += 1,
        }
    }
}

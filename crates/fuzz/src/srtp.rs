//! SRTP and SRTCP: foreign packets are refused, own ones accepted once, whatever the order.

use std::collections::HashSet;

use meeshy_sfu_proto::error::SrtpError;
use meeshy_sfu_proto::rtp::RtpHeader;
use meeshy_sfu_proto::srtp::{MasterKey, SrtpProfile, SrtpRx, SrtpTx};

const PROFILES: [SrtpProfile; 3] = [
    SrtpProfile::AeadAes256Gcm,
    SrtpProfile::AeadAes128Gcm,
    SrtpProfile::Aes128CmSha1_80,
];

/// The keys under which the seeds of the corpus are protected.
fn master(profile: SrtpProfile) -> MasterKey {
    MasterKey {
        key: vec![0x42; profile.key_len()],
        salt: vec![0x17; profile.salt_len()],
    }
}

/// The first byte chooses the profile and whether the rest is RTCP.
pub(super) fn unprotect(data: &[u8]) {
    let Some((&choice, packet)) = data.split_first() else {
        return;
    };
    let profile = PROFILES[usize::from(choice) % PROFILES.len()];
    let mut rx = SrtpRx::new(profile, &master(profile));
    if choice & 0x80 != 0 {
        let mut opened = packet.to_vec();
        if let Ok(len) = rx.unprotect_rtcp(&mut opened) {
            assert_eq!(len + profile.rtcp_overhead(), packet.len());
            let again = rx.unprotect_rtcp(&mut packet.to_vec());
            assert_eq!(again, Err(SrtpError::Replayed));
        }
        return;
    }
    let Ok(header) = RtpHeader::parse(packet) else {
        return;
    };
    let mut out = [0; 2048];
    if let Ok((index, len)) = rx.unprotect_rtp(packet, header.header_len(), &mut out) {
        assert_eq!(
            header.header_len() + len + profile.rtp_overhead(),
            packet.len()
        );
        assert_eq!(index as u16, header.sequence);
        let again = rx.unprotect_rtp(packet, header.header_len(), &mut out);
        assert_eq!(again, Err(SrtpError::Replayed));
    }
}

/// Two bytes are a step of a stream; what arrives is compared with a set of all that came before.
pub(super) fn stream(data: &[u8]) {
    let profile = SrtpProfile::AeadAes128Gcm;
    let tx = SrtpTx::new(profile, &master(profile));
    let mut rx = SrtpRx::new(profile, &master(profile));
    let mut seen = HashSet::new();
    let mut newest = 0u64;
    for step in data.as_chunks::<2>().0.iter().take(500) {
        let step = i64::from(i16::from_be_bytes(*step));
        // The first packet is within the roll-over count of zero, as a sender must begin.
        let Some(index) = newest
            .checked_add_signed(step)
            .filter(|index| !seen.is_empty() || *index <= 0x7fff)
        else {
            continue;
        };
        let mut packet = [0; 12 + 4 + 16];
        packet[0] = 0x80;
        packet[2..4].copy_from_slice(&(index as u16).to_be_bytes());
        tx.protect_rtp(&mut packet, 12, b"data", 0, index);
        let mut out = [0; 4];
        match rx.unprotect_rtp(&packet, 12, &mut out) {
            Ok(opened) => {
                assert_eq!((opened, &out), ((index, 4), b"data"));
                assert!(seen.insert(index), "accepted twice: {index}");
                newest = newest.max(index);
            }
            Err(SrtpError::Replayed) => {
                assert!(
                    seen.contains(&index) || newest - index >= 128,
                    "refused a fresh {index} at {newest}"
                );
            }
            Err(error) => panic!("own packet {index} at {newest}: {error}"),
        }
    }
}

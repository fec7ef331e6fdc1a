//! What the two halves promise each other, over all profiles.

use super::replay::WINDOW;
use super::*;
use crate::error::SrtpError;
use proptest::prelude::*;

const PROFILES: [SrtpProfile; 3] = [
    SrtpProfile::AeadAes256Gcm,
    SrtpProfile::AeadAes128Gcm,
    SrtpProfile::Aes128CmSha1_80,
];

fn master(profile: SrtpProfile, seed: u8) -> MasterKey {
    MasterKey {
        key: (0..profile.key_len() as u8)
            .map(|at| at.wrapping_mul(31) ^ seed)
            .collect(),
        salt: (0..profile.salt_len() as u8)
            .map(|at| at.wrapping_mul(17) ^ seed)
            .collect(),
    }
}

fn pair(profile: SrtpProfile) -> (SrtpTx, SrtpRx) {
    let master = master(profile, 7);
    (SrtpTx::new(profile, &master), SrtpRx::new(profile, &master))
}

fn protect(tx: &SrtpTx, ssrc: u32, index: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 12 + payload.len() + tx.profile().rtp_overhead()];
    out[0] = 0x80;
    out[2..4].copy_from_slice(&(index as u16).to_be_bytes());
    out[8..12].copy_from_slice(&ssrc.to_be_bytes());
    let len = tx.protect_rtp(&mut out, 12, payload, ssrc, index);
    assert_eq!(len, out.len());
    out
}

fn open(rx: &mut SrtpRx, packet: &[u8]) -> Result<(u64, Vec<u8>), SrtpError> {
    let mut out = [0; 1500];
    rx.unprotect_rtp(packet, 12, &mut out)
        .map(|(index, len)| (index, out[..len].to_vec()))
}

fn compound(tx: &mut SrtpTx, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1, 0, 0, 0, 9];
    packet.extend_from_slice(body);
    let len = packet.len();
    packet.resize(len + tx.profile().rtcp_overhead(), 0);
    assert_eq!(tx.protect_rtcp(&mut packet, len), packet.len());
    packet
}

#[test]
fn a_packet_is_accepted_once() {
    for profile in PROFILES {
        let (tx, mut rx) = pair(profile);
        let packet = protect(&tx, 1, 10, b"hello");
        assert_eq!(open(&mut rx, &packet), Ok((10, b"hello".to_vec())));
        assert_eq!(open(&mut rx, &packet), Err(SrtpError::Replayed));
    }
}

#[test]
fn reordered_packets_pass_within_the_window_and_across_a_wrap() {
    for profile in PROFILES {
        let (tx, mut rx) = pair(profile);
        for index in [
            65_000, 65_534, 65_537, 65_535, 65_536, 91_071, 120_000, 131_073, 131_072, 131_000,
        ] {
            assert_eq!(
                open(&mut rx, &protect(&tx, 1, index, b"x")),
                Ok((index, b"x".to_vec())),
                "{index}"
            );
        }
        let old = protect(&tx, 1, 131_073 - WINDOW, b"x");
        assert_eq!(open(&mut rx, &old), Err(SrtpError::Replayed));
    }
}

#[test]
fn a_forged_packet_changes_nothing() {
    for profile in PROFILES {
        let (tx, mut rx) = pair(profile);
        assert!(open(&mut rx, &protect(&tx, 1, 65_530, b"x")).is_ok());
        let next = protect(&tx, 1, 65_540, b"next");
        for at in 0..next.len() {
            // Some bytes change the index guessed or the stream found; all must end the same way.
            let mut forged = next.clone();
            forged[at] ^= 0x20;
            assert_eq!(
                open(&mut rx, &forged),
                Err(SrtpError::Authentication),
                "{profile:?} byte {at}"
            );
        }
        assert_eq!(open(&mut rx, &next), Ok((65_540, b"next".to_vec())));
        assert_eq!(rx_streams(&rx), 1);
    }
}

fn rx_streams(rx: &SrtpRx) -> usize {
    let shown = format!("{rx:?}");
    let count = shown.split("rtp_streams: ").nth(1).unwrap();
    count.split(',').next().unwrap().parse().unwrap()
}

#[test]
fn keys_of_another_session_do_not_open() {
    for profile in PROFILES {
        let (tx, _) = pair(profile);
        let mut rx = SrtpRx::new(profile, &master(profile, 8));
        assert_eq!(
            open(&mut rx, &protect(&tx, 1, 1, b"x")),
            Err(SrtpError::Authentication)
        );
    }
}

#[test]
fn sealing_an_index_again_gives_the_same_packet() {
    for profile in PROFILES {
        let (tx, _) = pair(profile);
        assert_eq!(
            protect(&tx, 1, 70_000, b"again"),
            protect(&tx, 1, 70_000, b"again")
        );
        assert_ne!(
            protect(&tx, 1, 70_000, b"again")[12..],
            protect(&tx, 2, 70_000, b"again")[12..]
        );
        assert_ne!(
            protect(&tx, 1, 70_000 + (1 << 16), b"again"),
            protect(&tx, 1, 70_000, b"again")
        );
    }
}

#[test]
fn too_many_streams_push_out_the_one_idle_longest() {
    let (tx, mut rx) = pair(SrtpProfile::AeadAes128Gcm);
    for ssrc in 0..MAX_STREAMS as u32 {
        assert!(open(&mut rx, &protect(&tx, ssrc, 5, b"x")).is_ok());
    }
    assert!(
        open(&mut rx, &protect(&tx, 0, 6, b"x")).is_ok(),
        "stream 0 is the freshest now"
    );
    assert!(open(&mut rx, &protect(&tx, 1000, 5, b"x")).is_ok());
    assert_eq!(
        open(&mut rx, &protect(&tx, 0, 6, b"x")),
        Err(SrtpError::Replayed),
        "still known"
    );
    assert!(
        open(&mut rx, &protect(&tx, 1, 5, b"x")).is_ok(),
        "forgotten"
    );
    assert_eq!(rx_streams(&rx), MAX_STREAMS);
}

#[test]
fn short_packets_and_short_buffers_are_refused() {
    for profile in PROFILES {
        let (tx, mut rx) = pair(profile);
        let packet = protect(&tx, 1, 1, b"payload");
        for len in 0..12 + profile.rtp_overhead() {
            assert_eq!(
                open(&mut rx, &packet[..len]),
                Err(SrtpError::TooShort),
                "{len}"
            );
        }
        assert_eq!(
            rx.unprotect_rtp(&packet, 12, &mut [0; 6]),
            Err(SrtpError::TooShort)
        );
        assert_eq!(
            rx.unprotect_rtp(&packet, 11, &mut [0; 64]),
            Err(SrtpError::TooShort)
        );
        assert_eq!(
            rx.unprotect_rtp(&packet, usize::MAX, &mut [0; 64]),
            Err(SrtpError::TooShort)
        );
        assert_eq!(rx.unprotect_rtp(&packet, 12, &mut [0; 7]), Ok((1, 7)));
    }
}

#[test]
fn compounds_round_trip_and_are_accepted_once() {
    for profile in PROFILES {
        let (mut tx, mut rx) = pair(profile);
        for body in [&b""[..], b"1234", &[7; 400]] {
            let packet = compound(&mut tx, body);
            let mut opened = packet.clone();
            let len = rx.unprotect_rtcp(&mut opened).unwrap();
            assert_eq!(opened[8..len], *body);
            assert_eq!(
                rx.unprotect_rtcp(&mut packet.clone()),
                Err(SrtpError::Replayed)
            );
        }
    }
}

#[test]
fn a_forged_compound_changes_nothing() {
    for profile in PROFILES {
        let (mut tx, mut rx) = pair(profile);
        let packet = compound(&mut tx, b"1234");
        for at in 0..packet.len() {
            let mut forged = packet.clone();
            forged[at] ^= 0x01;
            assert_eq!(
                rx.unprotect_rtcp(&mut forged),
                Err(SrtpError::Authentication),
                "{profile:?} {at}"
            );
        }
        assert!(rx.unprotect_rtcp(&mut packet.clone()).is_ok());
        for len in 0..8 + profile.rtcp_overhead() {
            assert_eq!(
                rx.unprotect_rtcp(&mut packet[..len].to_vec()),
                Err(SrtpError::TooShort)
            );
        }
    }
}

#[test]
fn a_compound_in_the_clear_is_refused() {
    for profile in PROFILES {
        let (mut tx, mut rx) = pair(profile);
        let mut packet = compound(&mut tx, b"1234");
        let word_at = match profile {
            SrtpProfile::Aes128CmSha1_80 => 12,
            _ => packet.len() - 4,
        };
        packet[word_at] &= 0x7f;
        assert_eq!(rx.unprotect_rtcp(&mut packet), Err(SrtpError::NotEncrypted));
    }
}

proptest! {
    #[test]
    fn every_payload_comes_out_as_it_went_in(
        which in 0usize..3,
        ssrc: u32,
        payload in proptest::collection::vec(any::<u8>(), 0..1400),
        steps in proptest::collection::vec(1u64..32_000, 1..12),
    ) {
        let (tx, mut rx) = pair(PROFILES[which]);
        let mut index = 0;
        for step in steps {
            index += step;
            let packet = protect(&tx, ssrc, index, &payload);
            prop_assert_eq!(open(&mut rx, &packet), Ok((index, payload.clone())));
        }
    }

    #[test]
    fn any_bytes_are_refused_without_panic(
        which in 0usize..3,
        mut packet in proptest::collection::vec(any::<u8>(), 0..200),
        header_len in 0usize..220,
    ) {
        let (_, mut rx) = pair(PROFILES[which]);
        prop_assert!(rx.unprotect_rtp(&packet, header_len, &mut [0; 256]).is_err());
        prop_assert!(rx.unprotect_rtcp(&mut packet).is_err());
    }
}

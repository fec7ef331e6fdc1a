//! SRTP and SRTCP against packets protected by libsrtp, in both directions and for all profiles.
//!
//! `data/srtp_vectors.py` makes the vectors; equal bytes both ways mean that either side interoperates with libsrtp.
#![expect(
    clippy::unwrap_used,
    reason = "a vector that does not parse fails its test"
)]

use meeshy_sfu_proto::rtp::RtpHeader;
use meeshy_sfu_proto::srtp::{MasterKey, SrtpProfile, SrtpRx, SrtpTx};

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn profile(name: &str) -> SrtpProfile {
    [
        SrtpProfile::AeadAes256Gcm,
        SrtpProfile::AeadAes128Gcm,
        SrtpProfile::Aes128CmSha1_80,
    ]
    .into_iter()
    .find(|profile| profile.name() == name)
    .unwrap()
}

fn check_rtp(tx: &SrtpTx, rx: &mut SrtpRx, fields: &[&str]) {
    let ssrc = u32::from_str_radix(fields[1], 16).unwrap();
    let index: u64 = fields[2].parse().unwrap();
    let header_len: usize = fields[3].parse().unwrap();
    let (plain, protected) = (bytes(fields[4]), bytes(fields[5]));
    assert_eq!(
        RtpHeader::parse(&protected).unwrap().header_len(),
        header_len
    );

    let mut out = vec![0; plain.len() + tx.profile().rtp_overhead()];
    out[..header_len].copy_from_slice(&plain[..header_len]);
    let len = tx.protect_rtp(&mut out, header_len, &plain[header_len..], ssrc, index);
    assert_eq!(
        out[..len],
        protected,
        "{:?} ssrc {ssrc:x} index {index}",
        tx.profile()
    );

    let mut payload = [0; 2048];
    let (got, len) = rx
        .unprotect_rtp(&protected, header_len, &mut payload)
        .unwrap();
    assert_eq!(got, index);
    assert_eq!(payload[..len], plain[header_len..]);
}

fn check_rtcp(tx: &mut SrtpTx, rx: &mut SrtpRx, fields: &[&str]) {
    let (plain, mut protected) = (bytes(fields[2]), bytes(fields[3]));
    let mut out = [0; 2048];
    out[..plain.len()].copy_from_slice(&plain);
    let len = tx.protect_rtcp(&mut out, plain.len());
    assert_eq!(
        out[..len],
        protected,
        "{:?} SRTCP index {}",
        tx.profile(),
        fields[1]
    );

    let len = rx.unprotect_rtcp(&mut protected).unwrap();
    assert_eq!(protected[..len], plain);
}

#[test]
fn libsrtp_and_we_protect_to_the_same_bytes_and_open_them() {
    let mut ends = None;
    let mut checked = 0;
    for line in include_str!("data/srtp_vectors.txt").lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        if fields[0] == "key" {
            let master = MasterKey {
                key: bytes(fields[2]),
                salt: bytes(fields[3]),
            };
            let mut tx = SrtpTx::new(profile(fields[1]), &master);
            // libsrtp counts SRTCP packets from one, we from zero.
            tx.protect_rtcp(&mut [0; 64], 8);
            ends = Some((tx, SrtpRx::new(profile(fields[1]), &master)));
            continue;
        }
        let (tx, rx) = ends.as_mut().unwrap();
        match fields[0] {
            "rtp" => check_rtp(tx, rx, &fields),
            "rtcp" => check_rtcp(tx, rx, &fields),
            other => panic!("unknown line {other}"),
        }
        checked += 1;
    }
    assert_eq!(checked, 3 * (24 + 5));
}

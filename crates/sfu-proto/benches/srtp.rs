//! Cost of protecting and opening one packet, beside the plainer way that was not taken.
//!
//! `cargo bench -p meeshy-sfu-proto --bench srtp` prints nanoseconds per packet, the least of many slices, over 49
//! keys in turn as in a mesh of 50. `-- --packets N` runs each case N times once, for callgrind and heap counts.
#![expect(clippy::print_stdout, reason = "the table is what a benchmark is for")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use meeshy_sfu_proto::srtp::{MasterKey, SrtpProfile, SrtpRx, SrtpTx};

const KEYS: usize = 49;
const HEADER_LEN: usize = 32;
const PROFILES: [SrtpProfile; 3] = [
    SrtpProfile::AeadAes128Gcm,
    SrtpProfile::AeadAes256Gcm,
    SrtpProfile::Aes128CmSha1_80,
];

fn master(profile: SrtpProfile, seed: usize) -> MasterKey {
    let bytes = |len: usize| (0..len).map(|at| (at * 7 + seed * 13) as u8).collect();
    MasterKey {
        key: bytes(profile.key_len()),
        salt: bytes(profile.salt_len()),
    }
}

/// Runs `once` with a rising count and gives nanoseconds per call: the least of the slices.
fn measure(packets: Option<u64>, mut once: impl FnMut(u64)) -> f64 {
    let slice = packets.unwrap_or(2_000);
    let slices = if packets.is_some() { 1 } else { 300 };
    let mut count = 0;
    let mut least = Duration::MAX;
    for _ in 0..slices {
        let start = Instant::now();
        for _ in 0..slice {
            once(count);
            count += 1;
        }
        least = least.min(start.elapsed());
    }
    least.as_nanos() as f64 / slice as f64
}

fn protect(profile: SrtpProfile, size: usize, packets: Option<u64>) -> f64 {
    let senders: Vec<SrtpTx> = (0..KEYS)
        .map(|seed| SrtpTx::new(profile, &master(profile, seed)))
        .collect();
    let plaintext = vec![0x5a; size - HEADER_LEN];
    let mut out = [0x90; 2048];
    measure(packets, |count| {
        let sender = &senders[count as usize % KEYS];
        black_box(sender.protect_rtp(&mut out, HEADER_LEN, black_box(&plaintext), 1, count));
    })
}

/// What GCM would cost if the payload were copied to the send buffer and encrypted there.
fn protect_by_copy(size: usize, packets: Option<u64>) -> f64 {
    let keys: Vec<LessSafeKey> = (0..KEYS)
        .map(|seed| UnboundKey::new(&AES_128_GCM, &[seed as u8; 16]).expect("length of the key"))
        .map(LessSafeKey::new)
        .collect();
    let plaintext = vec![0x5a; size - HEADER_LEN];
    let mut out = [0x90; 2048];
    measure(packets, |count| {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&count.to_be_bytes());
        let (header, body) = out.split_at_mut(HEADER_LEN);
        let (text, tag_out) = body.split_at_mut(plaintext.len());
        text.copy_from_slice(black_box(&plaintext));
        let nonce = Nonce::assume_unique_for_key(nonce);
        let key = &keys[count as usize % KEYS];
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(&*header), text)
            .expect("any length");
        tag_out[..16].copy_from_slice(tag.as_ref());
        black_box(&mut out);
    })
}

/// What the HMAC alone costs with the implementation that has the ciphers.
fn tag_by_aws_lc(size: usize, packets: Option<u64>) -> f64 {
    let keys: Vec<hmac::Key> = (0..KEYS)
        .map(|seed| hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &[seed as u8; 20]))
        .collect();
    let authenticated = vec![0x5a; size + 4];
    measure(packets, |count| {
        black_box(hmac::sign(
            &keys[count as usize % KEYS],
            black_box(&authenticated),
        ));
    })
}

fn unprotect(profile: SrtpProfile, size: usize, packets: Option<u64>) -> f64 {
    let key = master(profile, 1);
    let tx = SrtpTx::new(profile, &key);
    let plaintext = vec![0x5a; size - HEADER_LEN];
    // A stream is opened again by a fresh receiver each time it is through, so that no packet is a replay.
    let stream: Vec<Vec<u8>> = (0..2_000u64)
        .map(|index| {
            let mut out = vec![0; size + profile.rtp_overhead()];
            out[2..4].copy_from_slice(&(index as u16).to_be_bytes());
            tx.protect_rtp(&mut out, HEADER_LEN, &plaintext, 0, index);
            out
        })
        .collect();
    let mut rx = SrtpRx::new(profile, &key);
    let mut out = [0; 2048];
    measure(packets, |count| {
        let at = count as usize % stream.len();
        if at == 0 {
            rx = SrtpRx::new(profile, &key);
        }
        black_box(rx.unprotect_rtp(&stream[at], HEADER_LEN, &mut out))
            .expect("protected with the same key");
    })
}

fn row(name: &str, cost: impl Fn(usize) -> f64) {
    println!("{name:<50}{:>8.0}{:>8.0}", cost(120), cost(1150));
}

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--packets");
    let packets = arguments.nth(1).and_then(|count| count.parse().ok());
    println!(
        "{:<50}{:>8}{:>8}",
        "ns per packet, least of slices", "120 B", "1150 B"
    );
    for profile in PROFILES {
        row(&format!("protect   {}", profile.name()), |size| {
            protect(profile, size, packets)
        });
        row(&format!("unprotect {}", profile.name()), |size| {
            unprotect(profile, size, packets)
        });
    }
    row("not taken: AEAD_AES_128_GCM, copy, then in place", |size| {
        protect_by_copy(size, packets)
    });
    row("not taken: HMAC-SHA1 of aws-lc, tag alone", |size| {
        tag_by_aws_lc(size, packets)
    });
}

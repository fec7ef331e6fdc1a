//! The model decoder and the link of the quality tests can fail: each fault that is put into a stream is counted as
//! what it is, and nothing else is.
#![allow(clippy::unwrap_used)]

mod quality_stage;
mod router_call;
mod seeded;

use meeshy_sfu_proto::router::Codec;
use quality_stage::decoder::{Decoder, Faults};
use quality_stage::encoder::Encoder;
use quality_stage::link::{Link, Path};
use quality_stage::{MS, Micros, PICTURE, SECOND, TICKS_PER_PICTURE};

const CODECS: [Codec; 2] = [Codec::Vp8, Codec::H264];
const PICTURES: u32 = 40;
/// A key frame besides the first.
const SECOND_KEY: u32 = 20;

#[derive(Clone, Debug)]
struct Packet {
    index: u64,
    timestamp: u32,
    marker: bool,
    payload: Vec<u8>,
    picture: u32,
    at: Micros,
}

/// `PICTURES` pictures of two to three packets.
fn stream(codec: Codec, encoding: u8) -> Vec<Packet> {
    let mut encoder = Encoder::new(codec, encoding, 0x7ff0, 250);
    let mut packets = Vec::new();
    for picture in 0..PICTURES {
        let key = picture == 0 || picture == SECOND_KEY;
        for part in encoder.encode(picture, picture * TICKS_PER_PICTURE, key, 1500) {
            packets.push(Packet {
                index: 100 + packets.len() as u64,
                timestamp: part.ticks,
                marker: part.marker,
                payload: part.payload,
                picture,
                at: u64::from(picture) * PICTURE,
            });
        }
    }
    packets
}

fn decoded(codec: Codec, packets: &[Packet]) -> Decoder {
    let mut decoder = Decoder::new(codec);
    for packet in packets {
        decoder.insert(
            packet.index,
            packet.timestamp,
            packet.marker,
            &packet.payload,
            packet.at,
        );
    }
    decoder
}

/// Numbers the packets anew, as a router does that drops some.
fn close_gaps(packets: &mut [Packet]) {
    for (position, packet) in packets.iter_mut().enumerate() {
        packet.index = 100 + position as u64;
    }
}

fn first_of(packets: &[Packet], picture: u32) -> usize {
    let found = packets.iter().position(|packet| packet.picture == picture);
    found.unwrap()
}

/// Faults and shown pictures of a stream that was changed.
fn after(codec: Codec, change: impl FnOnce(&mut Vec<Packet>)) -> (Faults, usize) {
    let mut packets = stream(codec, 0);
    change(&mut packets);
    let decoder = decoded(codec, &packets);
    (decoder.faults, decoder.shown.len())
}

#[test]
fn a_stream_as_it_was_sent_has_no_fault() {
    for codec in CODECS {
        let decoder = decoded(codec, &stream(codec, 0));
        assert_eq!(decoder.faults, Faults::default());
        assert_eq!(decoder.shown.len(), PICTURES as usize);
        assert!(decoder.freezes().is_empty() && decoder.skipped == 0 && decoder.cut == 0);
    }
}

#[test]
fn packets_in_another_order_are_put_right() {
    for codec in CODECS {
        let (faults, shown) = after(codec, |packets| {
            // Not the first: a receiver begins with what comes first.
            for pair in packets[3..].chunks_mut(2) {
                pair.reverse();
            }
        });
        assert_eq!((faults, shown), (Faults::default(), PICTURES as usize));
    }
}

#[test]
fn a_lost_packet_stops_the_picture_until_a_whole_key_frame_is_behind_it() {
    for codec in CODECS {
        let mut packets = stream(codec, 0);
        let lost = first_of(&packets, 8);
        packets.remove(lost);
        let decoder = decoded(codec, &packets);
        assert_eq!(decoder.faults, Faults::default());
        assert_eq!(decoder.shown.len(), 8 + 20);
        assert!(decoder.skipped > 0);
        let freezes = decoder.freezes();
        assert_eq!(freezes.len(), 1, "{freezes:?}");
        assert!(freezes[0].1 > 12 * PICTURE);
        packets.truncate(first_of(&packets, SECOND_KEY));
        let decoder = decoded(codec, &packets);
        assert_eq!(decoder.shown.len(), 8);
        assert!(decoder.blocked_since().is_some());
    }
}

#[test]
fn a_packet_dropped_under_closed_numbers_tears_its_picture_and_those_that_refer_to_it() {
    for codec in CODECS {
        let (faults, shown) = after(codec, |packets| {
            packets.remove(first_of(packets, 16));
            close_gaps(packets);
        });
        // 16 is of T0; 17 to 19 refer to it directly or by 18; 20 is key.
        assert_eq!((faults.torn, faults.undecodable), (1, 3), "{codec:?}");
        assert_eq!(shown, PICTURES as usize - 4);
    }
}

#[test]
fn a_picture_dropped_under_closed_numbers_takes_those_that_refer_to_it() {
    for codec in CODECS {
        let (faults, _) = after(codec, |packets| {
            packets.retain(|packet| packet.picture != 18);
            close_gaps(packets);
        });
        // 18 is of T1, 19 refers to it.
        let numbers = u32::from(codec == Codec::Vp8);
        let expected = Faults {
            undecodable: 1,
            picture_id: numbers,
            ..Faults::default()
        };
        assert_eq!(faults, expected, "{codec:?}");
    }
}

#[test]
fn a_picture_nothing_refers_to_breaks_the_picture_ids_only() {
    let (faults, shown) = after(Codec::Vp8, |packets| {
        packets.retain(|packet| packet.picture != 17);
        close_gaps(packets);
    });
    let expected = Faults {
        picture_id: 1,
        ..Faults::default()
    };
    assert_eq!((faults, shown), (expected, PICTURES as usize - 1));
}

#[test]
fn wrong_picture_numbers_are_counted() {
    let (faults, _) = after(Codec::Vp8, |packets| {
        let packets = packets.iter_mut().filter(|packet| packet.picture >= 30);
        packets.for_each(|packet| packet.payload[3] ^= 0x20);
    });
    assert!(faults.picture_id >= 1 && faults.tl0 == 0, "{faults:?}");
    let (faults, _) = after(Codec::Vp8, |packets| {
        let packets = packets.iter_mut().filter(|packet| packet.picture >= 30);
        packets.for_each(|packet| packet.payload[4] = packet.payload[4].wrapping_add(3));
    });
    assert_eq!((faults.picture_id, faults.tl0), (0, 1));
    let (faults, _) = after(Codec::Vp8, |packets| {
        let second = first_of(packets, 30) + 1;
        packets[second].payload[3] ^= 1;
    });
    assert_eq!(faults.picture_id, 1, "two numbers in one picture");
}

#[test]
fn a_splice_without_a_key_frame_is_undecodable() {
    for codec in CODECS {
        let (faults, shown) = after(codec, |packets| {
            let other = stream(codec, 1);
            packets.truncate(first_of(packets, 8));
            packets.extend_from_slice(&other[first_of(&other, 8)..]);
            close_gaps(packets);
        });
        assert_eq!((faults.undecodable, shown), (12, 28), "{codec:?}");
        let (faults, shown) = after(codec, |packets| {
            let other = stream(codec, 1);
            packets.truncate(first_of(packets, SECOND_KEY));
            packets.extend_from_slice(&other[first_of(&other, SECOND_KEY)..]);
            close_gaps(packets);
        });
        assert_eq!((faults, shown), (Faults::default(), 40), "at a key frame");
    }
}

#[test]
fn a_lost_marker_leaves_a_picture_open() {
    for codec in CODECS {
        let (faults, shown) = after(codec, |packets| {
            let end = first_of(packets, 18) - 1;
            packets[end].marker = false;
        });
        assert_eq!((faults.open, faults.torn), (1, 0), "{codec:?}");
        assert_eq!(shown, PICTURES as usize - 1);
    }
}

#[test]
fn a_picture_cut_before_a_key_frame_is_counted_apart() {
    for codec in CODECS {
        let mut packets = stream(codec, 0);
        packets.remove(first_of(&packets, SECOND_KEY) - 1);
        close_gaps(&mut packets);
        let decoder = decoded(codec, &packets);
        assert_eq!((decoder.faults, decoder.cut), (Faults::default(), 1));
    }
}

#[test]
fn parts_in_the_wrong_order_tear_a_picture() {
    for codec in CODECS {
        let (faults, _) = after(codec, |packets| {
            let first = first_of(packets, 17);
            let (one, two) = packets.split_at_mut(first + 1);
            std::mem::swap(&mut one[first].payload, &mut two[0].payload);
        });
        assert_eq!(faults.torn, 1, "{codec:?}");
    }
}

#[test]
fn timestamps_that_repeat_or_leave_the_captures_are_counted() {
    for codec in CODECS {
        for by in [-30_000, -2999, 20_000] {
            let (faults, _) = after(codec, |packets| {
                let rest = packets.iter_mut().filter(|packet| packet.picture >= 30);
                rest.for_each(|packet| packet.timestamp = packet.timestamp.wrapping_add_signed(by));
            });
            let expected = u32::from(by != -2999);
            assert_eq!(faults.timestamp, expected, "{codec:?}, {by} ticks");
        }
    }
}

#[test]
fn a_picture_that_claims_to_be_a_key_frame_is_counted() {
    let (faults, _) = after(Codec::Vp8, |packets| {
        let first = first_of(packets, 30);
        packets[first].payload[6] = 0;
    });
    assert_eq!(faults.mislabelled, 1);
}

fn arrivals(path: Path, seed: u64) -> (Vec<Option<Micros>>, Link) {
    let mut link = Link::new(path, seed);
    let at = |step: u64| step * MS;
    let arrived = (0..10_000).map(|step| link.send(1172, at(step))).collect();
    (arrived, link)
}

#[test]
fn a_link_keeps_its_rate_and_drops_what_would_wait_too_long() {
    // 1200 bytes each millisecond are 9.6 Mbit/s.
    let half = Path {
        rate_bps: Some(4_800_000),
        ..Path::CLEAN
    };
    let (arrived, link) = arrivals(half, 1);
    let passed = arrived.iter().flatten().count();
    assert!((4950..5200).contains(&passed), "{passed}");
    assert_eq!(link.overflowed as usize, 10_000 - passed);
    let waits = arrived.iter().enumerate();
    let longest = waits.filter_map(|(step, at)| Some((*at)? - step as u64 * MS));
    let longest = longest.max().unwrap();
    assert!(longest > 200 * MS && longest <= 223 * MS, "{longest}");
}

#[test]
fn a_link_loses_delays_and_reorders_as_it_is_told_and_the_same_for_a_seed() {
    let (arrived, _) = arrivals(Path::CLEAN, 1);
    assert!(
        (0..)
            .zip(&arrived)
            .all(|(step, at)| *at == Some(step * MS + 20 * MS))
    );
    let (_, link) = arrivals(Path::CLEAN.with_loss(0.02), 1);
    assert!((150..250).contains(&link.lost), "{}", link.lost);
    let bursts = Path {
        burst: (0.005, 5.0),
        ..Path::CLEAN
    };
    let (arrived, link) = arrivals(bursts, 1);
    let begun = arrived
        .windows(2)
        .filter(|two| two[0].is_some() && two[1].is_none());
    let mean = link.lost as f64 / begun.count() as f64;
    assert!((4.0..6.0).contains(&mean), "{mean}");
    let late = Path {
        jitter: 10 * MS,
        reorder: (0.05, 30 * MS),
        ..Path::CLEAN
    };
    let (arrived, _) = arrivals(late, 1);
    let turned = arrived.windows(2).filter(|two| two[1] < two[0]).count();
    assert!((300..600).contains(&turned), "{turned}");
    assert_eq!(arrived, arrivals(late, 1).0);
    assert_ne!(arrived, arrivals(late, 2).0);
    assert!(arrived.iter().flatten().max() < Some(&(10 * SECOND + 60 * MS)));
}

use super::*;
use crate::checksum::FrameSum;
use crate::random::Random;
use meeshy_sfu_proto::rtp::HeaderFields;

const T0: u64 = 1_790_000_000_000_000_000;
const MS: u64 = 1_000_000;

fn stream(kind: Kind) -> StreamIn {
    StreamIn::new(
        StreamId {
            bot: 1,
            tag: 9,
            sender: 5,
            kind,
            ssrc: 77,
        },
        T0,
    )
}

struct Packet {
    bytes: [u8; 12],
    payload: Vec<u8>,
}

/// Packet of a video of one frame per 33 ms and `parts` packets per frame; frame 0 and each `keys`-th are key frames.
fn video(index: u64, parts: u64, keys: u64) -> Packet {
    let (frame, part) = (index / parts, index % parts);
    let key = frame % keys == 0;
    let marker = part + 1 == parts;
    let mut payload = vec![
        0x80 | u8::from(part == 0) << 4,
        0x80,
        0x80,
        1,
        u8::from(!key),
        0,
        0,
        0,
    ];
    if marker {
        let mut sum = FrameSum::default();
        (0..parts).for_each(|part| sum.add(part, &payload[4..8]));
        let stamp = Stamp {
            sum: sum.value(parts - 1),
            packets: parts as u8,
            timestamp: (frame * 2970) as u32,
            flags: u8::from(key) | FLAG_VIDEO,
            bot: 5,
            seq: frame as u32,
            unix_ns: T0 + frame * 33 * MS,
        };
        payload.extend_from_slice(&stamp.to_bytes());
    }
    let mut bytes = [0; 12];
    HeaderFields {
        marker,
        sequence: index as u16,
        timestamp: (frame * 2970) as u32,
        ..Default::default()
    }
    .write(&mut bytes);
    Packet { bytes, payload }
}

fn give(
    stream: &mut StreamIn,
    index: u64,
    packet: &Packet,
    at_ns: u64,
) -> (Notice, Option<Sample>) {
    let header = RtpHeader::parse(&packet.bytes).unwrap();
    assert!(stream.window.is_new(index));
    stream.original(
        index,
        &header,
        &packet.payload,
        12 + packet.payload.len(),
        at_ns,
    )
}

fn repair(
    stream: &mut StreamIn,
    index: u64,
    packet: &Packet,
    at_ns: u64,
) -> (Notice, Option<Sample>) {
    let header = RtpHeader::parse(&packet.bytes).unwrap();
    stream.retransmitted(
        index,
        &header,
        &packet.payload,
        14 + packet.payload.len(),
        at_ns,
    )
}

fn arrival(index: u64, parts: u64) -> u64 {
    T0 + index / parts * 33 * MS + 2 * MS
}

#[test]
fn a_perfect_stream_has_all_frames_and_no_loss() {
    let mut stream = stream(Kind::Video);
    let mut samples = Vec::new();
    for index in 1000..2000 {
        let (notice, sample) = give(&mut stream, index, &video(index, 2, 30), arrival(index, 2));
        assert_eq!(notice.first_packet, index == 1000);
        samples.extend(sample);
    }
    let row = stream.row(arrival(2000, 2), true);
    assert_eq!(
        (row.expected, row.received, row.lost, row.lost_after_repair),
        (1000, 1000, 0, 0)
    );
    // The stream begins within a group of pictures: frames 500 to 509 have no key frame.
    assert_eq!(
        (row.frames, row.undecodable_frames, row.key_frames),
        (490, 10, 17)
    );
    assert_eq!((row.stamps, row.foreign, samples.len()), (500, 0, 500));
    assert_eq!((row.owd_min_ns, row.owd_max_ns), (2_000_000, 2_000_000));
    assert_eq!((row.freezes, row.longest_gap_us), (0, 33_000));
    assert_eq!(
        samples[0],
        Sample {
            recv_unix_ns: arrival(1000, 2),
            owd_ns: 2_000_000,
            seq: 500,
            whole_us: 0,
            receiver: 1,
            sender: 5,
            kind: 1,
            flags: 0,
            reserved: 0,
        }
    );
}

#[test]
fn loss_is_counted_before_and_after_repair() {
    let mut stream = stream(Kind::Video);
    let mut random = Random::new(3);
    let lost: Vec<u64> = (0..3000)
        .filter(|&index| index > 0 && index < 2990 && random.unit() < 0.05)
        .collect();
    let mut pending: Vec<u64> = Vec::new();
    for index in 0..3000 {
        if lost.contains(&index) {
            continue;
        }
        let (notice, _) = give(
            &mut stream,
            index,
            &video(index, 2, 1000),
            arrival(index, 2),
        );
        if let Some((from, to)) = notice.gap {
            pending.extend(from..to);
        }
        // Repairs come three packets later.
        while pending.first().is_some_and(|&first| first + 3 <= index) {
            let first = pending.remove(0);
            let (notice, _) = repair(
                &mut stream,
                first,
                &video(first, 2, 1000),
                arrival(index, 2),
            );
            assert_eq!(notice.filled, Some(first));
        }
    }
    let row = stream.row(arrival(3000, 2), true);
    assert_eq!(row.expected, 3000);
    assert_eq!(row.lost, lost.len() as u64);
    assert_eq!(row.repaired, lost.len() as u64);
    assert_eq!(row.lost_after_repair, 0);
    assert_eq!((row.frames, row.undecodable_frames), (1500, 0));
}

#[test]
fn a_lost_frame_breaks_the_video_until_the_next_key_frame() {
    let mut stream = stream(Kind::Video);
    for index in (0..180).filter(|index| *index != 41) {
        give(&mut stream, index, &video(index, 2, 60), arrival(index, 2));
    }
    // Nothing was given up, so nothing behind the hole counted until the key frame at 120 was whole.
    let row = stream.row(arrival(180, 2), true);
    assert!(!stream.is_broken());
    assert_eq!(row.frames, 20 + 30);
    assert_eq!(row.key_frames, 2);
    assert_eq!((row.lost, row.lost_after_repair), (1, 1));
    assert_eq!(row.freezes, 1);
    assert_eq!(row.longest_gap_us, (60 - 19) * 33_000);
}

#[test]
fn giving_up_lets_the_later_frames_pass_as_undecodable() {
    let mut stream = stream(Kind::Video);
    for index in (0..100).filter(|index| *index != 41) {
        give(&mut stream, index, &video(index, 2, 60), arrival(index, 2));
    }
    assert!(!stream.is_broken());
    stream.give_up(41, 1, arrival(100, 2));
    assert!(stream.is_broken());
    let row = stream.row(arrival(100, 2), true);
    assert_eq!((row.frames, row.given_up), (20, 1));
    assert_eq!(row.undecodable_frames, 29);
}

#[test]
fn rtx_of_what_is_there_and_reordering_are_told_apart() {
    let mut stream = stream(Kind::Video);
    for index in [0, 1, 3, 2] {
        give(&mut stream, index, &video(index, 2, 60), arrival(index, 2));
    }
    repair(&mut stream, 2, &video(2, 2, 60), arrival(4, 2));
    repair(&mut stream, 9, &video(9, 2, 60), arrival(4, 2));
    stream.duplicate();
    let row = stream.row(arrival(4, 2), true);
    assert_eq!((row.expected, row.received, row.lost), (4, 4, 0));
    assert_eq!(
        (
            row.out_of_order,
            row.duplicates,
            row.surplus_repairs,
            row.rtx_packets,
            row.repaired
        ),
        (1, 1, 1, 2, 0)
    );
    assert_eq!(row.frames, 2);
}

#[test]
fn a_stamp_of_another_bot_is_foreign() {
    let mut stream = StreamIn::new(
        StreamId {
            bot: 1,
            tag: 9,
            sender: 6,
            kind: Kind::Video,
            ssrc: 77,
        },
        T0,
    );
    let (_, sample) = give(&mut stream, 0, &video(0, 1, 60), T0);
    assert_eq!(sample.unwrap().flags & 2, 2);
    assert_eq!(stream.row(T0, true).foreign, 1);
}

#[test]
fn a_pause_of_audio_is_a_freeze_while_it_lasts_and_after() {
    let mut stream = stream(Kind::Audio);
    let packet = |index: u64| {
        let mut bytes = [0; 12];
        HeaderFields {
            sequence: index as u16,
            timestamp: (index * 960) as u32,
            ..Default::default()
        }
        .write(&mut bytes);
        Packet {
            bytes,
            payload: vec![0xf8; 80],
        }
    };
    for index in 0..10 {
        give(&mut stream, index, &packet(index), T0 + index * 20 * MS);
    }
    assert!(!stream.check_freeze(T0 + 680 * MS));
    assert!(stream.check_freeze(T0 + 681 * MS));
    assert!(!stream.check_freeze(T0 + 800 * MS), "reported once");
    let row = stream.row(T0 + 980 * MS, true);
    assert_eq!(
        (row.freezes, row.flags, row.longest_gap_us, row.frozen_us),
        (1, 3, 800_000, 800_000)
    );
    let (notice, _) = give(&mut stream, 10, &packet(10), T0 + 1180 * MS);
    assert_eq!(notice.thawed_ns, Some(1000 * MS));
    let row = stream.row(T0 + 1180 * MS, true);
    assert_eq!(
        (row.freezes, row.flags, row.longest_gap_us, row.frozen_us),
        (1, 1, 1_000_000, 1_000_000)
    );
    assert_eq!(row.frames, 11);
    // A freeze that no poll saw counts too.
    give(&mut stream, 11, &packet(11), T0 + 2180 * MS);
    assert_eq!(stream.row(T0 + 2180 * MS, true).freezes, 2);
}

#[test]
fn jitter_settles_at_what_the_arrivals_vary() {
    let mut stream = stream(Kind::Video);
    for index in 0..2000 {
        let wobble = if index % 2 == 0 { 0 } else { 3 * MS };
        give(
            &mut stream,
            index,
            &video(index, 1, 60),
            arrival(index, 1) + wobble,
        );
    }
    let jitter_us = stream.row(arrival(2000, 1), true).jitter_us;
    assert!((2900..3100).contains(&jitter_us), "{jitter_us}");
}

#[test]
fn a_jump_far_ahead_is_loss_and_does_not_confuse_the_frames() {
    let mut stream = stream(Kind::Video);
    give(&mut stream, 0, &video(0, 2, 60), T0);
    for index in (5000..6000).filter(|index| index % 97 != 0) {
        give(&mut stream, index, &video(index, 2, 60), arrival(index, 2));
    }
    let row = stream.row(arrival(6000, 2), true);
    assert_eq!(row.expected, 6000);
    assert_eq!(row.received + row.lost, row.expected);
    assert!(row.frames > 100 && row.frames < 450, "{}", row.frames);
}

#[test]
fn a_marker_packet_without_an_intact_stamp_is_counted_where_stamps_are_expected() {
    let mut stream = stream(Kind::Video);
    let good = video(0, 2, 30);
    give(&mut stream, 0, &good, T0);
    let mut damaged = video(1, 2, 30);
    let last = damaged.payload.len() - 1;
    damaged.payload[last] ^= 1;
    assert_eq!(give(&mut stream, 1, &damaged, T0 + MS).1, None);
    let mut cut = video(3, 2, 30);
    cut.payload.truncate(8);
    give(&mut stream, 2, &video(2, 2, 30), T0 + 33 * MS);
    assert_eq!(give(&mut stream, 3, &cut, T0 + 34 * MS).1, None);
    assert_eq!(stream.damaged_stamps(), 2);
    let (_, sample) = {
        give(&mut stream, 4, &video(4, 2, 30), T0 + 66 * MS);
        give(&mut stream, 5, &video(5, 2, 30), T0 + 67 * MS)
    };
    assert_eq!(sample.unwrap().flags & SAMPLE_CORRUPT, 0);
}

#[test]
fn a_changed_payload_is_a_corrupt_frame_of_either_kind() {
    let mut stream = stream(Kind::Video);
    let mut damaged = video(0, 2, 30);
    damaged.payload[7] ^= 4;
    give(&mut stream, 0, &damaged, T0);
    let (_, sample) = give(&mut stream, 1, &video(1, 2, 30), T0 + MS);
    assert_eq!(sample.unwrap().flags & SAMPLE_CORRUPT, SAMPLE_CORRUPT);

    let mut audio = super::StreamIn::new(
        StreamId {
            kind: Kind::Audio,
            ..stream.id
        },
        T0,
    );
    let mut sound = [0; 64];
    let length = opus::pad(&[0xf8, 1, 2, 3], &[0; STAMP_LEN], &mut sound).unwrap();
    let stamp = Stamp {
        flags: 0,
        bot: 5,
        seq: 1,
        unix_ns: T0,
        sum: crc32(&sound[..length - STAMP_LEN]),
        packets: 1,
        timestamp: 0,
    };
    sound[length - STAMP_LEN..length].copy_from_slice(&stamp.to_bytes());
    let packet = |index: u64, payload: &[u8]| {
        let mut bytes = [0; 12];
        HeaderFields {
            sequence: index as u16,
            ..Default::default()
        }
        .write(&mut bytes);
        Packet {
            bytes,
            payload: payload.to_vec(),
        }
    };
    let (_, sample) = give(&mut audio, 0, &packet(0, &sound[..length]), T0);
    assert_eq!(sample.unwrap().flags, 0);
    sound[4] ^= 1;
    let (_, sample) = give(&mut audio, 1, &packet(1, &sound[..length]), T0 + MS);
    assert_eq!(sample.unwrap().flags, SAMPLE_CORRUPT);
    sound[length - STAMP_LEN] ^= 1;
    let (_, sample) = give(&mut audio, 2, &packet(2, &sound[..length]), T0 + 2 * MS);
    assert_eq!((sample, audio.damaged_stamps()), (None, 1));
    // Ordinary opus carries none and misses none.
    give(&mut audio, 3, &packet(3, &[0xf8, 1, 2, 3]), T0 + 3 * MS);
    assert_eq!(audio.damaged_stamps(), 1);
}

#[test]
fn a_frame_with_another_offset_of_its_timestamp_is_counted_by_its_stream() {
    let mut stream = stream(Kind::Video);
    for index in 0..20 {
        let mut packet = video(index, 2, 30);
        if index / 2 == 5 {
            packet.bytes[7] ^= 1;
        }
        give(&mut stream, index, &packet, arrival(index, 2));
    }
    // There and back; both packets of the frame have the same one.
    assert_eq!(stream.row(T0, true).timestamp_jumps, 2);
    // Of three packets of a frame the middle one is apart.
    let mut apart = video(31, 3, 30);
    apart.bytes[7] ^= 1;
    for (index, packet) in [(20, video(30, 3, 30)), (21, apart), (22, video(32, 3, 30))] {
        give(&mut stream, index, &packet, T0);
    }
    assert_eq!(stream.row(T0, true).timestamp_jumps, 4);
}

#[test]
fn a_repaired_packet_has_the_timestamp_of_its_frame() {
    let mut stream = stream(Kind::Video);
    for index in [0, 1, 3] {
        give(&mut stream, index, &video(index, 2, 30), arrival(index, 2));
    }
    repair(&mut stream, 2, &video(2, 2, 30), arrival(4, 2));
    give(&mut stream, 4, &video(4, 2, 30), arrival(4, 2));
    assert_eq!(stream.row(T0, true).timestamp_jumps, 0);
}

#[test]
fn a_stamp_of_the_other_kind_is_misrouted_whoever_sent_it() {
    let mut audio = super::StreamIn::new(
        StreamId {
            kind: Kind::Audio,
            ..stream(Kind::Video).id
        },
        T0,
    );
    let (_, sample) = give(&mut audio, 0, &video(1, 2, 30), T0);
    assert_eq!(sample.unwrap().flags & 2, 2);
    assert_eq!(audio.row(T0, true).foreign, 1);
}

#[test]
fn a_pause_of_over_300_ms_is_noted_when_it_is_over() {
    let mut stream = stream(Kind::Video);
    give(&mut stream, 0, &video(0, 1, 30), T0);
    let (notice, _) = give(&mut stream, 1, &video(1, 1, 30), T0 + 300 * MS);
    assert_eq!(notice.paused, None);
    let (notice, _) = give(&mut stream, 2, &video(2, 1, 30), T0 + 601 * MS);
    assert_eq!(notice.paused, Some((T0 + 300 * MS, T0 + 601 * MS)));
    assert_eq!(
        stream.row(T0 + 700 * MS, true).last_frame_unix_ns,
        T0 + 601 * MS
    );
}

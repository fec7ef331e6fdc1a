//! Loss on either side is repaired, and excessive requests are not answered.
#![allow(clippy::unwrap_used)]

mod router_call;
mod seeded;

use std::collections::BTreeMap;
use std::time::Duration;

use meeshy_sfu_proto::router::EncodingConfig;
use meeshy_sfu_proto::rtcp::{FirEntry, Packet as Rtcp, Pli, fir, nack, packets};
use meeshy_sfu_proto::srtp::SrtpProfile;
use router_call::*;
use seeded::Random;

const MS: Duration = Duration::from_millis(1);

fn requests(compounds: &[Vec<u8>]) -> (Vec<u16>, usize, usize) {
    let (mut nacked, mut plis, mut firs) = (Vec::new(), 0, 0);
    for packet in rtcp_packets(compounds) {
        match packet {
            Rtcp::Nack(nack) => nacked.extend(nack.sequences()),
            Rtcp::Pli(_) => plis += 1,
            Rtcp::Fir(_) => firs += 1,
            _ => {}
        }
    }
    (nacked, plis, firs)
}

fn nack_of(ssrc: u32, sequences: &[u16]) -> Vec<u8> {
    written(|out| nack::write(1, ssrc, sequences, out).map(|list| list.len))
}

fn pli_of(ssrc: u32) -> Vec<u8> {
    let request = Pli {
        sender_ssrc: 1,
        media_ssrc: ssrc,
    };
    written(|out| request.write(out))
}

#[test]
fn seeded_loss_on_both_sides_is_repaired_by_rtx() {
    let mut dice = Random::from_environment(20_261_122);
    let mut call = Call::new();
    let (mut alice, mut bob, producer, consumer) =
        call.pair(video(1000), video_consumer(5000, "0"));
    let mut history: BTreeMap<u16, Packet> = BTreeMap::new();
    let mut rtx_sequence = 0u16;
    let mut got: BTreeMap<u64, u16> = BTreeMap::new();
    let (mut lost_up, mut lost_down) = (0, 0);
    let mut newest: Option<u64> = None;
    let mut wanted: Vec<(u64, u32)> = Vec::new();
    const COUNT: u16 = 4000;
    for step in 0..COUNT + 200 {
        if step < COUNT {
            let mut packet = video_packet(1000, step, 3000 * u32::from(step), step == 0);
            packet.payload[2..4].copy_from_slice(&step.to_be_bytes());
            history.insert(step, packet.clone());
            let datagram = alice.protect(&packet);
            if step > 0 && dice.chance(0.05) {
                lost_up += 1;
            } else {
                call.deliver(&alice, &datagram);
            }
        }
        call.flush();
        call.wait(5 * MS);
        // The sender answers what it is asked for, over a link that loses too.
        let asked = requests(&call.inbox(&mut alice).rtcp).0;
        for sequence in asked {
            let original = &history[&sequence];
            let mut payload = sequence.to_be_bytes().to_vec();
            payload.extend(&original.payload);
            let rtx = Packet {
                ssrc: 1001,
                payload_type: 97,
                sequence: rtx_sequence,
                payload,
                ..original.clone()
            };
            rtx_sequence += 1;
            let datagram = alice.protect(&rtx);
            if !dice.chance(0.05) {
                call.deliver(&alice, &datagram);
            }
        }
        call.flush();
        // The receiver loses, sees holes, asks; one request for each in 50 ms.
        for packet in call.inbox(&mut bob).rtp {
            if newest.is_some() && dice.chance(0.05) {
                lost_down += 1;
                continue;
            }
            let (own, mark) = if packet.ssrc == 5001 {
                assert_eq!(packet.payload_type, 102);
                let sequence = u16::from_be_bytes([packet.payload[0], packet.payload[1]]);
                let near = newest.unwrap();
                let own =
                    near.wrapping_add_signed(i64::from(sequence.wrapping_sub(near as u16) as i16));
                (own, [packet.payload[4], packet.payload[5]])
            } else {
                assert_eq!(packet.payload_type, 101);
                (packet.index, [packet.payload[2], packet.payload[3]])
            };
            let before = got.insert(own, u16::from_be_bytes(mark));
            assert!(before.is_none_or(|before| before == u16::from_be_bytes(mark)));
            let from = newest.unwrap_or(own);
            newest = Some(from.max(own));
            wanted.extend((from + 1..own).map(|hole| (hole, 0)));
            wanted.retain(|(hole, _)| *hole != own);
        }
        if step % 10 == 9 {
            wanted.retain_mut(|(_, tries)| {
                *tries += 1;
                *tries <= 10
            });
            let sequences: Vec<u16> = wanted.iter().map(|(hole, _)| *hole as u16).collect();
            if !sequences.is_empty() {
                call.send_rtcp(&mut bob, &nack_of(5000, &sequences));
            }
        }
    }
    assert!(lost_up > 100 && lost_down > 100, "{lost_up} {lost_down}");
    let first = *got.keys().next().unwrap();
    for (own, mark) in &got {
        assert_eq!(own - first, u64::from(*mark), "numbers follow the sender's");
    }
    let missing = usize::from(COUNT) - got.len();
    assert!(missing <= 2, "{missing} of {COUNT} stay lost");
    let stream = &call.router.producer_stats(producer).unwrap()[0];
    assert!(stream.repaired > 100 && stream.rtx_packets >= stream.repaired);
    assert!(stream.lost <= 2, "{}", stream.lost);
    let figures = call.router.consumer_stats(consumer).unwrap();
    assert!(figures.retransmitted > 100 && figures.nacks > 0);
}

#[test]
fn without_rtx_a_packet_is_repeated_byte_for_byte() {
    for profile in [SrtpProfile::AeadAes256Gcm, SrtpProfile::Aes128CmSha1_80] {
        let mut call = Call::with_profile(profile);
        let (mut alice, bob) = (call.peer(), call.peer_with(true, None));
        let mut bob = bob;
        let producer = call.produce(&alice, video(1000));
        let mut config = video_consumer(5000, "0");
        config.rtx_ssrc = None;
        config.codecs[0].rtx_payload_type = None;
        call.consume(&bob, producer, config);
        for step in 0..4u16 {
            let mut packet = video_packet(1000, step, 0, true);
            packet.payload.truncate(150 + 10 * usize::from(step));
            let datagram = alice.protect(&packet);
            call.deliver(&alice, &datagram);
        }
        call.flush();
        let first: Vec<Vec<u8>> = call
            .sent
            .datagrams
            .drain(..)
            .map(|(_, datagram)| datagram)
            .collect();
        let sequence = |datagram: &Vec<u8>| u16::from_be_bytes([datagram[2], datagram[3]]);
        call.now += 300 * MS;
        let asked: Vec<u16> = first.iter().map(sequence).collect();
        call.send_rtcp(&mut bob, &nack_of(5000, &asked));
        let mut again: Vec<Vec<u8>> = call
            .sent
            .datagrams
            .drain(..)
            .map(|(_, datagram)| datagram)
            .collect();
        again.sort_by_key(sequence);
        let mut first = first;
        first.sort_by_key(sequence);
        assert_eq!(first, again, "one nonce, one text: {profile:?}");
    }
}

#[test]
fn a_packet_is_retransmitted_once_per_round_trip_and_floods_are_bounded() {
    let mut call = Call::new();
    let (mut alice, mut bob, _, consumer) = call.pair(video(1000), video_consumer(5000, "0"));
    for step in 0..100 {
        call.send(&mut alice, &video_packet(1000, step, 0, true));
    }
    let sequences: Vec<u16> = call
        .inbox(&mut bob)
        .rtp
        .iter()
        .map(|packet| packet.sequence)
        .collect();
    for _ in 0..10 {
        call.send_rtcp(&mut bob, &nack_of(5000, &sequences));
    }
    assert_eq!(call.inbox(&mut bob).rtp.len(), 100, "once in a round trip");
    for _ in 0..1000 {
        call.now += 200 * MS;
        call.send_rtcp(&mut bob, &nack_of(5000, &sequences));
    }
    let retransmitted = call.router.consumer_stats(consumer).unwrap().retransmitted;
    assert_eq!(retransmitted, 100 + 512);
    assert!(call.router.stats().drops.excessive > 0);
    // Sequence numbers never sent, and SSRCs of no consumer, are not answered.
    call.inbox(&mut bob);
    call.send_rtcp(&mut bob, &nack_of(5000, &[sequences[99].wrapping_add(1)]));
    call.send_rtcp(&mut bob, &nack_of(4711, &sequences));
    call.send_rtcp(&mut bob, &nack_of(5001, &sequences));
    assert!(call.inbox(&mut bob).rtp.is_empty());
}

#[test]
fn a_flood_of_key_frame_requests_is_throttled_towards_the_sender() {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.pair(video(1000), video_consumer(5000, "0"));
    let mut key_frames = 0;
    let mut sequence = 0;
    for step in 0..3000u32 {
        if step % 2 == 0 {
            call.send_rtcp(&mut bob, &pli_of(5000));
        } else {
            let mut out = [0; 64];
            let entry = FirEntry {
                ssrc: 5000,
                sequence: step as u8,
            };
            let len = fir::write(1, &[entry], &mut out).unwrap();
            call.send_rtcp(&mut bob, &out[..len]);
        }
        call.wait(10 * MS);
        let (_, plis, _) = requests(&call.inbox(&mut alice).rtcp);
        for _ in 0..plis {
            key_frames += 1;
            call.send(&mut alice, &video_packet(1000, sequence, 900 * step, true));
            sequence += 1;
        }
    }
    // 30 s: a burst, then one in two seconds.
    assert!((10..=20).contains(&key_frames), "{key_frames}");
}

#[test]
fn many_receivers_make_one_request() {
    let mut call = Call::new();
    let mut alice = call.peer();
    let producer = call.produce(&alice, video(1000));
    let mut others: Vec<Peer> = (0..20).map(|_| call.peer()).collect();
    for peer in &others {
        call.consume(peer, producer, video_consumer(5000, "0"));
    }
    call.wait(MS);
    for peer in &mut others {
        call.send_rtcp(peer, &pli_of(5000));
    }
    call.wait(500 * MS);
    assert_eq!(requests(&call.inbox(&mut alice).rtcp).1, 1);
    call.wait(600 * MS);
    assert_eq!(
        requests(&call.inbox(&mut alice).rtcp).1,
        1,
        "no key frame within a second: once more"
    );
    call.wait(Duration::from_secs(60));
    let repeated = requests(&call.inbox(&mut alice).rtcp).1;
    assert!(
        repeated <= 3,
        "{repeated}: a sender that has none is left alone"
    );
}

#[test]
fn a_sender_without_pli_gets_fir() {
    let mut call = Call::new();
    let mut config = video(1000);
    config.codecs[0].pli = false;
    let (mut alice, ..) = call.pair(config, video_consumer(5000, "0"));
    call.wait(MS);
    let (_, plis, firs) = requests(&call.inbox(&mut alice).rtcp);
    assert_eq!((plis, firs), (0, 1));
}

#[test]
fn a_receiver_asks_by_fir_only_if_it_was_negotiated() {
    for negotiated in [true, false] {
        let mut call = Call::new();
        let mut config = video_consumer(5000, "0");
        config.codecs[0].fir = negotiated;
        let (mut alice, mut bob, ..) = call.pair(video(1000), config);
        call.send(&mut alice, &video_packet(1000, 0, 0, true));
        call.wait(Duration::from_secs(2));
        call.inbox(&mut alice);
        let entry = FirEntry {
            ssrc: 5000,
            sequence: 7,
        };
        call.send_rtcp(&mut bob, &written(|out| fir::write(1, &[entry], out)));
        call.wait(10 * MS);
        let (_, plis, _) = requests(&call.inbox(&mut alice).rtcp);
        assert_eq!(plis, usize::from(negotiated));
    }
}

#[test]
fn a_new_source_is_not_asked_for_what_the_old_one_lost() {
    let mut call = Call::new();
    let mut alice = call.peer();
    let mut source = video(0);
    source.encodings = vec![EncodingConfig::default()];
    call.produce(&alice, source);
    for (ssrc, sequence, key_frame) in [(777, 0, true), (777, 5, false), (999, 40, true)] {
        let mut packet = video_packet(ssrc, sequence, 0, key_frame);
        packet.extensions = vec![(4, b"v".to_vec())];
        call.send(&mut alice, &packet);
    }
    call.wait(Duration::from_secs(1));
    let (nacked, plis, firs) = requests(&call.inbox(&mut alice).rtcp);
    assert_eq!((nacked, plis, firs), (vec![], 0, 0));
}

#[test]
fn missing_packets_are_requested_after_ten_milliseconds_and_given_up_after_ten_tries() {
    let mut call = Call::new();
    let mut alice = call.peer();
    let producer = call.produce(&alice, video(1000));
    call.send(&mut alice, &video_packet(1000, 65_534, 0, true));
    call.send(&mut alice, &video_packet(1000, 1, 3000, false));
    call.wait(9 * MS);
    assert!(requests(&call.inbox(&mut alice).rtcp).0.is_empty());
    call.wait(2 * MS);
    assert_eq!(requests(&call.inbox(&mut alice).rtcp).0, [65_535, 0]);
    call.wait(Duration::from_secs(3));
    let later = requests(&call.inbox(&mut alice).rtcp).0;
    assert_eq!(later.len(), 2 * 9);
    let stream = &call.router.producer_stats(producer).unwrap()[0];
    assert_eq!((stream.nacked_packets, stream.lost), (20, 2));
}

#[test]
fn too_many_missing_packets_cause_a_key_frame_request() {
    let mut call = Call::new();
    let mut alice = call.peer();
    call.produce(&alice, video(1000));
    call.send(&mut alice, &video_packet(1000, 0, 0, true));
    call.wait(Duration::from_secs(2));
    call.inbox(&mut alice);
    call.send(&mut alice, &video_packet(1000, 2500, 3000, false));
    call.wait(50 * MS);
    let (nacked, plis, _) = requests(&call.inbox(&mut alice).rtcp);
    assert_eq!((nacked.len(), plis), (0, 1));
}

/// What a sender sends again as RTX when it is asked for `sequence`.
fn rtx_of(original: &Packet, rtx_sequence: u16) -> Packet {
    let mut payload = original.sequence.to_be_bytes().to_vec();
    payload.extend(&original.payload);
    Packet {
        ssrc: original.ssrc + 1,
        payload_type: 97,
        sequence: rtx_sequence,
        payload,
        ..original.clone()
    }
}

#[test]
fn no_packet_without_a_slot_is_requested_and_no_answer_is_discarded() {
    let mut call = Call::new();
    let mut alice = call.peer();
    let producer = call.produce(&alice, video(1000));
    let (mut answers, mut rtx_sequence) = (Vec::new(), 0u16);
    let mut asked: BTreeMap<u16, Vec<Duration>> = BTreeMap::new();
    // 500 packets a second, of which 899 are lost; answers come after 80 ms.
    for step in (0..500).chain(1399..3000) {
        call.send(&mut alice, &picture(step));
        call.wait(2 * MS);
        let at = call.now - call.start;
        let inbox = call.inbox(&mut alice).rtcp;
        for sequence in requests(&inbox).0 {
            asked.entry(sequence).or_default().push(at);
            answers.push((at + 80 * MS, sequence));
        }
        for (_, sequence) in answers.extract_if(.., |(due, _)| *due <= at) {
            let datagram = alice.protect(&rtx_of(&picture(sequence), rtx_sequence));
            rtx_sequence += 1;
            call.deliver(&alice, &datagram);
        }
        call.flush();
    }
    let drops = call.router.stats().drops;
    assert_eq!(drops.late, 0, "answers thrown away");
    assert!((400..=511).contains(&asked.len()), "{}", asked.len());
    for (sequence, times) in &asked {
        assert!(*sequence > 1399 - 512, "{sequence} has no place");
        assert_eq!(times.len(), 1, "{sequence} in one round trip: {times:?}");
    }
    let stream = &call.router.producer_stats(producer).unwrap()[0];
    assert_eq!(stream.repaired, asked.len() as u64);
    assert_eq!(stream.nacked_packets, asked.len() as u64);
    assert_eq!(stream.lost, 899 - asked.len() as u64);
}

fn picture(sequence: u16) -> Packet {
    video_packet(1000, sequence, 3000 * u32::from(sequence), sequence == 0)
}

#[test]
fn a_gap_beyond_the_ring_requests_a_key_frame_and_no_packet_before_it() {
    let mut call = Call::new();
    let mut alice = call.peer();
    call.produce(&alice, video(1000));
    call.send(&mut alice, &picture(0));
    call.wait(Duration::from_secs(2));
    call.inbox(&mut alice);
    call.send(&mut alice, &picture(700));
    call.wait(5 * MS);
    assert_eq!(requests(&call.inbox(&mut alice).rtcp).1, 1);
    call.send(&mut alice, &video_packet(1000, 701, 9000, true));
    call.send(&mut alice, &picture(703));
    call.wait(12 * MS);
    assert_eq!(requests(&call.inbox(&mut alice).rtcp), (vec![702], 0, 0));
}

#[test]
fn requests_name_the_media_and_the_sender_ssrc() {
    let mut call = Call::new();
    let mut alice = call.peer();
    call.produce(&alice, video(1000));
    call.send(&mut alice, &picture(0));
    call.send(&mut alice, &picture(2));
    call.wait(1600 * MS);
    let inbox = call.inbox(&mut alice).rtcp;
    let mut senders = Vec::new();
    let mut named = (0, 0);
    for packet in inbox.iter().flat_map(|compound| packets(compound)) {
        match packet.expect("well-formed") {
            Rtcp::Nack(nack) => {
                assert_eq!(nack.media_ssrc, 1000);
                assert_eq!(nack.sequences().collect::<Vec<_>>(), [1]);
                senders.push(nack.sender_ssrc);
                named.0 += 1;
            }
            Rtcp::Pli(pli) => {
                assert_eq!(pli.media_ssrc, 1000);
                senders.push(pli.sender_ssrc);
                named.1 += 1;
            }
            Rtcp::ReceiverReport(report) => senders.push(report.ssrc),
            _ => {}
        }
    }
    assert!(named.0 > 0 && senders.len() > named.0 + named.1);
    assert!(senders.iter().all(|ssrc| *ssrc == senders[0] && *ssrc != 0));
}

#[test]
fn hostile_rtcp_changes_nothing_for_others() {
    let mut dice = Random::from_environment(20_261_122);
    let mut call = Call::new();
    let (mut alice, mut bob, mut mallory) = (call.peer(), call.peer(), call.peer());
    let producer = call.produce(&alice, video(1000));
    call.consume(&bob, producer, video_consumer(5000, "0"));
    call.consume(&mallory, producer, video_consumer(5000, "0"));
    for round in 0..10_000u32 {
        let len = 8 + (round as usize * 4) % 200;
        let mut plain: Vec<u8> = (0..len)
            .map(|_| u8::from(dice.chance(0.5)) * dice.next() as u8)
            .collect();
        plain[0] = 0x80 | (plain[0] & 0x1f);
        plain[1] = 200 + (round % 8) as u8;
        plain[2..4].copy_from_slice(&((len / 4 - 1) as u16).to_be_bytes());
        if round % 3 == 0 {
            plain[4..8].copy_from_slice(&5000u32.to_be_bytes());
        }
        call.send_rtcp(&mut mallory, &plain);
        let datagram = alice.protect(&video_packet(1000, round as u16, 3000 * round, round == 0));
        call.deliver(&alice, &datagram);
        call.flush();
        call.wait(MS);
    }
    let got = call.inbox(&mut bob).rtp;
    assert_eq!(got.len(), 10_000);
    assert_eq!(got[9_999].index - got[0].index, 9_999);
}

#[test]
fn without_rtx_the_longest_padding_is_repeated_with_its_packet() {
    let mut call = Call::new();
    let (mut alice, mut bob) = (call.peer(), call.peer_with(true, None));
    let producer = call.produce(&alice, video(1000));
    call.consume(&bob, producer, without_rtx(video_consumer(5000, "0")));
    for (step, len) in [(0, 300), (1, 236)] {
        let mut packet = video_packet(1000, step, 0, step == 0);
        packet.payload = vp8(step == 0, len);
        let datagram = alice.protect(&packet);
        call.deliver(&alice, &datagram);
    }
    call.flush();
    assert_eq!(call.router.stats().padding_out, 64);
    let sequence = call.inbox(&mut bob).rtp[1].sequence;
    call.now += 300 * MS;
    call.send_rtcp(&mut bob, &nack_of(5000, &[sequence]));
    assert_eq!(call.sent.ledger.repeated, 1, "the same to the byte");
}

#[test]
fn a_transport_gets_4096_retransmissions_between_two_reports() {
    let mut call = Call::new();
    let (mut alice, mut bob, _, consumer) = call.pair(video(1000), video_consumer(5000, "0"));
    for round in 0..9u16 {
        for step in 0..512 {
            call.send(&mut alice, &video_packet(1000, 512 * round + step, 0, true));
        }
        let got = call.inbox(&mut bob).rtp;
        let sequences: Vec<u16> = got.iter().map(|packet| packet.sequence).collect();
        assert_eq!(sequences.len(), 512);
        for part in sequences.chunks(128) {
            call.send_rtcp(&mut bob, &nack_of(5000, part));
        }
        call.inbox(&mut bob);
    }
    let retransmitted = call.router.consumer_stats(consumer).unwrap().retransmitted;
    assert_eq!(retransmitted, 4096);
    assert_eq!(call.router.stats().drops.excessive, 512);
}

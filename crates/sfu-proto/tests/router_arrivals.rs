//! Every authenticated packet with a transport-wide sequence number is reported in feedback, also those without a
//! stream.
#![allow(clippy::unwrap_used)]

mod router_call;

use std::time::Duration;

use meeshy_sfu_proto::net::classify;
use meeshy_sfu_proto::router::ProducerKey;
use meeshy_sfu_proto::rtcp::{Packet as Rtcp, ReportBlock, SenderInfo, ntp, packets, rr};
use router_call::*;

const MS: Duration = Duration::from_millis(1);

/// One feedback, field by field.
#[derive(Clone, Debug)]
struct Feedback {
    sender_ssrc: u32,
    media_ssrc: u32,
    base: u16,
    count: u8,
    /// Number and arrival in microseconds of a time that begins with the call.
    packets: Vec<(u16, Option<i64>)>,
}

fn feedbacks(compounds: &[Vec<u8>]) -> Vec<Feedback> {
    let packets = compounds.iter().flat_map(|compound| packets(compound));
    let feedbacks = packets.filter_map(|packet| match packet.expect("well-formed") {
        Rtcp::TransportCc(feedback) => Some(Feedback {
            sender_ssrc: feedback.sender_ssrc,
            media_ssrc: feedback.media_ssrc,
            base: feedback.base_sequence,
            count: feedback.feedback_count,
            packets: feedback
                .arrivals()
                .map(|one| (one.sequence, one.at_us))
                .collect(),
        }),
        _ => None,
    });
    feedbacks.collect()
}

/// A sender that counts what it sends on its transport.
struct Sender {
    peer: Peer,
    next: u16,
    /// When each packet was delivered, microseconds since the start.
    sent: Vec<(u16, i64)>,
}

impl Sender {
    fn new(call: &mut Call) -> Self {
        Self {
            peer: call.peer(),
            next: 65_500,
            sent: Vec::new(),
        }
    }

    /// Sends `packet` with the next transport-wide number.
    fn send(&mut self, call: &mut Call, packet: Packet) {
        let datagram = self.protect(packet);
        self.sent.push((
            self.next.wrapping_sub(1),
            (call.now - call.start).as_micros() as i64,
        ));
        call.deliver(&self.peer, &datagram);
        call.flush();
    }

    fn protect(&mut self, mut packet: Packet) -> Vec<u8> {
        packet
            .extensions
            .push((3, self.next.to_be_bytes().to_vec()));
        self.next = self.next.wrapping_add(1);
        self.peer.protect(&packet)
    }

    /// What the sender was told, which must be all it sent, once, at the right time.
    fn told_of_everything(&mut self, call: &mut Call) -> Vec<Feedback> {
        call.wait(250 * MS);
        let told = feedbacks(&call.inbox(&mut self.peer).rtcp);
        let reported: Vec<_> = told.iter().flat_map(|one| one.packets.clone()).collect();
        assert_eq!(
            reported.iter().map(|one| one.0).collect::<Vec<_>>(),
            self.sent.iter().map(|one| one.0).collect::<Vec<_>>(),
            "each number once"
        );
        for ((number, told), (_, at)) in reported.iter().zip(&self.sent) {
            let told = told.unwrap_or_else(|| panic!("{number} came and is told to be lost"));
            assert!((told - at).abs() <= 250, "{number}: {told}, came at {at}");
        }
        for pair in told.windows(2) {
            assert_eq!(pair[1].count, pair[0].count.wrapping_add(1));
            assert_eq!(pair[1].sender_ssrc, pair[0].sender_ssrc);
            assert_eq!(
                usize::from(pair[1].base.wrapping_sub(pair[0].base)),
                pair[0].packets.len()
            );
        }
        self.sent.clear();
        told
    }
}

fn picture(sequence: u16) -> Packet {
    video_packet(1000, sequence, 3000 * u32::from(sequence), sequence == 0)
}

fn probe(sequence: u16, payload: Vec<u8>) -> Packet {
    Packet {
        ssrc: 1001,
        payload_type: 97,
        sequence,
        payload,
        ..Packet::default()
    }
}

/// A sender with a camera that has sent its first picture.
fn sending(call: &mut Call) -> (Sender, ProducerKey) {
    let mut alice = Sender::new(call);
    let producer = call.produce(&alice.peer, video(1000));
    alice.send(call, picture(0));
    alice.told_of_everything(call);
    (alice, producer)
}

#[test]
fn media_before_the_first_produce_counts_once_the_extension_id_is_known() {
    let mut call = Call::new();
    let mut alice = Sender::new(&mut call);
    for step in 0..100 {
        alice.send(&mut call, picture(step));
        call.wait(5 * MS);
    }
    assert!(call.inbox(&mut alice.peer).rtcp.is_empty());
    call.produce(&alice.peer, video(1000));
    for step in 100..110 {
        alice.send(&mut call, picture(step));
    }
    let told = alice.told_of_everything(&mut call);
    assert_eq!((told[0].base, told[0].count), (65_500, 0));
    assert_eq!(told[0].media_ssrc, 1000);
}

#[test]
fn arrivals_before_the_first_produce_are_reported_at_once() {
    let mut call = Call::new();
    let mut alice = Sender::new(&mut call);
    alice.send(&mut call, picture(0));
    call.wait(500 * MS);
    call.produce(&alice.peer, video(1000));
    call.wait(MS);
    assert_eq!(feedbacks(&call.inbox(&mut alice.peer).rtcp).len(), 1);
}

#[test]
fn media_of_a_second_track_before_its_produce_counts() {
    let mut call = Call::new();
    let mut alice = Sender::new(&mut call);
    call.produce(&alice.peer, audio(2000));
    for step in 0..100 {
        alice.send(&mut call, audio_packet(2000, step, 0, 40));
        alice.send(&mut call, picture(step));
        call.wait(5 * MS);
    }
    alice.told_of_everything(&mut call);
    assert_eq!(call.router.stats().drops.unknown_stream, 100);
    call.produce(&alice.peer, video(1000));
    for step in 100..200 {
        alice.send(&mut call, picture(step));
    }
    alice.told_of_everything(&mut call);
    assert_eq!(call.router.stats().drops.unknown_stream, 100);
}

#[test]
fn arrivals_count_although_only_the_second_track_negotiates_the_extension() {
    let mut call = Call::new();
    let mut alice = Sender::new(&mut call);
    let mut sound = audio(2000);
    sound.header_extensions = vec![(MID, 4)];
    call.produce(&alice.peer, sound);
    for step in 0..20 {
        alice.send(&mut call, audio_packet(2000, step, 0, 40));
        alice.send(&mut call, picture(step));
        call.wait(5 * MS);
    }
    call.produce(&alice.peer, video(1000));
    alice.told_of_everything(&mut call);
}

#[test]
fn retransmission_probes_before_the_first_media_packet_count() {
    let mut call = Call::new();
    let mut alice = Sender::new(&mut call);
    call.produce(&alice.peer, video(1000));
    alice.send(&mut call, probe(0, vec![0, 9, 1, 2, 3]));
    let mut padding = probe(1, Vec::new());
    padding.padding = 200;
    alice.send(&mut call, padding);
    alice.send(&mut call, picture(0));
    let told = alice.told_of_everything(&mut call);
    assert_eq!(told[0].media_ssrc, 1000);
}

#[test]
fn media_of_a_producer_closed_on_our_side_counts() {
    let mut call = Call::new();
    let (mut alice, producer) = sending(&mut call);
    call.router.close_producer(producer);
    for step in 1..50 {
        alice.send(&mut call, picture(step));
        call.wait(5 * MS);
    }
    alice.told_of_everything(&mut call);
}

#[test]
fn packets_without_a_stream_count_for_feedback() {
    let mut call = Call::new();
    let (mut alice, _) = sending(&mut call);
    let mut foreign = picture(1);
    foreign.payload_type = 120;
    alice.send(&mut call, foreign);
    let mut long = picture(2);
    long.payload = vec![1; 1500];
    alice.send(&mut call, long);
    let mut broken = picture(3);
    broken.broken_padding = true;
    alice.send(&mut call, broken);
    alice.send(&mut call, picture(4));
    alice.send(&mut call, probe(7, vec![1]));
    alice.told_of_everything(&mut call);
    let drops = call.router.stats().drops;
    assert_eq!(
        (drops.unknown_stream, drops.oversize, drops.malformed),
        (1, 1, 1)
    );
    let stats = call.router.transport_stats(alice.peer.transport).unwrap();
    assert_eq!(stats.packets_in, 6, "all came");
}

#[test]
fn forged_and_replayed_packets_do_not_count() {
    let mut call = Call::new();
    let (mut alice, _) = sending(&mut call);
    for ssrc in [1000, 7777] {
        let mut packet = picture(1);
        packet.ssrc = ssrc;
        let mut forged = alice.protect(packet);
        *forged.last_mut().unwrap() ^= 1;
        call.deliver(&alice.peer, &forged);
    }
    alice.next = alice.next.wrapping_sub(2);
    let mut unknown = picture(2);
    unknown.ssrc = 7777;
    let datagram = alice.protect(unknown);
    call.deliver(&alice.peer, &datagram);
    call.wait(150 * MS);
    call.deliver(&alice.peer, &datagram);
    call.wait(150 * MS);
    let told = feedbacks(&call.inbox(&mut alice.peer).rtcp);
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].packets.len(), told[0].media_ssrc), (1, 7777));
    let drops = call.router.stats().drops;
    assert_eq!((drops.not_authentic, drops.replayed), (2, 1));
}

#[test]
fn a_flood_before_the_first_produce_keeps_its_newest_part() {
    let mut call = Call::new();
    let mut alice = Sender::new(&mut call);
    for step in 0..3000 {
        alice.send(&mut call, picture(step));
    }
    alice.sent.drain(..3000 - 512);
    call.produce(&alice.peer, video(1000));
    alice.told_of_everything(&mut call);
}

#[test]
fn other_values_of_two_bytes_are_not_taken_for_the_number() {
    let mut call = Call::new();
    let mut alice = Sender::new(&mut call);
    for step in 0..10 {
        let mut packet = picture(step);
        packet.extensions = vec![(4, b"10".to_vec()), (9, vec![0xff, 0xff])];
        alice.send(&mut call, packet);
    }
    call.produce(&alice.peer, video(1000));
    alice.told_of_everything(&mut call);
}

/// Hands over a datagram that came `waited` ago.
fn deliver_late(call: &mut Call, peer: &Peer, datagram: &[u8], waited: Duration) {
    let mut bytes = datagram.to_vec();
    let class = classify(&bytes);
    let times = (call.now - waited, call.now);
    call.router.handle_datagram_received_at(
        peer.transport,
        class,
        &mut bytes,
        peer.address,
        times,
        &mut call.sent,
    );
}

#[test]
fn feedback_and_jitter_tell_when_a_packet_came_not_when_it_was_read() {
    let mut call = Call::new();
    let mut alice = Sender::new(&mut call);
    let producer = call.produce(&alice.peer, video(1000));
    // One packet each 5 ms, read in batches of ten.
    for batch in 0..20u16 {
        call.wait(50 * MS);
        for step in 0..10 {
            let waited = (10 - u32::from(step)) * 5 * MS;
            let number = batch * 10 + step;
            let mut packet = picture(number);
            packet.timestamp = 450 * u32::from(number);
            let datagram = alice.protect(packet);
            let came = call.now - waited - call.start;
            alice
                .sent
                .push((alice.next.wrapping_sub(1), came.as_micros() as i64));
            deliver_late(&mut call, &alice.peer, &datagram, waited);
        }
    }
    alice.told_of_everything(&mut call);
    let jitter = call.router.producer_stats(producer).unwrap()[0].jitter;
    assert!(jitter < MS / 10, "{jitter:?}");
}

#[test]
fn round_trips_and_the_age_of_a_report_do_not_count_the_wait_here() {
    let mut call = Call::new();
    let (mut alice, mut bob, _, consumer) = call.pair(audio(1000), audio_consumer(5000, "0"));
    call.send(&mut alice, &audio_packet(1000, 0, 0, 40));
    call.wait(1600 * MS);
    let sent = call.inbox(&mut bob).rtcp;
    let told = sent.iter().flat_map(|compound| packets(compound));
    let report = told.filter_map(Result::ok).find_map(|packet| match packet {
        Rtcp::SenderReport(report) => Some(report.info),
        _ => None,
    });
    let now = ntp::from_unix(EPOCH + (call.now - call.start));
    let held = ntp::compact(now).wrapping_sub(ntp::compact(report.unwrap().ntp));
    call.now += 90 * MS;
    // The answer left at `now`, was 20 ms on its way and then 70 ms in the socket's buffer.
    let block = ReportBlock {
        ssrc: 5000,
        last_sr: ntp::compact(report.unwrap().ntp),
        delay_since_last_sr: held,
        ..ReportBlock::default()
    };
    let mut out = [0; 256];
    let len = rr::write(9, &[block], &mut out).unwrap();
    let datagram = bob.protect_rtcp(&out[..len]);
    deliver_late(&mut call, &bob, &datagram, 70 * MS);
    let rtt = call.router.consumer_stats(consumer).unwrap().rtt.unwrap();
    assert!((19 * MS..=21 * MS).contains(&rtt), "{rtt:?}");

    let info = SenderInfo {
        ssrc: 1000,
        ntp: now,
        rtp_timestamp: 0,
        packet_count: 1,
        octet_count: 80,
    };
    let len = info.write(&[], &mut out).unwrap();
    let datagram = alice.protect_rtcp(&out[..len]);
    let came = call.now - 60 * MS;
    deliver_late(&mut call, &alice, &datagram, 60 * MS);
    call.inbox(&mut alice);
    call.send(&mut alice, &audio_packet(1000, 1, 960, 40));
    let mut age = None;
    for _ in 0..3000 {
        call.wait(MS);
        let inbox = call.inbox(&mut alice).rtcp;
        let told = inbox.iter().flat_map(|compound| packets(compound));
        let block = told.filter_map(Result::ok).find_map(|packet| match packet {
            Rtcp::ReceiverReport(report) => report.reports().next(),
            _ => None,
        });
        if let Some(block) = block {
            assert_eq!(block.last_sr, ntp::compact(now));
            age = Some(f64::from(block.delay_since_last_sr) / 65_536.0);
            break;
        }
    }
    let expected = (call.now - came).as_secs_f64();
    assert!(
        (age.unwrap() - expected).abs() < 0.002,
        "{age:?} {expected}"
    );
}

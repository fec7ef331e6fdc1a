//! The value of every outgoing RTP header field, read at the offsets of RFC 3550 §5.1 and RFC 8285 §4.2, without our
//! own parser. RTCP is in `golden_rtcp`.
#![allow(clippy::unwrap_used)]

mod router_call;

use std::time::Duration;

use meeshy_sfu_proto::router::{ConsumerCodec, ProducerCodec};
use meeshy_sfu_proto::rtcp::nack;
use router_call::*;

const MS: Duration = Duration::from_millis(1);

/// A header that leaves, by its offsets.
struct Header {
    first: u8,
    second: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    profile: Option<u16>,
    elements: Vec<(u8, Vec<u8>)>,
    len: usize,
}

impl Header {
    fn of(datagram: &[u8]) -> Self {
        let word = |at: usize| u32::from_be_bytes(datagram[at..at + 4].try_into().unwrap());
        let half = |at: usize| u16::from_be_bytes(datagram[at..at + 2].try_into().unwrap());
        let mut header = Self {
            first: datagram[0],
            second: datagram[1],
            sequence: half(2),
            timestamp: word(4),
            ssrc: word(8),
            profile: None,
            elements: Vec::new(),
            len: 12,
        };
        if header.first & 0x10 != 0 {
            header.profile = Some(half(12));
            let end = 16 + 4 * usize::from(half(14));
            let mut at = 16;
            while at < end {
                let id = datagram[at] >> 4;
                if id == 0 {
                    at += 1;
                    continue;
                }
                let len = usize::from(datagram[at] & 15) + 1;
                header
                    .elements
                    .push((id, datagram[at + 1..at + 1 + len].to_vec()));
                at += 1 + len;
            }
            header.len = end;
        }
        header
    }

    fn element(&self, id: u8) -> &[u8] {
        let found = self.elements.iter().find(|(known, _)| *known == id);
        &found.unwrap_or_else(|| panic!("no element {id}")).1
    }

    fn abs_send_time(&self, id: u8) -> u32 {
        let value = self.element(id);
        u32::from_be_bytes([0, value[0], value[1], value[2]])
    }

    fn half_of(&self, id: u8) -> u16 {
        u16::from_be_bytes(self.element(id).try_into().unwrap())
    }
}

/// Takes the datagrams of RTP that went to a peer, as they left.
fn rtp_to(call: &mut Call, peer: &Peer) -> Vec<(Header, Vec<u8>)> {
    let mut found = Vec::new();
    call.sent.datagrams.retain(|(to, datagram)| {
        // RFC 5761 §4: payload types 64 to 95 are where RTCP lies.
        let is_rtcp = (64..96).contains(&(datagram[1] & 0x7f));
        let matches = *to == peer.address && !is_rtcp;
        if matches {
            found.push((Header::of(datagram), datagram.clone()));
        }
        !matches
    });
    found
}

#[test]
fn a_video_header_says_what_was_negotiated() {
    let mut call = Call::new();
    let (mut alice, bob, ..) = call.pair(video(1000), video_consumer(5000, "v7"));
    let mut sent = Vec::new();
    for step in 0..3u16 {
        call.wait(17 * MS);
        let mut packet = video_packet(1000, 700 + step, 90_000 + 3000 * u32::from(step), step == 0);
        packet.marker = step != 1;
        let at = ntp_now(&call);
        call.send(&mut alice, &packet);
        sent.push((packet, at));
    }
    let got = rtp_to(&mut call, &bob);
    assert_eq!(got.len(), 3);
    let first = &got[0].0;
    for (position, ((header, datagram), (packet, at))) in got.iter().zip(&sent).enumerate() {
        assert_eq!(
            header.first, 0x90,
            "version 2, extended, no padding, no CSRC"
        );
        assert_eq!(header.second & 0x7f, 101);
        assert_eq!(header.second >> 7, u8::from(packet.marker));
        assert_eq!(header.ssrc, 5000);
        assert_eq!(
            header.sequence,
            first.sequence.wrapping_add(position as u16)
        );
        assert_eq!(
            header.timestamp.wrapping_sub(first.timestamp),
            3000 * position as u32
        );
        assert_eq!(header.profile, Some(0xbede));
        assert_eq!(header.element(1), b"v7");
        let expected = (at >> 14) as u32 & 0xff_ffff;
        let off = header.abs_send_time(4).wrapping_sub(expected) as i32;
        assert!(
            off.abs() <= 2,
            "send time of packet {position} is {off}/2^18 s off"
        );
        assert_eq!(
            header.half_of(5),
            first.half_of(5).wrapping_add(position as u16),
            "transport-wide number"
        );
        let overhead = alice.profile.rtp_overhead();
        assert_eq!(datagram.len(), header.len + packet.payload.len() + overhead);
    }
}

#[test]
fn an_audio_header_forwards_the_level() {
    let mut call = Call::new();
    let (mut alice, bob, ..) = call.pair(audio(1000), audio_consumer(5000, "a1"));
    call.send(&mut alice, &audio_packet(1000, 9, 960, 0x80 | 33));
    let got = rtp_to(&mut call, &bob);
    let header = &got[0].0;
    assert_eq!((header.ssrc, header.second), (5000, 100));
    assert_eq!(header.element(6), [0x80 | 33], "voice, -33 dBov");
    assert_eq!(header.element(1), b"a1");
    assert!(
        header.elements.iter().all(|(id, _)| [1, 4, 6].contains(id)),
        "nothing that was not negotiated"
    );
}

#[test]
fn packets_of_each_codec_leave_under_the_payload_type_of_that_codec() {
    let mut call = Call::new();
    let (mut config, mut copy) = (video(1000), video_consumer(5000, "0"));
    config.codecs.push(ProducerCodec {
        payload_type: 98,
        mapped_payload_type: 103,
        rtx_payload_type: Some(99),
        ..config.codecs[0].clone()
    });
    copy.codecs.push(ConsumerCodec {
        payload_type: 103,
        rtx_payload_type: Some(104),
        ..copy.codecs[0].clone()
    });
    let (mut alice, bob, ..) = call.pair(config, copy);
    for (step, payload_type) in [96, 98, 98, 96].into_iter().enumerate() {
        let mut packet = video_packet(1000, step as u16, 3000 * step as u32, true);
        packet.payload_type = payload_type;
        call.send(&mut alice, &packet);
    }
    let types: Vec<u8> = rtp_to(&mut call, &bob)
        .iter()
        .map(|(header, _)| header.second & 0x7f)
        .collect();
    assert_eq!(types, [101, 103, 103, 101]);
}

#[test]
fn a_retransmission_names_the_original_and_has_numbers_of_its_own() {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.pair(video(1000), video_consumer(5000, "0"));
    for step in 0..5u16 {
        call.send(
            &mut alice,
            &video_packet(1000, step, 3000 * u32::from(step), step == 0),
        );
    }
    let originals = rtp_to(&mut call, &bob);
    call.wait(300 * MS);
    let at = ntp_now(&call);
    let asked = [originals[1].0.sequence, originals[3].0.sequence];
    let mut out = [0; 64];
    let nack = nack::write(1, 5000, &asked, &mut out).unwrap();
    call.send_rtcp(&mut bob, &out[..nack.len]);
    call.flush();
    let again: Vec<Header> = rtp_to_open(&mut call, &bob);
    assert_eq!(again.len(), 2);
    let last_number = originals[4].0.half_of(5);
    for (position, header) in again.iter().enumerate() {
        let original = &originals[[1, 3][position]].0;
        assert_eq!(header.ssrc, 5001);
        assert_eq!(header.second & 0x7f, 102);
        assert_eq!(header.second >> 7, original.second >> 7);
        assert_eq!(header.timestamp, original.timestamp);
        assert_eq!(
            header.half_of(5),
            last_number.wrapping_add(1 + position as u16),
            "transport-wide numbers go on over retransmissions"
        );
        let expected = (at >> 14) as u32 & 0xff_ffff;
        let off = header.abs_send_time(4).wrapping_sub(expected) as i32;
        assert!(
            off.abs() <= 2,
            "when it was sent, not when the original was"
        );
        assert_eq!(
            header.sequence,
            again[0].sequence.wrapping_add(position as u16)
        );
    }
    let numbers: Vec<u16> = call
        .inbox(&mut bob)
        .rtp
        .iter()
        .map(|packet| u16::from_be_bytes([packet.payload[0], packet.payload[1]]))
        .collect();
    assert_eq!(numbers, asked, "RFC 4588 §4: the original sequence number");
}

/// Reads what went to a peer and leaves it there, to be decrypted.
fn rtp_to_open(call: &mut Call, peer: &Peer) -> Vec<Header> {
    let kept = call.sent.datagrams.clone();
    let found = rtp_to(call, peer);
    call.sent.datagrams = kept;
    found.into_iter().map(|(header, _)| header).collect()
}

//! Every packet type: the bytes of its RFC, round trips, and hostile input.

use super::xr::{DlrrItem, XrBlock};
use super::*;
use crate::error::RtcpError;
use proptest::prelude::*;

fn only(bytes: &[u8]) -> Packet<'_> {
    let mut walk = packets(bytes);
    let packet = walk.next().unwrap().unwrap();
    assert!(walk.next().is_none(), "one packet");
    packet
}

fn block() -> impl Strategy<Value = ReportBlock> {
    (any::<[u32; 5]>(), any::<u8>(), -(1i32 << 23)..1 << 23).prop_map(
        |(words, fraction_lost, cumulative_lost)| ReportBlock {
            ssrc: words[0],
            fraction_lost,
            cumulative_lost,
            highest_sequence: words[1],
            jitter: words[2],
            last_sr: words[3],
            delay_since_last_sr: words[4],
        },
    )
}

#[test]
fn a_sender_report_has_the_bytes_of_the_rfc() {
    let info = SenderInfo {
        ssrc: 0x0102_0304,
        ntp: 0x1112_1314_2122_2324,
        rtp_timestamp: 0x3132_3334,
        packet_count: 5,
        octet_count: 600,
    };
    let report = ReportBlock {
        ssrc: 0x4142_4344,
        fraction_lost: 0x80,
        cumulative_lost: -2,
        highest_sequence: 0x0001_0002,
        jitter: 9,
        last_sr: 0x1314_2122,
        delay_since_last_sr: 0x0001_0000,
    };
    let mut out = [0; 64];
    let len = info.write(&[report], &mut out).unwrap();
    #[rustfmt::skip]
    let expected = [
        0x81, 200, 0, 12,
        1, 2, 3, 4,
        0x11, 0x12, 0x13, 0x14, 0x21, 0x22, 0x23, 0x24,
        0x31, 0x32, 0x33, 0x34,
        0, 0, 0, 5,
        0, 0, 0x02, 0x58,
        0x41, 0x42, 0x43, 0x44,
        0x80, 0xff, 0xff, 0xfe,
        0, 1, 0, 2,
        0, 0, 0, 9,
        0x13, 0x14, 0x21, 0x22,
        0, 1, 0, 0,
    ];
    assert_eq!(out[..len], expected);
    let Packet::SenderReport(read) = only(&expected) else {
        panic!("a sender report")
    };
    assert_eq!(read.info, info);
    assert_eq!(read.reports().collect::<Vec<_>>(), [report]);
}

#[test]
fn a_report_may_carry_an_extension_of_its_profile_but_not_fewer_blocks_than_it_says() {
    let mut packet = [0; 12];
    rr::write(7, &[], &mut packet).unwrap();
    packet[3] = 2;
    assert!(matches!(only(&packet), Packet::ReceiverReport(report) if report.reports().len() == 0));
    packet[0] |= 1;
    assert!(matches!(
        packets(&packet).next(),
        Some(Err(RtcpError::Malformed))
    ));
}

#[test]
fn descriptions_are_padded_to_words_whatever_the_name() {
    for name in ["", "a", "ab", "abc", "abcd", "user@example"] {
        let mut out = [0xff; 64];
        let len = sdes::write(9, name, &mut out).unwrap();
        assert_eq!(len % 4, 0);
        let Packet::Sdes(sdes) = only(&out[..len]) else {
            panic!("a description")
        };
        assert_eq!(sdes.cnames().collect::<Vec<_>>(), [(9, name.as_bytes())]);
    }
    assert_eq!(sdes::write(9, &"x".repeat(256), &mut [0; 600]), None);
}

#[test]
fn a_description_has_the_bytes_of_the_rfc() {
    let mut out = [0xff; 64];
    let len = sdes::write(0x0102_0304, "alice", &mut out).unwrap();
    #[rustfmt::skip]
    let expected = [
        0x81, 202, 0, 3,
        1, 2, 3, 4,
        1, 5, b'a', b'l', b'i', b'c', b'e', 0,
    ];
    assert_eq!(out[..len], expected);
    // A name that fills its word has a whole word of zeros behind it.
    let len = sdes::write(9, "ab", &mut out).unwrap();
    assert_eq!(
        out[..len],
        [0x81, 202, 0, 3, 0, 0, 0, 9, 1, 2, b'a', b'b', 0, 0, 0, 0]
    );
    let longest = "x".repeat(255);
    let mut out = [0; 600];
    let len = sdes::write(9, &longest, &mut out).unwrap();
    assert_eq!((len, out[9]), (268, 255));
}

#[test]
fn descriptions_of_several_sources_and_items_are_iterated() {
    #[rustfmt::skip]
    let packet = [
        0x83, 202, 0, 9,
        0, 0, 0, 1, 2, 2, b'n', b'n', 1, 1, b'a', 0,
        0, 0, 0, 2, 3, 1, b'e', 0,
        0, 0, 0, 3, 1, 4, b'c', b'c', b'c', b'c', 0, 0,
        0, 0, 0, 0,
    ];
    let Packet::Sdes(sdes) = only(&packet) else {
        panic!("a description")
    };
    assert_eq!(
        sdes.cnames().collect::<Vec<_>>(),
        [(1, &b"a"[..]), (3, &b"cccc"[..])]
    );
    let mut cut = packet;
    cut[0] = 0x84;
    cut[39] = 7;
    assert!(matches!(
        packets(&cut).next(),
        Some(Err(RtcpError::Malformed))
    ));
}

#[test]
fn a_bye_lists_sources_and_may_hold_a_reason() {
    let mut out = [0; 16];
    let len = bye::write(&[1, 2], &mut out).unwrap();
    assert_eq!(out[..len], [0x82, 203, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]);
    let with_reason = [0x81, 203, 0, 2, 0, 0, 0, 5, 3, b'b', b'y', b'e'];
    let Packet::Bye(bye) = only(&with_reason) else {
        panic!("not a BYE")
    };
    assert_eq!(bye.ssrcs().collect::<Vec<_>>(), [5]);
    assert!(matches!(
        packets(&[0x82, 203, 0, 1, 0, 0, 0, 5]).next(),
        Some(Err(RtcpError::Malformed))
    ));
}

#[test]
fn a_nack_packs_seventeen_numbers_into_an_entry() {
    let mut out = [0; 64];
    let written = nack::write(1, 2, &[65_530, 65_531, 10, 11, 40], &mut out).unwrap();
    assert_eq!(written.taken, 5);
    #[rustfmt::skip]
    let expected = [
        0x81, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2,
        // 10 is 16 ahead of 65530, the last an entry can hold.
        0xff, 0xfa, 0x80, 0x01,
        0, 11, 0, 0,
        0, 40, 0, 0,
    ];
    assert_eq!(out[..written.len], expected);
    let Packet::Nack(nack) = only(&out[..written.len]) else {
        panic!("a nack")
    };
    assert_eq!((nack.sender_ssrc, nack.media_ssrc), (1, 2));
    assert_eq!(
        nack.sequences().collect::<Vec<_>>(),
        [65_530, 65_531, 10, 11, 40]
    );
    assert_eq!(nack::write(1, 2, &[], &mut out), None);
    assert_eq!(nack::write(1, 2, &[1], &mut out[..15]), None);
}

#[test]
fn key_frame_requests_have_the_bytes_of_the_rfcs() {
    let mut out = [0; 64];
    let pli = Pli {
        sender_ssrc: 1,
        media_ssrc: 2,
    };
    let len = pli.write(&mut out).unwrap();
    assert_eq!(out[..len], [0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2]);
    assert!(matches!(only(&out[..len]), Packet::Pli(read) if read == pli));

    let entries = [
        FirEntry {
            ssrc: 7,
            sequence: 200,
        },
        FirEntry {
            ssrc: 8,
            sequence: 0,
        },
    ];
    let len = fir::write(1, &entries, &mut out).unwrap();
    #[rustfmt::skip]
    let expected = [
        0x84, 206, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0,
        0, 0, 0, 7, 200, 0, 0, 0,
        0, 0, 0, 8, 0, 0, 0, 0,
    ];
    assert_eq!(out[..len], expected);
    let Packet::Fir(fir) = only(&out[..len]) else {
        panic!("a fir")
    };
    assert_eq!(fir.entries().collect::<Vec<_>>(), entries);
}

#[test]
fn an_estimate_keeps_eighteen_bits() {
    let mut out = [0; 64];
    let len = remb::write(1, 2_500_000, &[9, 10], &mut out).unwrap();
    // 2500000 = 156250 << 4
    #[rustfmt::skip]
    let expected = [
        0x8f, 206, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0,
        b'R', b'E', b'M', b'B', 2, 0x12, 0x62, 0x5a,
        0, 0, 0, 9, 0, 0, 0, 10,
    ];
    assert_eq!(out[..len], expected);
    let Packet::Remb(remb) = only(&expected) else {
        panic!("an estimate")
    };
    assert_eq!(remb.bitrate_bps, 2_500_000);
    assert_eq!(remb.ssrcs().collect::<Vec<_>>(), [9, 10]);

    let mut overflowing = expected;
    overflowing[17] = 0xff;
    assert!(matches!(
        packets(&overflowing).next(),
        Some(Err(RtcpError::Malformed))
    ));
    let mut too_many = expected;
    too_many[16] = 3;
    assert!(matches!(
        packets(&too_many).next(),
        Some(Err(RtcpError::Malformed))
    ));
    let mut other_application = expected;
    other_application[12] = b'X';
    assert!(matches!(
        only(&other_application),
        Packet::Other {
            packet_type: 206,
            count: 15
        }
    ));
}

#[test]
fn extended_reports_carry_reference_times_and_their_answers() {
    let mut out = [0; 128];
    let len = xr::write_rrtr(1, 0x0102_0304_0506_0708, &mut out).unwrap();
    let expected = [
        0x80, 207, 0, 4, 0, 0, 0, 1, 4, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8,
    ];
    assert_eq!(out[..len], expected);
    let Packet::Xr(xr) = only(&expected) else {
        panic!("an extended report")
    };
    assert!(matches!(
        xr.blocks().next(),
        Some(XrBlock::ReceiverReferenceTime(0x0102_0304_0506_0708))
    ));

    let items = [
        DlrrItem {
            ssrc: 7,
            last_rr: 8,
            delay_since_last_rr: 9,
        },
        DlrrItem::default(),
    ];
    let len = xr::write_dlrr(2, &items, &mut out).unwrap();
    let Packet::Xr(xr) = only(&out[..len]) else {
        panic!("an extended report")
    };
    let Some(XrBlock::Dlrr(read)) = xr.blocks().next() else {
        panic!("answers")
    };
    assert_eq!(read.iter().collect::<Vec<_>>(), items);

    // An unknown block in front is stepped over; one longer than the packet is not.
    #[rustfmt::skip]
    let mut two = [
        0x80, 207, 0, 6, 0, 0, 0, 1, 1, 0, 0, 1, 9, 9, 9, 9, 4, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1,
    ];
    let Packet::Xr(xr) = only(&two) else {
        panic!("an extended report")
    };
    assert!(matches!(
        xr.blocks().collect::<Vec<_>>()[..],
        [XrBlock::ReceiverReferenceTime(1)]
    ));
    two[11] = 200;
    assert!(matches!(
        packets(&two).next(),
        Some(Err(RtcpError::Malformed))
    ));
}

#[test]
fn what_comes_before_a_malformed_packet_counts() {
    let mut out = [0; 64];
    let first = rr::write(1, &[], &mut out).unwrap();
    let second = first
        + Pli {
            sender_ssrc: 1,
            media_ssrc: 2,
        }
        .write(&mut out[first..])
        .unwrap();
    for cut in 1..second - first {
        let mut walk = packets(&out[..first + cut]);
        assert!(matches!(walk.next(), Some(Ok(Packet::ReceiverReport(_)))));
        assert!(matches!(walk.next(), Some(Err(RtcpError::Truncated))));
        assert!(walk.next().is_none());
    }
    out[first] = 0x41;
    assert!(matches!(
        packets(&out[..second]).nth(1),
        Some(Err(RtcpError::Version))
    ));
}

#[test]
fn padding_is_cut_off_and_checked() {
    let mut packet = [0xa0, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4];
    assert!(matches!(only(&packet), Packet::ReceiverReport(report) if report.ssrc == 1));
    for count in [0, 9, 255] {
        packet[11] = count;
        assert!(
            matches!(packets(&packet).next(), Some(Err(RtcpError::Padding))),
            "{count}"
        );
    }
    assert!(matches!(
        packets(&[0xa0, 201, 0, 0]).next(),
        Some(Err(RtcpError::Padding))
    ));
}

#[test]
fn writers_refuse_a_buffer_that_is_too_small_by_one() {
    type Write = fn(&mut [u8]) -> Option<usize>;
    let writers: [Write; 9] = [
        |out| SenderInfo::default().write(&[ReportBlock::default()], out),
        |out| rr::write(1, &[ReportBlock::default()], out),
        |out| sdes::write(1, "name", out),
        |out| bye::write(&[1], out),
        |out| {
            Pli {
                sender_ssrc: 1,
                media_ssrc: 2,
            }
            .write(out)
        },
        |out| {
            fir::write(
                1,
                &[FirEntry {
                    ssrc: 1,
                    sequence: 2,
                }],
                out,
            )
        },
        |out| remb::write(1, 1000, &[1], out),
        |out| xr::write_rrtr(1, 1, out),
        |out| xr::write_dlrr(1, &[DlrrItem::default()], out),
    ];
    for write in writers {
        let mut out = [0; 128];
        let len = write(&mut out).unwrap();
        assert_eq!(write(&mut out[..len]), Some(len));
        assert_eq!(write(&mut out[..len - 1]), None);
    }
}

#[test]
fn a_report_holds_at_most_31_blocks() {
    let blocks = [ReportBlock::default(); 32];
    let mut out = [0; 1024];
    assert!(rr::write(1, &blocks[..31], &mut out).is_some());
    assert!(
        SenderInfo::default()
            .write(&blocks[..31], &mut out)
            .is_some()
    );
    assert!(bye::write(&[0; 31], &mut out).is_some());
    assert_eq!(rr::write(1, &blocks, &mut out), None);
    assert_eq!(SenderInfo::default().write(&blocks, &mut out), None);
    assert_eq!(bye::write(&[0; 32], &mut out), None);
}

proptest! {
    #[test]
    fn reports_come_out_as_they_went_in(ssrc: u32, blocks in proptest::collection::vec(block(), 0..=31)) {
        let mut out = [0; 1024];
        let len = rr::write(ssrc, &blocks, &mut out).unwrap();
        let Packet::ReceiverReport(report) = only(&out[..len]) else { panic!("a report") };
        prop_assert_eq!(report.ssrc, ssrc);
        prop_assert_eq!(report.reports().collect::<Vec<_>>(), blocks);
    }

    #[test]
    fn a_nack_asks_for_exactly_the_numbers_given(
        start: u16,
        steps in proptest::collection::vec(1u16..40, 1..200),
        room in 16usize..300,
    ) {
        let sequences: Vec<u16> = steps.iter().scan(start, |at, step| { *at = at.wrapping_add(*step); Some(*at) }).collect();
        let mut out = vec![0; room];
        let written = nack::write(1, 2, &sequences, &mut out).unwrap();
        prop_assert!(written.taken == sequences.len() || written.len + 4 > room);
        let Packet::Nack(nack) = only(&out[..written.len]) else { panic!("a nack") };
        prop_assert_eq!(nack.sequences().collect::<Vec<_>>(), &sequences[..written.taken]);
    }

    #[test]
    fn an_estimate_loses_less_than_one_in_two_to_the_seventeen(bitrate: u64) {
        let mut out = [0; 64];
        let len = remb::write(1, bitrate, &[], &mut out).unwrap();
        let Packet::Remb(remb) = only(&out[..len]) else { panic!("an estimate") };
        prop_assert!(remb.bitrate_bps <= bitrate);
        prop_assert!(bitrate - remb.bitrate_bps <= bitrate >> 17);
    }

    #[test]
    fn any_bytes_are_iterated_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        walk(&bytes);
    }

    #[test]
    fn any_body_of_a_known_type_is_iterated_without_panic(
        packet_type in 200u8..=207,
        count in 0u8..32,
        body in proptest::collection::vec(any::<u8>(), 0..75),
    ) {
        let mut packet = vec![0x80 | count, packet_type, 0, (body.len() / 4) as u8];
        packet.extend(&body[..body.len() / 4 * 4]);
        walk(&packet);
    }
}

/// Uses all that a packet offers.
fn walk(bytes: &[u8]) {
    for packet in packets(bytes).map_while(Result::ok) {
        match packet {
            Packet::SenderReport(report) => drop(report.reports().count()),
            Packet::ReceiverReport(report) => drop(report.reports().count()),
            Packet::Sdes(sdes) => drop(sdes.cnames().count()),
            Packet::Bye(bye) => drop(bye.ssrcs().count()),
            Packet::Nack(nack) => drop(nack.sequences().count()),
            Packet::Fir(fir) => drop(fir.entries().count()),
            Packet::Remb(remb) => drop(remb.ssrcs().count()),
            Packet::TransportCc(feedback) => {
                let came = feedback.arrivals().filter(|one| one.at_us.is_some());
                let (received, missing) = feedback.counts();
                assert_eq!(came.count(), received as usize);
                assert_eq!(received + missing, u32::from(feedback.status_count));
            }
            Packet::Xr(xr) => drop(xr.blocks().count()),
            Packet::Pli(_) | Packet::Other { .. } => {}
        }
    }
}

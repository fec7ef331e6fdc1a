//! RTCP: whole datagrams, and bodies put under the header of one type so that mutation stays inside it.

use std::time::Duration;

use meeshy_sfu_proto::rtcp::twcc::Feedback;
use meeshy_sfu_proto::rtcp::xr::{self, XrBlock};
use meeshy_sfu_proto::rtcp::{self, Packet, Pli, packets};

pub(super) fn compound(data: &[u8]) {
    let mut failed = false;
    for packet in packets(data) {
        assert!(!failed, "nothing comes after an error");
        match packet {
            Ok(packet) => check(packet),
            Err(_) => failed = true,
        }
    }
}

/// Uses all a packet offers; what can be written again must read the same.
fn check(packet: Packet<'_>) {
    let mut out = [0; 4096];
    match packet {
        Packet::SenderReport(report) => {
            let blocks: Vec<_> = report.reports().collect();
            let len = report.info.write(&blocks, &mut out).expect("room");
            let Some(Ok(Packet::SenderReport(again))) = packets(&out[..len]).next() else {
                panic!("own report")
            };
            assert_eq!(again.info, report.info);
            assert!(again.reports().eq(blocks));
        }
        Packet::ReceiverReport(report) => {
            let blocks: Vec<_> = report.reports().collect();
            let len = rtcp::rr::write(report.ssrc, &blocks, &mut out).expect("room");
            let Some(Ok(Packet::ReceiverReport(again))) = packets(&out[..len]).next() else {
                panic!("own report")
            };
            assert!(again.ssrc == report.ssrc && again.reports().eq(blocks));
        }
        Packet::Sdes(sdes) => {
            for (ssrc, cname) in sdes.cnames() {
                let Ok(cname) = std::str::from_utf8(cname) else {
                    continue;
                };
                let len = rtcp::sdes::write(ssrc, cname, &mut out).expect("room");
                let Some(Ok(Packet::Sdes(again))) = packets(&out[..len]).next() else {
                    panic!("own description")
                };
                assert!(again.cnames().eq([(ssrc, cname.as_bytes())]));
            }
        }
        Packet::Bye(bye) => {
            let ssrcs: Vec<_> = bye.ssrcs().collect();
            let len = rtcp::bye::write(&ssrcs, &mut out).expect("room");
            let Some(Ok(Packet::Bye(again))) = packets(&out[..len]).next() else {
                panic!("own goodbye")
            };
            assert!(again.ssrcs().eq(ssrcs));
        }
        Packet::Nack(nack) => check_nack(nack),
        Packet::Pli(pli) => {
            let len = pli.write(&mut out).expect("room");
            assert!(
                matches!(packets(&out[..len]).next(), Some(Ok(Packet::Pli(again))) if again == pli)
            );
        }
        Packet::Fir(fir) => {
            let entries: Vec<_> = fir.entries().take(400).collect();
            let len = rtcp::fir::write(fir.sender_ssrc, &entries, &mut out).expect("room");
            let Some(Ok(Packet::Fir(again))) = packets(&out[..len]).next() else {
                panic!("own request")
            };
            assert!(again.entries().eq(entries));
        }
        Packet::Remb(remb) => {
            let ssrcs: Vec<_> = remb.ssrcs().collect();
            let len = rtcp::remb::write(remb.sender_ssrc, remb.bitrate_bps, &ssrcs, &mut out)
                .expect("room");
            let Some(Ok(Packet::Remb(again))) = packets(&out[..len]).next() else {
                panic!("own estimate")
            };
            assert!(again.bitrate_bps == remb.bitrate_bps && again.ssrcs().eq(ssrcs));
        }
        Packet::TransportCc(feedback) => check_twcc(feedback),
        Packet::Xr(report) => check_xr(report),
        _ => {}
    }
}

fn check_nack(nack: rtcp::Nack<'_>) {
    let sequences: Vec<u16> = nack.sequences().collect();
    let mut out = [0; 512];
    let Some(written) = rtcp::nack::write(nack.sender_ssrc, nack.media_ssrc, &sequences, &mut out)
    else {
        assert!(sequences.is_empty());
        return;
    };
    let Some(Ok(Packet::Nack(again))) = packets(&out[..written.len]).next() else {
        panic!("own request")
    };
    // Numbers in any order are packed less tightly, but none may be lost or made up.
    let again: Vec<u16> = again.sequences().collect();
    assert!(
        sequences[..written.taken]
            .iter()
            .all(|sequence| again.contains(sequence))
    );
    assert!(
        again
            .iter()
            .all(|sequence| sequences[..written.taken].contains(sequence))
    );
}

fn check_twcc(feedback: rtcp::TransportCc<'_>) {
    let arrivals: Vec<_> = feedback.arrivals().collect();
    assert_eq!(arrivals.len(), usize::from(feedback.status_count));
    let received = arrivals.iter().filter(|one| one.at_us.is_some()).count();
    let missing = arrivals.len() - received;
    assert_eq!(feedback.counts(), (received as u32, missing as u32));
    let mut expected = feedback.base_sequence;
    for arrival in &arrivals {
        assert_eq!(arrival.sequence, expected);
        expected = expected.wrapping_add(1);
    }
    let times: Option<Vec<Option<Duration>>> = arrivals
        .iter()
        .map(|arrival| match arrival.at_us {
            None => Some(None),
            // Times below zero cannot be handed to the writer, nor those past the wrap of the reference be compared.
            Some(at) if at < 1 << 38 => u64::try_from(at)
                .ok()
                .map(|at| Some(Duration::from_micros(at))),
            Some(_) => None,
        })
        .collect();
    if let Some(times) = times {
        round_trip(feedback.base_sequence, &times, 2048);
    }
}

fn check_xr(report: rtcp::Xr<'_>) {
    let mut out = [0; 4096];
    for block in report.blocks() {
        match block {
            XrBlock::ReceiverReferenceTime(ntp) => {
                let len = xr::write_rrtr(report.ssrc, ntp, &mut out).expect("room");
                let Some(Ok(Packet::Xr(again))) = packets(&out[..len]).next() else {
                    panic!("own report")
                };
                let read = again.blocks().next();
                assert!(
                    matches!(read, Some(XrBlock::ReceiverReferenceTime(again)) if again == ntp)
                );
            }
            XrBlock::Dlrr(items) => {
                let items: Vec<_> = items.iter().take(300).collect();
                let len = xr::write_dlrr(report.ssrc, &items, &mut out).expect("room");
                let Some(Ok(Packet::Xr(again))) = packets(&out[..len]).next() else {
                    panic!("own report")
                };
                let Some(XrBlock::Dlrr(read)) = again.blocks().next() else {
                    panic!("own answers")
                };
                assert!(read.iter().eq(items));
            }
            _ => {}
        }
    }
}

/// Writes arrivals as feedback and reads them back.
fn round_trip(base_sequence: u16, times: &[Option<Duration>], room: usize) {
    let feedback = Feedback {
        sender_ssrc: 1,
        media_ssrc: 2,
        base_sequence,
        feedback_count: 3,
    };
    let mut out = vec![0; room];
    let Some(written) = feedback.write(times.iter().copied(), &mut out) else {
        return;
    };
    let Some(Ok(Packet::TransportCc(again))) = packets(&out[..written.len]).next() else {
        panic!("own feedback")
    };
    assert_eq!(again.status_count, written.taken);
    assert!(times.len() >= usize::from(written.taken));
    for (arrival, time) in again.arrivals().zip(times) {
        // A tick is 250 µs.
        assert_eq!(
            arrival.at_us,
            time.map(|time| (time.as_micros() / 250 * 250) as i64)
        );
    }
}

pub(super) fn twcc_write(data: &[u8]) {
    let Some((&[room, ..], steps)) = data.split_first_chunk::<2>() else {
        return;
    };
    let mut now = Duration::from_millis(500);
    let times: Vec<Option<Duration>> = steps
        .iter()
        .map(|step| match step {
            0..64 => None,
            // Forward by ticks, by large deltas, back a little, and ahead beyond what a delta can say.
            64..128 => Some(Duration::from_micros(250) * u32::from(step - 64)),
            128..192 => Some(Duration::from_millis(20) * u32::from(step - 128)),
            _ => Some(Duration::from_secs(u64::from(step - 192))),
        })
        .map(|step| {
            now += step?;
            Some(if now.as_nanos().is_multiple_of(3) {
                now - Duration::from_millis(90)
            } else {
                now
            })
        })
        .collect();
    round_trip(65_500, &times, usize::from(room) * 4);
}

/// Puts a body under a header with the count or format in `data`'s first byte, or with `format`.
fn body_of(packet_type: u8, format: Option<u8>, data: &[u8]) {
    let Some((&first, body)) = data.split_first() else {
        return;
    };
    let body = &body[..body.len().min(1400) / 4 * 4];
    let mut packet = vec![
        0x80 | format.unwrap_or(first & 0x1f) | (first & 0x20),
        packet_type,
        0,
        0,
    ];
    packet[2..].copy_from_slice(&((body.len() / 4) as u16).to_be_bytes());
    packet.extend_from_slice(body);
    compound(&packet);
}

pub(super) fn sr(data: &[u8]) {
    body_of(200, None, data);
}

pub(super) fn rr(data: &[u8]) {
    body_of(201, None, data);
}

pub(super) fn sdes(data: &[u8]) {
    body_of(202, None, data);
}

pub(super) fn bye(data: &[u8]) {
    body_of(203, None, data);
}

pub(super) fn nack(data: &[u8]) {
    body_of(205, Some(1), data);
}

pub(super) fn twcc(data: &[u8]) {
    body_of(205, Some(15), data);
}

pub(super) fn pli(data: &[u8]) {
    body_of(206, Some(1), data);
    if let Some(ssrcs) = data.first_chunk::<8>() {
        let [a, b, c, d, e, f, g, h] = *ssrcs;
        let pli = Pli {
            sender_ssrc: u32::from_be_bytes([a, b, c, d]),
            media_ssrc: u32::from_be_bytes([e, f, g, h]),
        };
        check(Packet::Pli(pli));
    }
}

pub(super) fn fir(data: &[u8]) {
    body_of(206, Some(4), data);
}

pub(super) fn remb(data: &[u8]) {
    body_of(206, Some(15), data);
}

pub(super) fn xr(data: &[u8]) {
    body_of(207, None, data);
}

//! The value of every outgoing RTCP field, parsed by decoders of another author.
//!
//! RTCP is parsed by str0m; the effects of the values are covered by the other router tests. RTP headers are in
//! `golden_rtp`.
#![allow(clippy::unwrap_used)]

mod router_call;

use std::time::{Duration, Instant, SystemTime};

use meeshy_sfu_proto::router::ProducerConfig;
use meeshy_sfu_proto::rtcp::{self as ours, ReportBlock, SenderInfo, ntp};
use router_call::*;
use str0m::rtp::rtcp::{ReceptionReport, ReportBlock as XrBlock, Rtcp, SdesType, Twcc};

const MS: Duration = Duration::from_millis(1);

/// Splits a compound by the length fields and has str0m read each packet.
fn read(compounds: &[Vec<u8>]) -> Vec<Rtcp> {
    let mut found = Vec::new();
    for compound in compounds {
        let mut rest = compound.as_slice();
        while !rest.is_empty() {
            assert_eq!(rest[0] >> 6, 2, "version");
            let len = (usize::from(u16::from_be_bytes([rest[2], rest[3]])) + 1) * 4;
            found.push(Rtcp::try_from(&rest[..len]).expect("readable by str0m"));
            rest = &rest[len..];
        }
    }
    found
}

/// A second camera of the same sender.
fn second_video(ssrc: u32) -> ProducerConfig {
    ProducerConfig {
        mid: Some("w".into()),
        ..video(ssrc)
    }
}

/// Everything a peer was sent over RTCP.
fn rtcp_to(call: &mut Call, peer: &mut Peer) -> Vec<Rtcp> {
    read(&call.inbox(peer).rtcp)
}

fn written(write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut out = vec![0; 1400];
    let len = write(&mut out).unwrap();
    out.truncate(len);
    out
}

/// Microseconds between two moments, the later first.
fn micros(later: SystemTime, earlier: SystemTime) -> i128 {
    match later.duration_since(earlier) {
        Ok(ahead) => ahead.as_micros() as i128,
        Err(behind) => -(behind.duration().as_micros() as i128),
    }
}

/// The wall clock of the call at this moment.
fn wall(call: &Call) -> SystemTime {
    SystemTime::UNIX_EPOCH + EPOCH + (call.now - call.start)
}

#[test]
fn nacks_and_plis_name_their_media_ssrc() {
    let mut call = Call::new();
    let mut alice = call.peer();
    let one = call.produce(&alice, video(1000));
    let other = call.produce(&alice, second_video(2000));
    let bob = call.peer();
    call.consume(&bob, one, video_consumer(5000, "0"));
    call.consume(&bob, other, video_consumer(6000, "1"));
    call.wait(MS);
    let mut asked: Vec<u32> = rtcp_to(&mut call, &mut alice)
        .iter()
        .filter_map(|packet| match packet {
            Rtcp::Pli(pli) => Some(*pli.ssrc),
            _ => None,
        })
        .collect();
    asked.sort_unstable();
    assert_eq!(asked, [1000, 2000]);
    call.send(&mut alice, &video_packet(1000, 10, 0, true));
    call.send(&mut alice, &video_packet(2000, 20, 0, true));
    call.send(&mut alice, &video_packet(1000, 12, 0, false));
    call.send(&mut alice, &video_packet(2000, 24, 0, false));
    call.wait(12 * MS);
    let mut nacks: Vec<(u32, u16, u16)> = rtcp_to(&mut call, &mut alice)
        .iter()
        .filter_map(|packet| match packet {
            Rtcp::Nack(nack) => {
                let entry = *nack.reports.get(0).unwrap();
                Some((*nack.ssrc, entry.pid, entry.blp))
            }
            _ => None,
        })
        .collect();
    nacks.sort_unstable();
    assert_eq!(nacks, [(1000, 11, 0), (2000, 21, 0b11)]);
}

#[test]
fn each_full_intra_request_has_the_next_number() {
    let mut call = Call::new();
    let mut config = video(1000);
    config.codecs[0].pli = false;
    let (mut alice, mut bob, ..) = call.pair(config, video_consumer(5000, "0"));
    let mut numbers = Vec::new();
    for step in 0..4u16 {
        call.send_rtcp(
            &mut bob,
            &written(|out| {
                ours::Pli {
                    sender_ssrc: 1,
                    media_ssrc: 5000,
                }
                .write(out)
            }),
        );
        call.wait(Duration::from_secs(3));
        for packet in rtcp_to(&mut call, &mut alice) {
            if let Rtcp::Fir(fir) = packet {
                let entry = fir.reports.get(0).unwrap();
                assert_eq!(*entry.ssrc, 1000);
                numbers.push(entry.seq_no);
            }
        }
        call.send(&mut alice, &video_packet(1000, step, 90_000, true));
    }
    assert!(numbers.len() >= 4, "{numbers:?}");
    for (position, number) in numbers.iter().enumerate() {
        assert_eq!(
            *number,
            numbers[0].wrapping_add(position as u8),
            "{numbers:?}"
        );
    }
}

#[test]
fn sender_reports_count_what_was_sent() {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.pair(video(1000), video_consumer(5000, "0"));
    let (mut packets, mut octets) = (0u32, 0u32);
    let mut reports = 0;
    let mut begun = None;
    for step in 0..150u16 {
        let mut packet = video_packet(1000, step, 1800 * u32::from(step), step == 0);
        packet.payload.truncate(60 + usize::from(step));
        call.send(&mut alice, &packet);
        for sent in call.inbox(&mut bob).rtp {
            begun.get_or_insert((sent.timestamp, wall(&call)));
            packets += 1;
            octets += packet.payload.len() as u32;
        }
        call.wait(20 * MS);
        for packet in rtcp_to(&mut call, &mut bob) {
            match packet {
                Rtcp::SenderReport(report) => {
                    reports += 1;
                    let info = report.sender_info;
                    assert_eq!(*info.ssrc, 5000);
                    assert_eq!(info.sender_packet_count, packets);
                    assert_eq!(info.sender_octet_count, octets, "payload octets alone");
                    assert!(report.reports.is_empty());
                    let off = micros(wall(&call), info.ntp_time);
                    assert!((0..=20_000).contains(&off), "NTP time is {off} us off");
                    // RTP and NTP name one moment: what the sender's clock of 90 kHz says then.
                    let (timestamp, at) = begun.unwrap();
                    let ticks = micros(info.ntp_time, at) * 90_000 / 1_000_000;
                    let ahead = (info.rtp_time.numer() as u32).wrapping_sub(timestamp);
                    let wrong = i128::from(ahead) - ticks;
                    assert!(wrong.abs() <= 90, "RTP time is {wrong} ticks off");
                }
                Rtcp::SourceDescription(names) => {
                    let one = names.reports.get(0).unwrap();
                    assert_eq!(*one.ssrc, 5000);
                    let (kind, name) = one.values.get(0).unwrap();
                    assert_eq!((*kind, name.as_str()), (SdesType::CNAME, "alice"));
                }
                other => panic!("{other:?} is nothing for a receiver"),
            }
        }
    }
    assert!(reports >= 2, "{reports}");
}

fn reception(packets: &[Rtcp], ssrc: u32) -> ReceptionReport {
    let blocks = packets.iter().filter_map(|packet| match packet {
        Rtcp::ReceiverReport(report) => Some(report.reports.clone()),
        _ => None,
    });
    let mut found: Vec<ReceptionReport> = Vec::new();
    for list in blocks {
        found.extend(list.iter().filter(|block| *block.ssrc == ssrc).cloned());
    }
    *found.last().expect("a report on the stream")
}

#[test]
fn receiver_reports_say_jitter_loss_and_age_by_the_formulas_of_rfc_3550() {
    let mut call = Call::new();
    let mut alice = call.peer();
    call.produce(&alice, audio(1000));
    // Every packet alternates between 5 ms early and 5 ms late: |D| is 10 ms, 480 units of 48 kHz.
    let mut jitter = 0f64;
    let mut before: Option<(Duration, u32)> = None;
    let start = call.now;
    let mut sent_at = call.now;
    for step in 0..200u16 {
        sent_at += 20 * MS;
        let arrival = if step % 2 == 0 {
            sent_at
        } else {
            sent_at + 10 * MS
        };
        call.now = arrival;
        if step % 20 == 7 {
            continue;
        }
        let timestamp = 960 * u32::from(step);
        call.send(
            &mut alice,
            &audio_packet(1000, 65_500u16.wrapping_add(step), timestamp, 40),
        );
        if let Some((at, rtp)) = before {
            let units = ((arrival - start) - at).as_secs_f64() * 48_000.0;
            let d = (units - f64::from(timestamp.wrapping_sub(rtp))).abs();
            jitter += (d - jitter) / 16.0;
        }
        before = Some((arrival - start, timestamp));
    }
    let sent = ntp_now(&call);
    let info = SenderInfo {
        ssrc: 1000,
        ntp: sent,
        rtp_timestamp: 0,
        packet_count: 1,
        octet_count: 1,
    };
    call.send_rtcp(&mut alice, &written(|out| info.write(&[], out)));
    call.now += 250 * MS;
    call.router.handle_timeout(call.now, &mut call.sent);
    let told = reception(&rtcp_to(&mut call, &mut alice), 1000);
    let off = f64::from(told.jitter) - jitter;
    assert!(off.abs() <= 2.0, "{} instead of {jitter}", told.jitter);
    assert!(told.jitter > 300, "{}", told.jitter);
    assert_eq!(told.packets_lost, 10);
    assert_eq!(told.fraction_lost, (10 * 256 / 200) as u8);
    assert_eq!(
        told.max_seq,
        (1 << 16) + u32::from(65_500u16.wrapping_add(199))
    );
    assert_eq!(told.last_sr_time, (sent >> 16) as u32);
    assert_eq!(told.last_sr_delay, 65_536 / 4, "a quarter of a second");
}

#[test]
fn the_round_trip_is_less_the_time_the_peer_kept_the_report() {
    let mut call = Call::new();
    let (mut alice, mut bob, _, consumer) = call.pair(audio(1000), audio_consumer(5000, "0"));
    let mut step = 0u16;
    let told = loop {
        call.send(
            &mut alice,
            &audio_packet(1000, step, 960 * u32::from(step), 40),
        );
        call.now += 20 * MS;
        step += 1;
        call.router.handle_timeout(call.now, &mut call.sent);
        let found = read(&call.inbox(&mut bob).rtcp)
            .into_iter()
            .find_map(|packet| match packet {
                Rtcp::SenderReport(report) => Some(report.sender_info.ntp_time),
                _ => None,
            });
        if let Some(time) = found {
            break time;
        }
        assert!(step < 500, "no report in ten seconds");
    };
    let since_1970 = told.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let compact = ntp::compact(ntp::from_unix(since_1970));
    // 70 ms on the way there and back together, 400 ms kept by the peer.
    call.now += 470 * MS;
    let block = ReportBlock {
        ssrc: 5000,
        last_sr: compact,
        delay_since_last_sr: (65_536 * 400 / 1000) as u32,
        ..ReportBlock::default()
    };
    call.send_rtcp(&mut bob, &written(|out| ours::rr::write(9, &[block], out)));
    let rtt = call.router.consumer_stats(consumer).unwrap().rtt.unwrap();
    let off = rtt.as_micros() as i64 - 70_000;
    assert!(off.abs() < 100, "{rtt:?} instead of 70 ms");
}

#[test]
fn a_reference_time_is_answered_with_the_time_it_was_kept() {
    let mut call = Call::new();
    let mut alice = call.peer();
    call.produce(&alice, audio(1000));
    call.send(&mut alice, &audio_packet(1000, 0, 0, 40));
    let sent = ntp_now(&call);
    call.send_rtcp(
        &mut alice,
        &written(|out| ours::xr::write_rrtr(77, sent, out)),
    );
    let asked_at = call.now;
    let mut answers = Vec::new();
    while answers.is_empty() {
        let due = call.router.poll_timeout().unwrap();
        call.now = call.now.max(due);
        call.router.handle_timeout(call.now, &mut call.sent);
        for packet in rtcp_to(&mut call, &mut alice) {
            let Rtcp::ExtendedReport(report) = packet else {
                continue;
            };
            for block in report.blocks {
                match block {
                    XrBlock::Rrtr(time) => {
                        assert!(micros(wall(&call), time.ntp_time).abs() < 10);
                    }
                    XrBlock::Dlrr(dlrr) => answers.extend(dlrr.items),
                }
            }
        }
    }
    assert_eq!(*answers[0].ssrc, 77);
    assert_eq!(answers[0].last_rr_time, (sent >> 16) as u32);
    let kept = (call.now - asked_at).as_micros() as i64;
    let told = i64::from(answers[0].last_rr_delay) * 1_000_000 / 65_536;
    assert!((told - kept).abs() < 50, "{told} instead of {kept} us");
}

fn feedbacks(call: &mut Call, alice: &mut Peer) -> Vec<Twcc> {
    let packets = rtcp_to(call, alice).into_iter();
    packets
        .filter_map(|packet| match packet {
            Rtcp::Twcc(feedback) => Some(feedback),
            _ => None,
        })
        .collect()
}

#[test]
fn transport_feedback_is_counted_and_reports_each_arrival_time() {
    let mut call = Call::new();
    let mut alice = call.peer();
    call.produce(&alice, video(1000));
    let zero = Instant::now();
    let mut arrivals = Vec::new();
    let mut counts = Vec::new();
    let mut first: Option<(Instant, Instant)> = None;
    let mut told = 0usize;
    let mut own: Option<u32> = None;
    for step in 0..400u16 {
        let mut packet = video_packet(1000, step, 0, step == 0);
        let number = 65_400u16.wrapping_add(step);
        packet.extensions = vec![(3, number.to_be_bytes().to_vec())];
        if step % 9 == 4 {
            arrivals.push(None);
        } else {
            arrivals.push(Some(call.now));
            call.send(&mut alice, &packet);
        }
        // Gaps of 1, 4, 7, … ms and one of 300 ms, which needs a large delta.
        call.wait(MS * (1 + u32::from(step % 5) * 3) + MS * if step == 200 { 300 } else { 0 });
        for feedback in feedbacks(&mut call, &mut alice) {
            counts.push(feedback.feedback_count);
            assert_eq!(*feedback.ssrc, 1000, "the media source");
            assert_eq!(
                *own.get_or_insert(*feedback.sender_ssrc),
                *feedback.sender_ssrc
            );
            assert_eq!(feedback.base_seq, 65_400u16.wrapping_add(told as u16));
            let base = u64::from(feedback.base_seq);
            for (number, _, at) in feedback.into_iter(zero, base.into()) {
                let position = told;
                told += 1;
                assert_eq!(*number as u16, 65_400u16.wrapping_add(position as u16));
                let expected = arrivals[position];
                assert_eq!(at.is_some(), expected.is_some(), "packet {position}");
                let (Some(at), Some(expected)) = (at, expected) else {
                    continue;
                };
                let (zero_at, zero_expected) = *first.get_or_insert((at, expected));
                let (told, true_time) = (at - zero_at, expected - zero_expected);
                let off = told.as_micros() as i64 - true_time.as_micros() as i64;
                assert!(off.abs() <= 500, "packet {position} is {off} us off");
            }
        }
    }
    assert!(counts.len() > 10);
    for (position, count) in counts.iter().enumerate() {
        assert_eq!(*count, counts[0].wrapping_add(position as u8), "{counts:?}");
    }
    assert!(told >= 380, "{told}");
}

#[test]
fn a_limit_names_the_streams_it_is_for() {
    let mut call = Call::new();
    let mut alice = call.peer_with(false, Some(300_000));
    call.produce(&alice, video(1000));
    call.produce(&alice, second_video(2000));
    call.wait(Duration::from_secs(2));
    let compounds = call.inbox(&mut alice).rtcp;
    let found: Vec<&Vec<u8>> = compounds
        .iter()
        .filter(|one| one[1] == 206 && one[0] & 31 == 15)
        .collect();
    assert!(!found.is_empty());
    for one in found {
        // draft-alvestrand-rmcat-remb §2.2, by its offsets
        assert_eq!(&one[8..12], [0; 4], "media source 0");
        assert_eq!(&one[12..16], b"REMB");
        assert_eq!(one[16], 2, "two streams");
        let exponent = u32::from(one[17] >> 2);
        let mantissa = u64::from(u32::from_be_bytes([0, one[17] & 3, one[18], one[19]]));
        let bitrate = mantissa << exponent;
        assert!((299_000..=300_000).contains(&bitrate), "{bitrate}");
        assert_eq!(&one[20..24], 1000u32.to_be_bytes());
        assert_eq!(&one[24..28], 2000u32.to_be_bytes());
    }
}

#[test]
fn byes_name_the_streams_that_ended() {
    let mut call = Call::new();
    let (mut alice, mut bob, producer, _) = call.pair(video(1000), video_consumer(5000, "0"));
    call.send(&mut alice, &video_packet(1000, 0, 0, true));
    call.router.close_producer(producer);
    call.wait(Duration::from_secs(2));
    let ended: Vec<u32> = rtcp_to(&mut call, &mut bob)
        .iter()
        .filter_map(|packet| match packet {
            Rtcp::Goodbye(bye) => Some(bye.reports.iter().map(|ssrc| **ssrc).collect::<Vec<_>>()),
            _ => None,
        })
        .flatten()
        .collect();
    assert!(ended.contains(&5000), "{ended:?}");
}

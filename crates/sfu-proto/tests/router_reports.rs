//! Reports to senders and receivers on clocks, loss, arrival times and limits.
#![allow(clippy::unwrap_used)]

mod router_call;

use std::time::Duration;

use meeshy_sfu_proto::router::{ProducerConfig, RouterEvent};
use meeshy_sfu_proto::rtcp::xr::{self, DlrrItem, XrBlock};
use meeshy_sfu_proto::rtcp::{Packet as Rtcp, ReportBlock, SenderInfo, bye, ntp, remb, rr};
use router_call::*;

const MS: Duration = Duration::from_millis(1);

fn report_blocks(compounds: &[Vec<u8>]) -> Vec<ReportBlock> {
    let mut blocks = Vec::new();
    for packet in rtcp_packets(compounds) {
        if let Rtcp::ReceiverReport(report) = packet {
            blocks.extend(report.reports());
        }
    }
    blocks
}

/// Seconds of an NTP time since the start of the test.
fn seconds(ntp_time: u64) -> f64 {
    (ntp_time.wrapping_sub(ntp::from_unix(EPOCH))) as f64 / 2f64.powi(32)
}

#[test]
fn a_senders_audio_and_video_line_up_on_one_clock() {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.sound_and_picture();
    // The sender's clock is an hour behind; both streams began at its second 100.
    let theirs = |seconds: f64| {
        let base = ntp::from_unix(EPOCH - Duration::from_secs(3600));
        base + ((100.0 + seconds) * 2f64.powi(32)) as u64
    };
    for step in 0..200u16 {
        // Video is sent 80 ms after capture, audio at once.
        call.send(
            &mut alice,
            &audio_packet(1000, step, 960 * u32::from(step), 40),
        );
        if step >= 4 {
            let frame = step - 4;
            call.send(
                &mut alice,
                &video_packet(2000, frame, 1800 * u32::from(frame), frame == 0),
            );
        }
        if step == 50 {
            call.send_rtcp(&mut alice, &sender_report(1000, theirs(1.0), 48_000));
            call.wait(3 * MS);
            call.send_rtcp(&mut alice, &sender_report(2000, theirs(1.003), 90_270));
            call.wait(17 * MS);
        } else {
            call.wait(20 * MS);
        }
    }
    let infos = sender_infos(&call.inbox(&mut bob).rtcp);
    let last = |ssrc| *infos.iter().rfind(|info| info.ssrc == ssrc).unwrap();
    let (sound, picture) = (last(5000), last(6000));
    let captured =
        |info: SenderInfo, rate: f64| f64::from(info.rtp_timestamp) / rate - seconds(info.ntp);
    let skew = captured(sound, 48_000.0) - captured(picture, 90_000.0);
    assert!(skew.abs() < 0.001, "lips are {skew} s off");
    assert_eq!(
        sound.packet_count,
        infos
            .iter()
            .rfind(|info| info.ssrc == 5000)
            .unwrap()
            .packet_count
    );
    assert!((seconds(sound.ntp) - 4.0).abs() < 1.6, "our own clock");
}

#[test]
fn sender_reports_come_every_second_or_so_and_stop_with_the_media() {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.pair(audio(1000), audio_consumer(5000, "0"));
    for step in 0..1000u16 {
        call.send(
            &mut alice,
            &audio_packet(1000, step, 960 * u32::from(step), 40),
        );
        call.wait(20 * MS);
    }
    let inbox = call.inbox(&mut bob).rtcp;
    let count = sender_infos(&inbox).len();
    assert!((13..=20).contains(&count), "{count} in 20 s");
    let names: Vec<(u32, Vec<u8>)> = rtcp_packets(&inbox)
        .filter_map(|packet| match packet {
            Rtcp::Sdes(sdes) => Some(
                sdes.cnames()
                    .map(|(ssrc, name)| (ssrc, name.to_vec()))
                    .collect::<Vec<_>>(),
            ),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(names.len(), count);
    assert!(names.iter().all(|name| *name == (5000, b"alice".to_vec())));
    call.wait(Duration::from_secs(4));
    call.inbox(&mut bob);
    call.wait(Duration::from_secs(10));
    assert!(sender_infos(&call.inbox(&mut bob).rtcp).is_empty());
}

#[test]
fn reports_of_98_consumers_share_datagrams() {
    let mut call = Call::new();
    let mut bob = call.peer();
    let mut senders: Vec<Peer> = (0..98).map(|_| call.peer()).collect();
    for (who, peer) in senders.iter_mut().enumerate() {
        let producer = call.produce(peer, audio(1000));
        call.consume(
            &bob,
            producer,
            audio_consumer(5000 + who as u32, &format!("{who}")),
        );
        call.send(peer, &audio_packet(1000, 0, 0, 40));
    }
    call.wait(Duration::from_millis(1500));
    let inbox = call.inbox(&mut bob).rtcp;
    assert_eq!(sender_infos(&inbox).len(), 98);
    assert!(inbox.len() <= 6, "{} datagrams", inbox.len());
    assert!(inbox.iter().all(|compound| compound.len() <= 1200));
}

#[test]
fn senders_learn_loss_jitter_and_the_age_of_their_report() {
    let mut call = Call::new();
    let mut alice = call.peer();
    call.produce(&alice, audio(1000));
    for step in (0..100u16).filter(|step| step % 10 != 5) {
        call.send(
            &mut alice,
            &audio_packet(1000, step, 960 * u32::from(step), 40),
        );
        call.now += 20 * MS;
    }
    let sent = ntp::from_unix(EPOCH);
    call.send_rtcp(&mut alice, &sender_report(1000, sent, 0));
    call.now += 100 * MS;
    call.router.handle_timeout(call.now, &mut call.sent);
    let blocks = report_blocks(&call.inbox(&mut alice).rtcp);
    assert_eq!(blocks.len(), 1);
    let block = blocks[0];
    assert_eq!(
        (block.ssrc, block.cumulative_lost, block.highest_sequence),
        (1000, 10, 99)
    );
    assert_eq!(block.fraction_lost, 25, "10 of 100 in 1/256");
    assert_eq!(block.last_sr, ntp::compact(sent));
    assert_eq!(block.delay_since_last_sr, 6553, "100 ms");
}

#[test]
fn round_trips_are_measured_both_ways() {
    let mut call = Call::new();
    let (mut alice, mut bob, producer, consumer) =
        call.pair(audio(1000), audio_consumer(5000, "0"));
    let (mut answered_alice, mut answered_bob) = (false, false);
    for step in 0..200u16 {
        call.send(
            &mut alice,
            &audio_packet(1000, step, 960 * u32::from(step), 40),
        );
        call.wait(20 * MS);
        let to_bob = sender_infos(&call.inbox(&mut bob).rtcp);
        if let Some(info) = to_bob.last() {
            call.wait(30 * MS);
            let block = ReportBlock {
                ssrc: 5000,
                last_sr: ntp::compact(info.ntp),
                jitter: 480,
                fraction_lost: 3,
                ..ReportBlock::default()
            };
            call.send_rtcp(&mut bob, &written(|out| rr::write(9, &[block], out)));
            answered_bob = true;
        }
        let to_alice = call.inbox(&mut alice).rtcp;
        for packet in rtcp_packets(&to_alice) {
            let Rtcp::Xr(report) = packet else { continue };
            for block in report.blocks() {
                let XrBlock::ReceiverReferenceTime(time) = block else {
                    continue;
                };
                call.wait(40 * MS);
                let item = DlrrItem {
                    ssrc: report.ssrc,
                    last_rr: ntp::compact(time),
                    delay_since_last_rr: 655,
                };
                call.send_rtcp(
                    &mut alice,
                    &written(|out| xr::write_dlrr(1000, &[item], out)),
                );
                answered_alice = true;
            }
        }
    }
    assert!(answered_alice && answered_bob);
    let figures = call.router.consumer_stats(consumer).unwrap();
    let rtt = figures.rtt.unwrap().as_millis();
    assert!((30..=51).contains(&rtt), "{rtt}");
    assert_eq!((figures.fraction_lost, figures.jitter), (3, 10 * MS));
    let rtt = call.router.producer_stats(producer).unwrap()[0]
        .rtt
        .unwrap()
        .as_millis();
    assert!((29..=51).contains(&rtt), "{rtt}");
}

#[test]
fn a_peers_reference_time_is_answered() {
    let mut call = Call::new();
    let mut bob = call.peer();
    let time = ntp::from_unix(EPOCH);
    call.send_rtcp(&mut bob, &written(|out| xr::write_rrtr(77, time, out)));
    call.wait(Duration::from_millis(1600));
    let inbox = call.inbox(&mut bob).rtcp;
    let answers: Vec<DlrrItem> = rtcp_packets(&inbox)
        .filter_map(|packet| match packet {
            Rtcp::Xr(report) => Some(report.blocks().find_map(|block| match block {
                XrBlock::Dlrr(items) => items.iter().next(),
                _ => None,
            })),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(answers.len(), 1);
    assert_eq!(
        (answers[0].ssrc, answers[0].last_rr),
        (77, ntp::compact(time))
    );
    assert!((65_536..100_000).contains(&answers[0].delay_since_last_rr));
}

#[test]
fn transport_feedback_reports_every_packet_ten_times_a_second() {
    let mut call = Call::new();
    let mut alice = call.peer();
    call.produce(&alice, video(1000));
    let mut reported = Vec::new();
    let mut feedbacks = 0;
    for step in 0..100u16 {
        let mut packet = video_packet(1000, step, 0, step == 0);
        packet.extensions = vec![(3, (65_500u16.wrapping_add(step)).to_be_bytes().to_vec())];
        if step % 7 != 3 {
            call.send(&mut alice, &packet);
        }
        call.wait(10 * MS);
        for packet in rtcp_packets(&call.inbox(&mut alice).rtcp) {
            if let Rtcp::TransportCc(feedback) = packet {
                feedbacks += 1;
                reported.extend(feedback.arrivals().map(|one| (one.sequence, one.at_us)));
            }
        }
    }
    assert!((8..=11).contains(&feedbacks), "{feedbacks}");
    assert!(reported.len() >= 85);
    for (position, (sequence, at)) in reported.iter().enumerate() {
        assert_eq!(*sequence, 65_500u16.wrapping_add(position as u16));
        assert_eq!(at.is_none(), position % 7 == 3);
        if let Some(at) = at {
            // Arrival times are ours, each within the resolution.
            let expected = position as i64 * 10_000;
            assert!((at - expected).abs() <= 250, "{position}: {at}");
        }
    }
}

fn rembs(compounds: &[Vec<u8>]) -> Vec<u64> {
    rtcp_packets(compounds)
        .filter_map(|packet| match packet {
            Rtcp::Remb(remb) => Some(remb.bitrate_bps),
            _ => None,
        })
        .collect()
}

fn remb_only() -> ProducerConfig {
    let mut config = video(1000);
    config.codecs[0].transport_cc = false;
    config
}

#[test]
fn a_sender_without_transport_feedback_gets_remb() {
    let mut call = Call::new();
    let mut alice = call.peer();
    call.produce(&alice, remb_only());
    for step in 0..600u32 {
        let mut packet = video_packet(1000, step as u16, 0, step == 0);
        packet.payload = vp8(step == 0, 1200);
        let time = (call.now - call.start).as_micros() as u64 * (1 << 18) / 1_000_000;
        packet.extensions = vec![(2, (time as u32 & 0xff_ffff).to_be_bytes()[1..].to_vec())];
        call.send(&mut alice, &packet);
        call.wait(10 * MS);
    }
    let told = rembs(&call.inbox(&mut alice).rtcp);
    assert!(told.len() >= 10, "{}", told.len());
    let last = *told.last().unwrap();
    assert!((900_000..2_000_000).contains(&last), "{last}");
}

#[test]
fn a_limit_is_sent_as_remb_until_it_is_removed() {
    let mut call = Call::new();
    let mut alice = call.peer_with(false, Some(300_000));
    call.produce(&alice, video(1000));
    call.wait(Duration::from_secs(6));
    let told = rembs(&call.inbox(&mut alice).rtcp);
    assert_eq!(told, [300_000; 4]);
    call.router
        .set_max_incoming_bitrate(alice.transport, 0, call.now)
        .unwrap();
    call.wait(Duration::from_secs(20));
    assert_eq!(rembs(&call.inbox(&mut alice).rtcp), [0; 4]);
}

#[test]
fn a_changed_limit_is_sent_with_its_new_value() {
    let mut call = Call::new();
    let mut alice = call.peer_with(false, Some(300_000));
    call.produce(&alice, video(1000));
    call.wait(Duration::from_secs(6));
    call.inbox(&mut alice);
    call.router
        .set_max_incoming_bitrate(alice.transport, 200_000, call.now)
        .unwrap();
    call.wait(Duration::from_secs(20));
    assert_eq!(rembs(&call.inbox(&mut alice).rtcp), [200_000; 4]);
}

#[test]
fn a_limit_needs_no_timer_during_silence_and_is_sent_again_with_media() {
    let mut call = Call::new();
    let mut alice = call.peer_with(false, Some(300_000));
    call.produce(&alice, video(1000));
    call.wait(Duration::from_secs(60));
    assert_eq!(rembs(&call.inbox(&mut alice).rtcp), [300_000; 4]);
    for step in 0..40u16 {
        call.send(&mut alice, &video_packet(1000, step, 0, step == 0));
        call.wait(100 * MS);
    }
    let told = rembs(&call.inbox(&mut alice).rtcp);
    assert!((2..=4).contains(&told.len()), "{told:?}");
}

#[test]
fn a_silent_call_wants_no_timer_and_wakes_with_the_first_packet() {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.pair(video(1000), video_consumer(5000, "0"));
    call.wait(Duration::from_secs(10));
    assert_eq!(
        call.router.poll_timeout(),
        None,
        "nothing to report, nothing to ask for"
    );
    call.inbox(&mut alice);
    for step in 0..300u16 {
        let mut packet = video_packet(1000, step, 0, step == 0);
        packet.extensions = vec![(3, step.to_be_bytes().to_vec())];
        call.send(&mut alice, &packet);
        call.wait(10 * MS);
    }
    let told = call.inbox(&mut alice).rtcp;
    let feedbacks = rtcp_packets(&told).filter(|packet| matches!(packet, Rtcp::TransportCc(_)));
    assert!((28..=31).contains(&feedbacks.count()));
    assert!((2..=3).contains(&report_blocks(&told).len()));
    assert!((2..=3).contains(&sender_infos(&call.inbox(&mut bob).rtcp).len()));
    call.wait(Duration::from_secs(60));
    assert_eq!(call.router.poll_timeout(), None);
}

#[test]
fn what_receivers_report_is_kept() {
    let mut call = Call::new();
    let (_, mut bob, ..) = call.pair(video(1000), video_consumer(5000, "0"));
    call.send_rtcp(
        &mut bob,
        &written(|out| remb::write(1, 1_500_000, &[5000], out)),
    );
    let told = call
        .router
        .transport_stats(bob.transport)
        .unwrap()
        .remb_bps
        .unwrap();
    assert!((1_490_000..=1_500_000).contains(&told), "{told}");
}

#[test]
fn the_loss_of_a_receiver_lowers_its_own_score_only() {
    let mut call = Call::new();
    let (mut alice, mut bob, carol) = (call.peer(), call.peer(), call.peer());
    let producer = call.produce(&alice, audio(1000));
    let consumer = call.consume(&bob, producer, audio_consumer(5000, "0"));
    let other = call.consume(&carol, producer, audio_consumer(5000, "0"));
    for step in 0..100u16 {
        call.send(&mut alice, &audio_packet(1000, step, 0, 40));
        call.wait(20 * MS);
    }
    call.events();
    let block = ReportBlock {
        ssrc: 5000,
        cumulative_lost: 20,
        fraction_lost: 51,
        ..ReportBlock::default()
    };
    call.send_rtcp(&mut bob, &written(|out| rr::write(9, &[block], out)));
    assert_eq!(
        call.events(),
        [RouterEvent::ConsumerScore {
            consumer,
            score: 3,
            producer_score: 10
        }]
    );
    assert_eq!(call.router.consumer_stats(other).unwrap().score, 10);
}

#[test]
fn a_silent_stream_scores_nothing_until_it_comes_back() {
    let mut call = Call::new();
    let mut alice = call.peer();
    let producer = call.produce(&alice, audio(1000));
    assert_eq!(call.router.producer_scores(producer).unwrap(), []);
    let scores = |call: &Call| -> Vec<u8> {
        let scores = call.router.producer_scores(producer).unwrap();
        scores.iter().map(|score| score.score).collect()
    };
    call.send(&mut alice, &audio_packet(1000, 0, 0, 40));
    assert_eq!(call.events(), [RouterEvent::ProducerScore { producer }]);
    assert_eq!(scores(&call), [10]);
    call.wait(Duration::from_millis(1600));
    assert_eq!(scores(&call), [0]);
    call.send(&mut alice, &audio_packet(1000, 1, 0, 40));
    assert_eq!(scores(&call), [10]);
    call.send_rtcp(&mut alice, &written(|out| bye::write(&[1000], out)));
    assert_eq!(scores(&call), [0], "a BYE takes effect at once");
    call.send(&mut alice, &audio_packet(1000, 2, 0, 40));
    assert_eq!(scores(&call), [10]);
}

#[test]
fn receivers_get_a_bye_when_a_consumer_closes() {
    let mut call = Call::new();
    let (mut alice, mut bob, producer, _) = call.pair(audio(1000), audio_consumer(5000, "0"));
    call.send(&mut alice, &audio_packet(1000, 0, 0, 40));
    call.router.close_producer(producer);
    call.wait(Duration::from_secs(2));
    let inbox = call.inbox(&mut bob).rtcp;
    let ended: Vec<u32> = rtcp_packets(&inbox)
        .filter_map(|packet| match packet {
            Rtcp::Bye(bye) => Some(bye.ssrcs().collect::<Vec<_>>()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(ended, [5000]);
}

#[test]
fn volumes_and_the_active_speaker_are_reported() {
    let mut call = Call::new();
    let (mut alice, mut bob) = (call.peer(), call.peer());
    let one = call.produce(&alice, audio(1000));
    let two = call.produce(&bob, audio(2000));
    let mut speakers = Vec::new();
    let mut volumes = Vec::new();
    for step in 0..400u16 {
        let (first, second) = if step < 200 { (20, 127) } else { (127, 25) };
        call.send(&mut alice, &audio_packet(1000, step, 0, first));
        call.send(&mut bob, &audio_packet(2000, step, 0, second));
        call.wait(20 * MS);
        for event in call.events() {
            match event {
                RouterEvent::ActiveSpeaker { producer } => speakers.push(producer),
                RouterEvent::Volumes => volumes.push(call.router.volumes().to_vec()),
                _ => {}
            }
        }
    }
    assert_eq!(speakers, [Some(one), Some(two)]);
    assert_eq!(volumes[0], [(one, -20)]);
    assert_eq!(*volumes.last().unwrap(), [(two, -25)]);
    call.router.close_producer(two);
    call.wait(Duration::from_secs(1));
    let next = call.events().into_iter().find_map(|event| match event {
        RouterEvent::ActiveSpeaker { producer } => Some(producer),
        _ => None,
    });
    assert_eq!(next, Some(None), "who left speaks no longer");
}

#[test]
fn a_sender_with_in_band_fec_gets_the_loss_of_its_worst_receiver() {
    for in_band_fec in [false, true] {
        let mut call = Call::new();
        let mut config = audio(1000);
        config.codecs[0].in_band_fec = in_band_fec;
        let (mut alice, mut bob, ..) = call.pair(config, audio_consumer(5000, "0"));
        call.send(&mut alice, &audio_packet(1000, 0, 0, 40));
        let block = ReportBlock {
            ssrc: 5000,
            fraction_lost: 80,
            ..ReportBlock::default()
        };
        call.send_rtcp(&mut bob, &written(|out| rr::write(9, &[block], out)));
        call.wait(Duration::from_millis(1600));
        let told = report_blocks(&call.inbox(&mut alice).rtcp);
        assert_eq!(told[0].fraction_lost, if in_band_fec { 80 } else { 0 });
    }
}

#[test]
fn a_flood_of_byes_and_reports_makes_one_event_a_second() {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.pair(audio(1000), audio_consumer(5000, "0"));
    let mut told = 0;
    for step in 0..1000u16 {
        call.send(&mut alice, &audio_packet(1000, step, 0, 40));
        call.send_rtcp(&mut alice, &written(|out| bye::write(&[1000], out)));
        let block = ReportBlock {
            ssrc: 5000,
            cumulative_lost: i32::from(step) * i32::from(step % 2),
            ..ReportBlock::default()
        };
        call.send_rtcp(&mut bob, &written(|out| rr::write(9, &[block], out)));
        call.wait(10 * MS);
        told += call
            .events()
            .iter()
            .filter(|event| !matches!(event, RouterEvent::Volumes))
            .count();
    }
    assert!(told < 100, "{told} events in ten seconds");
}

#[test]
fn streams_whose_sender_cannot_be_asked_need_no_timer() {
    let mut call = Call::new();
    let mut config = video(1000);
    config.encodings[0].ssrc = None;
    config.encodings[0].rtx_ssrc = None;
    call.pair(config, video_consumer(5000, "0"));
    let mut wakes = 0;
    let end = call.now + Duration::from_secs(10);
    while let Some(due) = call.router.poll_timeout().filter(|due| *due <= end) {
        call.now = call.now.max(due);
        call.router.handle_timeout(call.now, &mut call.sent);
        wakes += 1;
    }
    assert!(wakes < 200, "{wakes} wake-ups for nothing");
}

#[test]
fn a_receiver_is_scored_again_after_half_a_second_and_not_before() {
    let mut call = Call::new();
    let (mut alice, mut bob, _, consumer) = call.pair(audio(1000), audio_consumer(5000, "0"));
    let mut sequence = 0;
    let mut judged = |call: &mut Call, after: Duration| {
        call.now += after;
        for _ in 0..10 {
            call.send(&mut alice, &audio_packet(1000, sequence, 0, 40));
            sequence += 1;
        }
        // Half of the first ten never came, of the others all.
        let block = ReportBlock {
            ssrc: 5000,
            cumulative_lost: 5,
            ..ReportBlock::default()
        };
        let report = written(|out| rr::write(1, &[block], out));
        call.send_rtcp(&mut bob, &report);
        call.router.consumer_stats(consumer).unwrap().score
    };
    assert_eq!(judged(&mut call, Duration::ZERO), 0);
    assert_eq!(judged(&mut call, Duration::from_micros(499_999)), 0);
    // (1 * 0 + 2 * 10) / 3
    assert_eq!(judged(&mut call, Duration::from_micros(1)), 7);
}

//! Clocks of senders: Sender Reports to receivers stay in sync, whatever the sender reports and however its clock
//! drifts.
#![allow(clippy::unwrap_used)]

mod router_call;

use std::time::Duration;

use meeshy_sfu_proto::rtcp::{SenderInfo, ntp};
use meeshy_sfu_proto::rtp::ExtensionUri;
use router_call::*;

const MS: Duration = Duration::from_millis(1);

fn infos(call: &mut Call, peer: &mut Peer) -> Vec<SenderInfo> {
    sender_infos(&call.inbox(peer).rtcp)
}

/// Seconds of an NTP time since the start of the test.
fn seconds(time: u64) -> f64 {
    time.wrapping_sub(ntp::from_unix(EPOCH)).cast_signed() as f64 / 2f64.powi(32)
}

fn ntp_at(seconds: f64) -> u64 {
    ntp::from_unix(EPOCH).wrapping_add_signed((seconds * 2f64.powi(32)) as i64)
}

/// A sender of sound and picture whose clock goes wrong by `ppm`, and says of each stream what `says` makes of the
/// true time.
struct Sender {
    ppm: f64,
    /// Microseconds each report is delayed by, at most.
    jitter: u64,
    says: fn(bool, f64) -> u64,
}

/// Runs for `time`, and gives for each report the receiver gets the error of its mapping, in seconds: sound, picture.
fn errors(sender: &Sender, time: Duration) -> [Vec<(f64, f64)>; 2] {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.sound_and_picture();
    let mut found = [Vec::new(), Vec::new()];
    let mut seed = 1u64;
    let mut step = 0u64;
    while call.now < call.start + time {
        let now = (call.now - call.start).as_secs_f64();
        // What the sender's oscillator has counted.
        let theirs = now * (1.0 + sender.ppm / 1e6);
        let ticks = |rate: f64| (theirs * rate) as u64 as u32;
        call.send(
            &mut alice,
            &audio_packet(1000, step as u16, ticks(48_000.0), 40),
        );
        call.send(
            &mut alice,
            &video_packet(2000, step as u16, ticks(90_000.0), step == 0),
        );
        if step % 10 == 5 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let delay = (seed >> 33) % (sender.jitter + 1);
            let reports = [
                sender_report(1000, (sender.says)(false, theirs), ticks(48_000.0)),
                sender_report(2000, (sender.says)(true, theirs), ticks(90_000.0)),
            ];
            call.wait(Duration::from_micros(delay));
            for report in reports {
                call.send_rtcp(&mut alice, &report);
            }
            call.wait(Duration::from_micros(200_000 - delay));
        } else {
            call.wait(200 * MS);
        }
        for info in infos(&mut call, &mut bob) {
            let (stream, rate) = if info.ssrc == 5000 {
                (0, 48_000.0)
            } else {
                (1, 90_000.0)
            };
            // The first packet was captured at 0, on a timestamp of 0, when the test began.
            let told = seconds(info.ntp) * (1.0 + sender.ppm / 1e6) * rate;
            let apart = info
                .rtp_timestamp
                .wrapping_sub(told as u64 as u32)
                .cast_signed();
            found[stream].push((seconds(info.ntp), f64::from(apart) / rate));
        }
        call.sent.ledger = Ledger::default();
        step += 1;
    }
    found
}

fn largest(errors: &[(f64, f64)]) -> f64 {
    assert!(errors.len() > 5);
    errors
        .iter()
        .map(|(_, error)| error.abs())
        .fold(0.0, f64::max)
}

#[test]
fn a_clock_that_drifts_stays_within_five_milliseconds_for_an_hour() {
    for ppm in [100.0, -100.0] {
        for jitter in [0, 4_000] {
            let sender = Sender {
                ppm,
                jitter,
                says: |_, theirs| ntp_at(theirs - 3600.0),
            };
            let [sound, picture] = errors(&sender, Duration::from_secs(3600));
            let worst = largest(&sound).max(largest(&picture));
            assert!(worst <= 0.005, "{ppm} ppm, {jitter} us: {worst} s");
        }
    }
}

#[test]
fn audio_and_video_stay_in_sync_without_an_ntp_clock_or_with_one_per_stream() {
    let clocks: [fn(bool, f64) -> u64; 4] = [
        |_, _| 0,
        |picture, theirs| if picture { 0 } else { ntp_at(theirs) },
        |picture, theirs| ntp_at(theirs + if picture { 57_000.0 } else { 0.0 }),
        |picture, theirs| ntp_at(theirs - if picture { 57_000.0 } else { 3.0 }),
    ];
    for (clock, says) in clocks.into_iter().enumerate() {
        let sender = Sender {
            ppm: 20.0,
            jitter: 3_000,
            says,
        };
        let [sound, picture] = errors(&sender, Duration::from_secs(60));
        let worst = largest(&sound).max(largest(&picture));
        assert!(worst <= 0.01, "clock {clock}: {worst} s");
    }
}

#[test]
fn a_report_that_contradicts_arrivals_is_ignored() {
    // The clock is set by 900 ms every 20 s, forth and back; its timestamps go on.
    let sender = Sender {
        ppm: 0.0,
        jitter: 0,
        says: |_, theirs| ntp_at(theirs + 0.9 * f64::from((theirs / 20.0) as u32 % 2)),
    };
    let [sound, picture] = errors(&sender, Duration::from_secs(120));
    let worst = largest(&sound).max(largest(&picture));
    assert!(worst <= 0.2, "{worst} s");
}

#[test]
fn capture_times_are_put_on_our_clock_or_left_out() {
    let capture = ExtensionUri::AbsCaptureTime;
    for long in [false, true] {
        let mut call = Call::new();
        let (mut alice, mut bob) = (call.peer(), call.peer());
        let mut source = video(1000);
        source.header_extensions.push((capture, 9));
        let producer = call.produce(&alice, source);
        let mut config = without_rtx(video_consumer(5000, "0"));
        config.header_extensions.push((capture, 7));
        call.consume(&bob, producer, config);
        let mut send = |call: &mut Call, step: u16, captured: f64| {
            let mut packet = video_packet(1000, step, 1800 * u32::from(step), step == 0);
            // The sender is an hour behind us; who captured is 5 s ahead of the sender.
            let ahead = if long { 5.0 } else { 0.0 };
            let mut value = ntp_at(captured - 3600.0 + ahead).to_be_bytes().to_vec();
            if long {
                value.extend(((ahead * 2f64.powi(32)) as i64).to_be_bytes());
            }
            packet.extensions = vec![(9, value)];
            call.send(&mut alice, &packet);
            if step == 50 {
                let now = (call.now - call.start).as_secs_f64();
                let report = sender_report(1000, ntp_at(now - 3600.0), 1800 * u32::from(step));
                call.send_rtcp(&mut alice, &report);
            }
            call.wait(20 * MS);
        };
        for step in 0..100 {
            send(&mut call, step, 0.02 * f64::from(step) - 0.03);
        }
        let got = call.inbox(&mut bob).rtp;
        for (step, packet) in got.iter().enumerate() {
            let told = packet.extension(7);
            if step <= 50 {
                assert_eq!(told, None, "{step}: the sender's clock is not known");
                continue;
            }
            let told = seconds(u64::from_be_bytes(told.unwrap().try_into().unwrap()));
            let expected = 0.02 * step as f64 - 0.03;
            assert!(
                (told - expected).abs() < 0.002,
                "{step}: {told} for {expected}"
            );
        }
        assert_eq!(got.len(), 100);
    }
}

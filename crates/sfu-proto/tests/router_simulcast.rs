//! Simulcast: the highest live encoding up to the preferred one is forwarded.
#![allow(clippy::unwrap_used)]

mod router_call;

use std::time::Duration;

use meeshy_sfu_proto::router::{ConsumerKey, Layers, ProducerKey, RouterEvent};
use meeshy_sfu_proto::rtcp::{Packet as Rtcp, SenderInfo, bye, nack, packets};
use router_call::*;

const MS: Duration = Duration::from_millis(1);

fn nack_of(ssrc: u32, sequences: &[u16]) -> Vec<u8> {
    let mut out = vec![0; 1400];
    let written = nack::write(1, ssrc, sequences, &mut out).unwrap();
    out.truncate(written.len);
    out
}

/// A sender with two encodings, as a camera sends them: 100 pictures a second of each that is on, key frames when
/// asked for.
struct Camera {
    peer: Peer,
    on: [bool; 2],
    step: u16,
    /// SSRCs that were asked for a key frame, and when.
    asked: Vec<(u32, Duration)>,
}

impl Camera {
    fn run(&mut self, call: &mut Call, steps: u16) {
        for _ in 0..steps {
            let mut wanted = [self.step == 0; 2];
            for compound in call.inbox(&mut self.peer).rtcp {
                for packet in packets(&compound) {
                    if let Ok(Rtcp::Pli(pli)) = packet {
                        self.asked.push((pli.media_ssrc, call.now - call.start));
                        wanted[usize::from(pli.media_ssrc == 101)] = true;
                    }
                }
            }
            for (encoding, wanted) in wanted.into_iter().enumerate() {
                if self.on[encoding] {
                    let mut packet = encoding_packet(
                        encoding,
                        100 + encoding as u32,
                        self.step,
                        // Each encoding has a clock of its own.
                        900 * u32::from(self.step) + 0x4000_0000 * encoding as u32,
                        wanted,
                    );
                    packet.payload[2..5].copy_from_slice(&[
                        encoding as u8,
                        (self.step >> 8) as u8,
                        self.step as u8,
                    ]);
                    call.send(&mut self.peer, &packet);
                }
            }
            self.step += 1;
            call.wait(10 * MS);
        }
    }
}

fn stage() -> (Call, Camera, Peer, ProducerKey) {
    let mut call = Call::new();
    let (peer, bob, producer, _) = call.pair(simulcast(2), video_consumer(5000, "0"));
    let camera = Camera {
        peer,
        on: [true, true],
        step: 0,
        asked: Vec::new(),
    };
    (call, camera, bob, producer)
}

fn stage_with_consumer() -> (Call, Camera, Peer, ConsumerKey) {
    let mut call = Call::new();
    let (peer, bob, _, consumer) = call.pair(simulcast(2), video_consumer(5000, "0"));
    let camera = Camera {
        peer,
        on: [true, true],
        step: 0,
        asked: Vec::new(),
    };
    (call, camera, bob, consumer)
}

/// Which encodings came, in runs; numbers without a gap, time as it passed, each change with a key frame.
fn runs(got: &[Received]) -> Vec<(u8, usize)> {
    let mut runs: Vec<(u8, usize)> = Vec::new();
    for pair in got.windows(2) {
        assert_eq!(pair[1].index, pair[0].index + 1);
        let step = |packet: &Received| u16::from_be_bytes([packet.payload[3], packet.payload[4]]);
        let passed = 900 * u32::from(step(&pair[1]) - step(&pair[0]));
        let told = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        assert!(told.abs_diff(passed) <= 900, "{told} for {passed}");
    }
    for packet in got {
        match runs.last_mut() {
            Some((encoding, count)) if *encoding == packet.payload[2] => *count += 1,
            _ => {
                assert_eq!(packet.payload[1] & 1, 0, "a key frame");
                runs.push((packet.payload[2], 1));
            }
        }
    }
    runs
}

#[test]
fn the_picture_comes_when_one_encoding_is_off_from_the_start() {
    for (on, encoding) in [([false, true], 1), ([true, false], 0)] {
        let (mut call, mut camera, mut bob, _) = stage();
        camera.on = on;
        camera.run(&mut call, 100);
        let got = call.inbox(&mut bob).rtp;
        assert_eq!(runs(&got), [(encoding, 100)]);
    }
}

#[test]
fn the_consumer_switches_when_the_highest_encoding_stops_and_back_when_it_returns() {
    let (mut call, mut camera, mut bob, producer) = stage();
    camera.run(&mut call, 200);
    camera.on = [true, false];
    camera.asked.clear();
    camera.run(&mut call, 400);
    let got = call.inbox(&mut bob).rtp;
    let seen = runs(&got);
    // The first packet of the lower one arrives before anything of the higher one.
    assert_eq!((&seen[..2], seen.len()), (&[(0, 1), (1, 200)][..], 3));
    assert!(
        seen[2].0 == 0 && seen[2].1 >= 200,
        "{seen:?}: within two seconds"
    );
    assert_eq!(camera.asked.len(), 1);
    assert_eq!(camera.asked[0].0, 100);
    // Who comes now begins with what is alive.
    let mut carol = call.peer();
    call.consume(&carol, producer, video_consumer(5000, "0"));
    camera.run(&mut call, 50);
    let late = call.inbox(&mut carol).rtp;
    assert!(late.len() >= 40 && late.iter().all(|packet| packet.payload[2] == 0));
    call.inbox(&mut bob);
    camera.on = [true, true];
    camera.asked.clear();
    camera.run(&mut call, 100);
    let got = call.inbox(&mut bob).rtp;
    let seen = runs(&got[got.iter().position(|p| p.payload[2] == 1).unwrap()..]);
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert!(seen[0].0 == 1 && seen[0].1 >= 95, "{seen:?}");
    assert_eq!(
        got[0].payload[2], 0,
        "until the key frame comes the other goes on"
    );
}

fn prefer(call: &mut Call, consumer: ConsumerKey, spatial: u8) {
    let layers = Layers {
        spatial,
        temporal: None,
    };
    call.router
        .set_preferred_layers(consumer, Some(layers), call.now)
        .unwrap();
}

/// Spatial layers that events report of a consumer, in order.
fn reported(call: &mut Call, of: ConsumerKey) -> Vec<Option<u8>> {
    call.events()
        .into_iter()
        .filter_map(|event| match event {
            RouterEvent::LayersChanged { consumer, layers } if consumer == of => {
                Some(layers.map(|l| l.spatial))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn each_consumer_gets_the_encoding_it_prefers() {
    let mut call = Call::new();
    let (peer, mut bob, mut carol) = (call.peer(), call.peer(), call.peer());
    let producer = call.produce(&peer, simulcast(2));
    let low = call.consume(&bob, producer, video_consumer(5000, "0"));
    let high = call.consume(&carol, producer, video_consumer(5000, "0"));
    prefer(&mut call, low, 0);
    let mut camera = Camera {
        on: [true, true],
        step: 0,
        asked: Vec::new(),
        peer,
    };
    camera.run(&mut call, 100);
    assert_eq!(runs(&call.inbox(&mut bob).rtp), [(0, 100)]);
    assert_eq!(runs(&call.inbox(&mut carol).rtp), [(0, 1), (1, 100)]);
    assert_eq!(call.router.current_layers(low).map(|l| l.spatial), Some(0));
    assert_eq!(call.router.current_layers(high).map(|l| l.spatial), Some(1));
    assert_eq!(reported(&mut call, low), [Some(0)]);
}

#[test]
fn a_change_of_the_preference_asks_for_a_key_frame_of_the_new_encoding_only() {
    let (mut call, mut camera, mut bob, consumer) = stage_with_consumer();
    camera.run(&mut call, 100);
    assert_eq!(reported(&mut call, consumer), [Some(0), Some(1)]);
    for (wanted, former) in [(0, 1), (1, 0), (0, 1)] {
        call.inbox(&mut bob);
        camera.asked.clear();
        prefer(&mut call, consumer, wanted);
        // A second time changes nothing.
        prefer(&mut call, consumer, wanted);
        camera.run(&mut call, 100);
        let asked: Vec<u32> = camera.asked.iter().map(|(ssrc, _)| *ssrc).collect();
        assert_eq!(asked, [100 + u32::from(wanted)]);
        let got = call.inbox(&mut bob).rtp;
        let switch = got
            .iter()
            .position(|packet| packet.payload[2] == wanted)
            .unwrap();
        assert!((1..=5).contains(&switch), "{switch}: the former until then");
        assert!(got[..switch].iter().all(|p| p.payload[2] == former));
        assert_eq!(runs(&got[switch..]), [(wanted, got.len() - switch)]);
        assert!(got.windows(2).all(|p| p[1].index == p[0].index + 1));
        assert_eq!(reported(&mut call, consumer), [Some(wanted)]);
    }
}

#[test]
fn a_preference_taken_back_before_the_key_frame_leaves_the_picture_as_it_is() {
    let (mut call, mut camera, mut bob, consumer) = stage_with_consumer();
    camera.run(&mut call, 100);
    call.inbox(&mut bob);
    reported(&mut call, consumer);
    prefer(&mut call, consumer, 0);
    prefer(&mut call, consumer, 1);
    camera.run(&mut call, 100);
    assert_eq!(
        call.inbox(&mut bob)
            .rtp
            .iter()
            .filter(|p| p.payload[2] == 1)
            .count(),
        100
    );
    assert!(reported(&mut call, consumer).is_empty());
}

#[test]
fn without_a_live_encoding_up_to_the_preferred_one_the_next_one_above_it_is_sent() {
    let (mut call, mut camera, mut bob, consumer) = stage_with_consumer();
    prefer(&mut call, consumer, 0);
    camera.on = [false, true];
    camera.run(&mut call, 100);
    assert_eq!(runs(&call.inbox(&mut bob).rtp), [(1, 100)]);
    camera.on = [true, true];
    camera.run(&mut call, 100);
    assert_eq!(call.inbox(&mut bob).rtp.last().unwrap().payload[2], 0);
}

#[test]
fn a_pause_ends_the_layers_and_a_resume_begins_with_the_preferred_one() {
    let (mut call, mut camera, mut bob, consumer) = stage_with_consumer();
    camera.run(&mut call, 100);
    reported(&mut call, consumer);
    call.router
        .set_consumer_paused(consumer, true, call.now)
        .unwrap();
    assert_eq!(call.router.current_layers(consumer), None);
    assert_eq!(reported(&mut call, consumer), [None]);
    prefer(&mut call, consumer, 0);
    camera.asked.clear();
    camera.run(&mut call, 50);
    assert!(camera.asked.is_empty(), "nobody waits for a picture");
    call.inbox(&mut bob);
    call.router
        .set_consumer_paused(consumer, false, call.now)
        .unwrap();
    camera.run(&mut call, 50);
    let got = call.inbox(&mut bob).rtp;
    assert_eq!(runs(&got), [(0, got.len())]);
    assert!(got.len() >= 45);
    assert_eq!(reported(&mut call, consumer), [Some(0)]);
}

#[test]
fn a_producer_with_one_encoding_has_no_layers() {
    let mut call = Call::new();
    let (mut alice, mut bob, _, consumer) = call.pair(video(1000), video_consumer(5000, "0"));
    call.send(&mut alice, &video_packet(1000, 0, 0, true));
    prefer(&mut call, consumer, 0);
    prefer(&mut call, consumer, 7);
    call.send(&mut alice, &video_packet(1000, 1, 3000, false));
    assert_eq!(call.inbox(&mut bob).rtp.len(), 2);
    assert_eq!(call.router.current_layers(consumer), None);
    assert!(reported(&mut call, consumer).is_empty());
    call.router.close_consumer(consumer);
    let gone = call.router.set_preferred_layers(consumer, None, call.now);
    assert!(gone.is_err(), "unknown");
}

#[test]
fn an_encoding_that_ends_with_bye_is_left_at_once() {
    let (mut call, mut camera, mut bob, _) = stage();
    camera.run(&mut call, 50);
    camera.on = [true, false];
    let mut out = [0; 64];
    let len = bye::write(&[101], &mut out).unwrap();
    call.send_rtcp(&mut camera.peer, &out[..len]);
    camera.run(&mut call, 50);
    let got = call.inbox(&mut bob).rtp;
    let seen = runs(&got);
    assert_eq!(seen[..2], [(0, 1), (1, 50)]);
    assert!(seen[2].0 == 0 && seen[2].1 >= 40, "{seen:?}");
}

#[test]
fn a_key_frame_that_came_before_the_switch_is_asked_for_again() {
    let (mut call, mut camera, mut bob, _) = stage();
    camera.run(&mut call, 50);
    // The newest packet of the first encoding is a key frame that nobody wanted when it came.
    let mut packet = encoding_packet(0, 100, camera.step, 900 * u32::from(camera.step), true);
    packet.payload[2..5].copy_from_slice(&[0, 0, camera.step as u8]);
    call.send(&mut camera.peer, &packet);
    camera.step += 1;
    camera.on = [true, false];
    camera.asked.clear();
    let mut out = [0; 64];
    let len = bye::write(&[101], &mut out).unwrap();
    call.send_rtcp(&mut camera.peer, &out[..len]);
    camera.run(&mut call, 50);
    assert_eq!(camera.asked.len(), 1, "{:?}", camera.asked);
    let seen = runs(&call.inbox(&mut bob).rtp);
    assert_eq!(seen[..2], [(0, 1), (1, 50)]);
    assert!(seen.len() == 3 && seen[2].1 >= 40, "{seen:?}");
}

#[test]
fn a_packet_from_before_the_bye_brings_no_encoding_back() {
    let (mut call, mut camera, mut bob, _) = stage();
    camera.run(&mut call, 50);
    let step = camera.step;
    let packet = |step: u16| {
        let ticks = 900 * u32::from(step) + 0x4000_0000;
        let mut packet = encoding_packet(1, 101, step, ticks, false);
        packet.payload[2..5].copy_from_slice(&[1, 0, step as u8]);
        packet
    };
    call.send(&mut camera.peer, &packet(step + 1));
    let mut out = [0; 64];
    let len = bye::write(&[101], &mut out).unwrap();
    call.send_rtcp(&mut camera.peer, &out[..len]);
    call.send(&mut camera.peer, &packet(step));
    camera.on = [true, false];
    camera.asked.clear();
    camera.run(&mut call, 50);
    let asked: Vec<u32> = camera.asked.iter().map(|(ssrc, _)| *ssrc).collect();
    assert_eq!(asked, [100]);
    let got = call.inbox(&mut bob).rtp;
    let of_the_first = got.iter().filter(|packet| packet.payload[2] == 0).count();
    assert!(of_the_first >= 40, "{of_the_first}");
}

#[test]
fn encodings_that_stop_together_cause_no_switch() {
    let (mut call, mut camera, mut bob, _) = stage();
    camera.run(&mut call, 100);
    call.inbox(&mut bob);
    camera.asked.clear();
    for _ in 0..5 {
        // A picture that stands still: nothing for longer than an encoding counts as alive.
        call.wait(Duration::from_secs(3));
        camera.run(&mut call, 1);
    }
    let got = call.inbox(&mut bob).rtp;
    assert!(got.iter().all(|packet| packet.payload[2] == 1));
    assert_eq!(got.len(), 5);
    assert!(camera.asked.is_empty(), "{:?}", camera.asked);
}

#[test]
fn after_a_switch_reports_describe_the_encoding_that_is_sent() {
    let (mut call, mut camera, mut bob, _) = stage();
    camera.run(&mut call, 100);
    camera.on = [true, false];
    camera.run(&mut call, 600);
    let inbox = call.inbox(&mut bob);
    let last = inbox.rtp.last().unwrap();
    let infos: Vec<SenderInfo> = inbox
        .rtcp
        .iter()
        .flat_map(|compound| packets(compound))
        .filter_map(|packet| match packet {
            Ok(Rtcp::SenderReport(report)) => Some(report.info),
            _ => None,
        })
        .collect();
    let behind = last
        .timestamp
        .wrapping_sub(infos.last().unwrap().rtp_timestamp);
    assert!(behind < 90_000 * 2, "{behind}");
    assert!(infos.len() >= 3, "{}", infos.len());
}

#[test]
fn a_change_of_encodings_answers_each_request_from_the_encoding_it_was_sent_from() {
    let mut call = Call::new();
    let (mut alice, mut bob) = (call.peer(), call.peer());
    let producer = call.produce(&alice, simulcast(2));
    call.consume(&bob, producer, video_consumer(5000, "0"));
    let mark = |encoding: usize, step: u16, key| {
        let mut packet = encoding_packet(
            encoding,
            100 + encoding as u32,
            step,
            900 * u32::from(step),
            key,
        );
        packet.payload[2..4].copy_from_slice(&[encoding as u8, step as u8]);
        packet
    };
    for step in 0..100 {
        call.send(&mut alice, &mark(0, step, step == 0));
        call.send(&mut alice, &mark(1, step, step == 0));
        call.wait(10 * MS);
    }
    // The second dies: the first, whose numbers are the same, goes on with a key frame.
    for step in 100..600 {
        call.send(&mut alice, &mark(0, step, step % 50 == 0));
        call.wait(10 * MS);
    }
    let got = call.inbox(&mut bob).rtp;
    let body = |packet: &Received| packet.payload[2..4].to_vec();
    let of_the_second = got.iter().filter(|packet| body(packet)[0] == 1).count();
    assert_eq!(of_the_second, 100);
    assert!(got.len() > 300, "{}", got.len());
    let newest = got.last().unwrap().index;
    let recent = got.iter().filter(|packet| packet.index + 300 > newest);
    for packet in recent {
        call.wait(MS);
        call.send_rtcp(&mut bob, &nack_of(5000, &[packet.sequence]));
        let again = call.inbox(&mut bob).rtp;
        assert_eq!(again.len(), 1, "{}", packet.index);
        assert_eq!(again[0].payload[..2], packet.sequence.to_be_bytes());
        assert_eq!(again[0].payload[4..6], body(packet));
    }
}

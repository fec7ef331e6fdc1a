//! The estimator of the path to a receiver over a modelled link, in virtual time: capacity, drop-tail queue, delay,
//! jitter, loss of packets and of feedback. The sender sends what the estimate allows, at most what is desired.

use std::collections::VecDeque;
use std::time::Duration;

use meeshy_sfu_proto::bwe::{PathState, SendSide};
use meeshy_sfu_proto::rtcp::twcc::Feedback;
use meeshy_sfu_proto::rtcp::{Packet, packets};

const SECOND: u64 = 1_000_000;
const MILLI: u64 = 1_000;
const SIZE: usize = 1_200;
const DELAY: u64 = 25 * MILLI;
const QUEUE: u64 = 200 * MILLI;
const FEEDBACK: u64 = 100 * MILLI;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[derive(Clone, Copy)]
struct Link {
    capacity: fn(u64) -> f64,
    desired: fn(u64) -> f64,
    /// Mean loss, and packets lost together.
    loss: (f64, u32),
    jitter: u64,
    feedback_loss: f64,
}

const PLAIN: Link = Link {
    capacity: |_| 2e6,
    desired: |_| 10e6,
    loss: (0.0, 1),
    jitter: 0,
    feedback_loss: 0.0,
};

/// What was sent and queued in each 10 ms, and the estimate then.
struct Step {
    at: u64,
    sent_bits: f64,
    queue: u64,
    estimate: f64,
}

struct Run {
    link: Link,
    random: Random,
    estimator: SendSide,
    number: u64,
    free_at: u64,
    burst_left: u32,
    /// Number and arrival of packets under way to the receiver.
    arrivals: Vec<(u64, u64)>,
    base: u64,
    messages: VecDeque<(u64, Vec<u8>)>,
    count: u8,
}

impl Run {
    fn new(link: Link, seed: u64) -> Self {
        Self {
            link,
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1)),
            estimator: SendSide::new(600_000, 0),
            number: 65_000,
            free_at: 0,
            burst_left: 0,
            arrivals: Vec::new(),
            base: 65_000,
            messages: VecDeque::new(),
            count: 0,
        }
    }

    fn lost(&mut self) -> bool {
        if self.burst_left > 0 {
            self.burst_left -= 1;
            return true;
        }
        let (loss, burst) = self.link.loss;
        let begins = self.random.unit() < loss / f64::from(burst);
        self.burst_left = if begins { burst - 1 } else { 0 };
        begins
    }

    fn send(&mut self, now: u64) {
        let number = self.number;
        self.number += 1;
        self.estimator.on_sent(number as u16, SIZE, now);
        let begins = self.free_at.max(now);
        if begins - now > QUEUE || self.lost() {
            return;
        }
        let bits = SIZE as f64 * 8.0;
        self.free_at = begins + (bits * 1e6 / (self.link.capacity)(now)) as u64;
        let jitter = (self.random.unit() * 2.0 * self.link.jitter as f64) as u64;
        self.arrivals.push((number, self.free_at + DELAY + jitter));
    }

    /// Reports what has arrived since the last report, as a receiver writes it.
    fn report(&mut self, now: u64) {
        let arrived = |(_, at): &&(u64, u64)| *at <= now;
        let Some(last) = self.arrivals.iter().filter(arrived).map(|a| a.0).max() else {
            return;
        };
        while self.base <= last {
            let at = |number: u64| {
                let found = self.arrivals.iter().find(|a| a.0 == number && a.1 <= now);
                found.map(|a| Duration::from_micros(a.1))
            };
            let header = Feedback {
                sender_ssrc: 1,
                media_ssrc: 2,
                base_sequence: self.base as u16,
                feedback_count: self.count,
            };
            let mut out = vec![0; 1_200];
            let written = header.write((self.base..=last).map(at), &mut out);
            let written = written.expect("the last one arrived");
            out.truncate(written.len);
            self.count = self.count.wrapping_add(1);
            self.base += u64::from(written.taken);
            if self.random.unit() >= self.link.feedback_loss {
                self.messages.push_back((now + DELAY, out));
            }
        }
        self.arrivals.retain(|a| a.0 > last);
    }

    fn run(mut self, seconds: u64) -> (Vec<Step>, SendSide) {
        let mut steps = Vec::new();
        let (mut tokens, mut bits) = (0.0, 0.0);
        for now in (0..seconds * SECOND).step_by(1_000) {
            let estimate = self.estimator.estimate_bps() as f64;
            tokens += estimate.min((self.link.desired)(now)) / 1_000.0;
            while tokens >= SIZE as f64 * 8.0 {
                tokens -= SIZE as f64 * 8.0;
                bits += SIZE as f64 * 8.0;
                self.send(now);
            }
            if now.is_multiple_of(FEEDBACK) {
                self.report(now);
            }
            while self.messages.front().is_some_and(|m| m.0 <= now) {
                let (_, message) = self.messages.pop_front().expect("seen");
                for packet in packets(&message) {
                    match packet.expect("we wrote it") {
                        Packet::TransportCc(feedback) => self.estimator.on_feedback(&feedback, now),
                        other => panic!("{other:?}"),
                    }
                }
            }
            if now.is_multiple_of(50 * MILLI) {
                self.estimator.tick(now);
            }
            if now.is_multiple_of(10 * MILLI) {
                steps.push(Step {
                    at: now,
                    sent_bits: std::mem::take(&mut bits),
                    queue: self.free_at.saturating_sub(now),
                    estimate,
                });
            }
        }
        (steps, self.estimator)
    }
}

fn mean_rate(steps: &[Step], from: f64, to: f64) -> f64 {
    let within = |s: &&Step| (from * 1e6..to * 1e6).contains(&(s.at as f64));
    steps
        .iter()
        .filter(within)
        .map(|s| s.sent_bits)
        .sum::<f64>()
        / (to - from)
}

fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}

fn queue_p95(steps: &[Step], from: f64, to: f64) -> f64 {
    let within = |s: &&Step| (from * 1e6..to * 1e6).contains(&(s.at as f64));
    let queued = steps.iter().filter(within).map(|s| s.queue as f64 / 1e3);
    quantile(queued.collect(), 0.95)
}

/// Seconds after `from` until the rate sent in 500 ms satisfies `holds`.
fn time_until(steps: &[Step], from: f64, holds: impl Fn(f64) -> bool) -> f64 {
    let mut waited = 0.0;
    while waited < 120.0 {
        let end = from + waited;
        if waited >= 0.5 && holds(mean_rate(steps, end - 0.5, end)) {
            return waited;
        }
        waited += 0.02;
    }
    waited
}

fn step_down(now: u64) -> f64 {
    let low = (60 * SECOND..90 * SECOND).contains(&now);
    if low { 300e3 } else { 2e6 }
}

#[test]
fn a_step_down_and_up_of_the_capacity_is_followed() {
    let capacity = step_down as fn(u64) -> f64;
    let (mut down, mut queue, mut up) = (vec![], vec![], vec![]);
    for seed in 1..=10 {
        let desired = |_| 1.9e6;
        let link = Link {
            capacity,
            desired,
            jitter: 3 * MILLI,
            ..PLAIN
        };
        let (steps, _) = Run::new(link, seed).run(150);
        down.push(time_until(&steps, 60.0, |rate| rate <= 300e3));
        queue.push(queue_p95(&steps, 62.0, 90.0));
        up.push(time_until(&steps, 90.0, |rate| rate >= 1.6e6));
    }
    let figures =
        [&down, &queue, &up].map(|v| (quantile(v.clone(), 0.5), quantile(v.clone(), 1.0)));
    assert!(figures[0].0 <= 1.5 && figures[0].1 <= 1.9, "{figures:?}");
    assert!(figures[1].1 <= 45.0, "{figures:?}");
    assert!(figures[2].1 <= 40.0, "{figures:?}");
}

fn steady(link: Link) -> f64 {
    let share = |seed| mean_rate(&Run::new(link, seed).run(90).0, 60.0, 90.0) / 2e6;
    quantile((1..=5).map(share).collect(), 0.0)
}

#[test]
fn a_steady_link_is_used_despite_loss_and_jitter() {
    let jitter = |jitter| Link { jitter, ..PLAIN };
    let loss = |loss, burst| Link {
        loss: (loss, burst),
        ..PLAIN
    };
    let feedback = Link {
        feedback_loss: 0.2,
        ..PLAIN
    };
    let cases = [
        ("plain", PLAIN, 0.8),
        ("loss 2 %", loss(0.02, 1), 0.8),
        ("loss 5 %", loss(0.05, 1), 0.8),
        ("loss 10 %", loss(0.10, 1), 0.8),
        ("loss 15 %", loss(0.15, 1), 0.7),
        ("loss 5 % in bursts", loss(0.05, 5), 0.8),
        ("jitter 10 ms", jitter(10 * MILLI), 0.8),
        ("jitter 30 ms", jitter(30 * MILLI), 0.8),
        ("feedback lost", feedback, 0.8),
    ];
    let found = cases.map(|(name, link, least)| (name, steady(link), least));
    for (name, share, least) in found {
        assert!(share >= least, "{name}: {share}");
    }
}

#[test]
fn a_sender_with_little_to_send_keeps_its_estimate() {
    let desired = |now: u64| match now / SECOND {
        ..40 => 1.5e6,
        40..100 => 40e3,
        100..200 => 0.0,
        _ => 1.5e6,
    };
    for seed in 1..=5 {
        let (steps, _) = Run::new(Link { desired, ..PLAIN }, seed).run(210);
        let lowest = steps.iter().filter(|s| s.at > 40 * SECOND);
        let lowest = lowest.map(|s| s.estimate).fold(f64::INFINITY, f64::min);
        assert!(lowest >= 1.4e6, "{lowest}");
    }
}

#[test]
fn feedback_that_stays_away_lowers_the_estimate_to_the_floor() {
    let (steps, estimator) = Run::new(
        Link {
            feedback_loss: 1.0,
            ..PLAIN
        },
        1,
    )
    .run(30);
    assert_eq!(steps.last().map(|s| s.estimate), Some(30e3));
    assert_eq!(estimator.state(30 * SECOND - 1), PathState::Unanswered);
}

#[test]
fn feedback_that_matches_nothing_lowers_the_estimate() {
    let mut run = Run::new(PLAIN, 1);
    let header = |base_sequence| Feedback {
        sender_ssrc: 1,
        media_ssrc: 2,
        base_sequence,
        feedback_count: 0,
    };
    let mut out = [0; 200];
    for n in 0..100u64 {
        let now = n * 100 * MILLI;
        (0..10).for_each(|_| run.send(now));
        let other = (run.number + 20_000) as u16;
        let arrivals = (0..10).map(|_| Some(Duration::from_micros(now)));
        let len = header(other).write(arrivals, &mut out).expect("room").len;
        for packet in packets(&out[..len]) {
            let Ok(Packet::TransportCc(feedback)) = packet else {
                panic!()
            };
            run.estimator.on_feedback(&feedback, now);
        }
        run.estimator.tick(now);
    }
    assert_eq!(run.estimator.unmatched(), 1_000);
    // 0.7 per second from the first second on: 600 kbit/s have fallen to the floor after 9.4 s.
    assert!(
        run.estimator.estimate_bps() < 40_000,
        "{}",
        run.estimator.estimate_bps()
    );
}

#[test]
fn hostile_feedback_stays_within_bounds() {
    for seed in 1..=40 {
        let mut random = Random(seed);
        let mut estimator = SendSide::new(600_000, 0);
        estimator.set_ceiling(Some(3_000_000));
        let (mut now, mut number) = (0, random.next() as u16);
        for _ in 0..3_000 {
            now += match random.next() % 200 {
                0 => random.next() % (600 * SECOND),
                _ => random.next() % (40 * MILLI),
            };
            for _ in 0..random.next() % 8 {
                estimator.on_sent(number, (random.next() % 70_000) as usize, now);
                number = number.wrapping_add(1 + u16::from(random.next().is_multiple_of(50)));
            }
            // Header, SSRCs, base near what was sent, count, any reference time, one chunk of small deltas.
            let count = (random.next() % 7 + 1) as u16;
            let base = match random.next() % 10 {
                0 => random.next() as u16,
                _ => number.wrapping_sub((random.next() % 12) as u16),
            };
            let mut message = vec![0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];
            message.extend(base.to_be_bytes());
            message.extend(count.to_be_bytes());
            message.extend((random.next() as u32).to_be_bytes());
            let symbols = random.next() as u16 & 0x3fff & 0x1555;
            message.extend((0xc000 | symbols).to_be_bytes());
            message.extend((0..10).map(|_| random.next() as u8));
            message[3] = (message.len() / 4 - 1) as u8;
            for _ in 0..=random.next() % 2 {
                for packet in packets(&message) {
                    if let Ok(Packet::TransportCc(feedback)) = packet {
                        estimator.on_feedback(&feedback, now);
                    }
                }
            }
            estimator.tick(now);
            let estimate = estimator.estimate_bps();
            assert!((30_000..=3_000_000).contains(&estimate), "{estimate}");
            assert!((0.0..=1.0).contains(&estimator.loss()));
        }
    }
}

//! Groups of packets that left together, and how their spacing changed on the way.
//!
//! # Job
//! Joins packets to groups by send time and compares each group with the one before. What the changes mean belongs to
//! `trendline`.
//!
//! # Invariants
//! - A packet reported late, out of the order of sending, changes nothing.
//! - A silence of the sender, or a step of the receiver's clock, begins anew and is no change of delay.
//!
//! draft-ietf-rmcat-gcc-02 §5.2, §5.3.

use crate::bwe::clock::{Micros, since};

/// Packets sent within this time form one group.
const GROUP: Micros = 5_000;
/// Packets that arrive closer than this belong to a burst that the path has made.
const BURST: i64 = 5_000;
const LONGEST_BURST: i64 = 100_000;
/// A change of delay beyond this is a step of the receiver's clock.
const STEP: i64 = 3_000_000;
/// After a longer silence of the sender, earlier packets say nothing.
const SILENCE: Micros = 5_000_000;

#[derive(Clone, Copy, Debug)]
struct Group {
    first_sent: Micros,
    sent: Micros,
    first_arrival: i64,
    arrival: i64,
}

/// The difference of two groups that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spacing {
    /// Microseconds between their departures.
    pub(crate) sent: i64,
    /// Microseconds between their arrivals.
    pub(crate) arrived: i64,
    /// Arrival of the later one, in the receiver's time.
    pub(crate) at: i64,
}

/// What a packet has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// No group is complete yet.
    Pending,
    /// A group is complete.
    Complete(Spacing),
    /// What came before cannot be compared.
    Restarted,
}

/// The last two groups.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Groups {
    current: Option<Group>,
    previous: Option<Group>,
}

impl Groups {
    /// Takes a packet that has arrived.
    pub(crate) fn add(&mut self, sent: Micros, arrival: i64) -> Outcome {
        let fresh = Group {
            first_sent: sent,
            sent,
            first_arrival: arrival,
            arrival,
        };
        let Some(current) = &mut self.current else {
            self.current = Some(fresh);
            return Outcome::Pending;
        };
        if sent < current.first_sent {
            return Outcome::Pending;
        }
        let silent = sent - current.first_sent > SILENCE;
        let change = since(arrival, current.arrival)
            .saturating_sub_unsigned(sent.saturating_sub(current.sent));
        if silent || change.unsigned_abs() > STEP.unsigned_abs() {
            self.current = Some(fresh);
            self.previous = None;
            return Outcome::Restarted;
        }
        if current.takes(sent, arrival) {
            current.sent = current.sent.max(sent);
            if since(arrival, current.arrival) > 0 {
                current.arrival = arrival;
            }
            return Outcome::Pending;
        }
        let complete = std::mem::replace(current, fresh);
        let Some(before) = self.previous.replace(complete) else {
            return Outcome::Pending;
        };
        Outcome::Complete(Spacing {
            sent: complete.sent.saturating_sub(before.sent).cast_signed(),
            arrived: since(complete.arrival, before.arrival),
            at: complete.arrival,
        })
    }
}

impl Group {
    fn takes(&self, sent: Micros, arrival: i64) -> bool {
        if sent.saturating_sub(self.first_sent) <= GROUP {
            return true;
        }
        let later = since(arrival, self.arrival);
        let caught_up = later < sent.saturating_sub(self.sent).cast_signed();
        caught_up && later <= BURST && since(arrival, self.first_arrival) < LONGEST_BURST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spacings(packets: &[(Micros, i64)]) -> Vec<Spacing> {
        let mut groups = Groups::default();
        let found =
            packets
                .iter()
                .filter_map(|(sent, arrival)| match groups.add(*sent, *arrival) {
                    Outcome::Complete(spacing) => Some(spacing),
                    _ => None,
                });
        found.collect()
    }

    #[test]
    fn packets_of_one_train_form_one_group() {
        let found = spacings(&[
            (0, 20_000),
            (0, 21_000),
            (4_000, 24_500),
            (20_000, 40_000),
            (20_000, 43_000),
            (40_000, 60_000),
        ]);
        let spacing = Spacing {
            sent: 16_000,
            arrived: 18_500,
            at: 43_000,
        };
        assert_eq!(found, [spacing]);
    }

    #[test]
    fn packets_that_the_path_held_and_let_go_together_form_one_group() {
        // Sent every 10 ms, held for 60 ms, then arriving within 2 ms of each other.
        let held = [10_000_u32, 20_000, 30_000, 40_000, 50_000]
            .map(|sent| (u64::from(sent), 100_000 + i64::from(sent / 5)));
        let mut packets = vec![(0, 20_000)];
        packets.extend(held);
        packets.extend([(120_000, 140_000), (140_000, 160_000)]);
        let found = spacings(&packets);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].sent, found[0].arrived), (50_000, 90_000));
        assert_eq!((found[1].sent, found[1].arrived), (70_000, 30_000));
    }

    #[test]
    fn a_late_report_changes_nothing() {
        let regular: Vec<(Micros, i64)> = (0..50u32)
            .map(|n| (u64::from(n) * 10_000, i64::from(n) * 10_000 + 7))
            .collect();
        let mut disturbed = regular.clone();
        disturbed.insert(30, (12_000, 400_000));
        disturbed.insert(40, (250_000, 100));
        assert_eq!(spacings(&disturbed), spacings(&regular));
    }

    #[test]
    fn silence_and_a_step_of_the_clock_begin_anew() {
        let mut groups = Groups::default();
        groups.add(0, 0);
        groups.add(10_000, 10_000);
        assert_eq!(groups.add(6_000_000, 6_000_000), Outcome::Restarted);
        assert_eq!(groups.add(6_010_000, 6_010_000), Outcome::Pending);
        assert_eq!(groups.add(6_020_000, i64::MIN), Outcome::Restarted);
        assert_eq!(groups.add(6_030_000, i64::MAX), Outcome::Pending);
        assert_eq!(groups.add(6_040_000, 3), Outcome::Restarted);
    }
}

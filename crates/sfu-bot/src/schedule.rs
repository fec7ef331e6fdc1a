//! When the frames of a sent stream are due, and which RTP timestamps they bear.
//!
//! # Job
//! A clock of frames over the monotonic clock, in virtual time: everything is a function of the `now` handed in.
//!
//! # Invariants
//! - Frame n is due at start + n · interval: a late tick delays a frame, never the ones after it.
//! - The RTP timestamp of a moment and that of the frame due then are the same.

/// A sender that was held up longer than this leaves the frames in between out, as a camera would.
const SKIP_NS: u64 = 200_000_000;

/// The frame clock of one stream.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    start_ns: u64,
    interval_ns: u64,
    ticks: u64,
    clock_khz: u64,
    timestamp_base: u32,
    frame: u64,
    taken: bool,
    /// Frames are numbered since the thread began: time that passes before the first one counts.
    common: bool,
}

/// A frame that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) timestamp: u32,
    /// Number of the frame since the schedule's start.
    pub(crate) number: u64,
    /// How much after its time it is sent.
    pub(crate) late_ns: u64,
}

impl Schedule {
    /// Frames `ticks` of a clock of `clock_khz` apart; the first at `start_ns`, with timestamp `timestamp_base`.
    pub(crate) fn new(start_ns: u64, ticks: u32, clock_khz: u64, timestamp_base: u32) -> Self {
        let ticks = u64::from(ticks);
        let interval_ns = ticks * 1_000_000 / clock_khz;
        Self {
            start_ns,
            interval_ns,
            ticks,
            clock_khz,
            timestamp_base,
            frame: 0,
            taken: false,
            common: false,
        }
    }

    /// Frames whose numbers all schedules with the same `start_ns` share, whenever each of them begins.
    pub(crate) fn common(start_ns: u64, ticks: u32, clock_khz: u64, timestamp_base: u32) -> Self {
        Self {
            common: true,
            ..Self::new(start_ns, ticks, clock_khz, timestamp_base)
        }
    }

    /// When the next frame is due.
    pub(crate) fn due_ns(&self) -> u64 {
        self.start_ns + self.frame * self.interval_ns
    }

    /// Takes the next frame if it is due.
    pub(crate) fn take(&mut self, now_ns: u64) -> Option<Slot> {
        let mut late_ns = now_ns.checked_sub(self.due_ns())?;
        if !self.taken && late_ns > self.interval_ns {
            // There was nowhere to send to yet: the schedule begins now.
            if self.common {
                let passed = late_ns / self.interval_ns;
                self.frame += passed;
                late_ns -= passed * self.interval_ns;
            } else {
                self.start_ns += late_ns;
                late_ns = 0;
            }
        }
        self.taken = true;
        if late_ns > SKIP_NS {
            self.frame += late_ns / self.interval_ns;
        }
        let timestamp = self
            .timestamp_base
            .wrapping_add((self.frame * self.ticks) as u32);
        let number = self.frame;
        self.frame += 1;
        Some(Slot {
            timestamp,
            number,
            late_ns,
        })
    }

    /// Leaves out the frames of a pause that ends now; its time passes on the RTP clock too.
    pub(crate) fn resume(&mut self, now_ns: u64) {
        let passed = now_ns
            .saturating_sub(self.start_ns)
            .div_ceil(self.interval_ns);
        self.frame = self.frame.max(passed);
    }

    /// The RTP timestamp of a moment, for sender reports.
    pub(crate) fn timestamp_at(&self, now_ns: u64) -> u32 {
        let elapsed_us = now_ns.saturating_sub(self.start_ns) / 1000;
        self.timestamp_base
            .wrapping_add((elapsed_us * self.clock_khz / 1000) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Runs ten seconds in ticks of one millisecond, each up to `wobble` ms late; returns times and slots.
    fn run(schedule: &mut Schedule, wobble: u64) -> Vec<(u64, Slot)> {
        let mut random = crate::random::Random::new(9);
        let mut sent = Vec::new();
        for tick in 1000..11_000 {
            let now_ns = tick * MS + random.below(wobble * MS + 1);
            while let Some(slot) = schedule.take(now_ns) {
                sent.push((now_ns, slot));
            }
        }
        sent
    }

    #[test]
    fn thirty_frames_a_second_stay_thirty_however_the_ticks_wobble() {
        for wobble in [0, 1, 7] {
            let mut schedule = Schedule::new(1000 * MS, 3000, 90, 77);
            let sent = run(&mut schedule, wobble);
            assert!((300..=301).contains(&sent.len()), "{}", sent.len());
            for (number, (now_ns, slot)) in sent.iter().enumerate() {
                assert_eq!(slot.timestamp, 77 + number as u32 * 3000);
                assert!(slot.late_ns <= (wobble + 1) * MS, "{slot:?}");
                assert!(
                    now_ns.abs_diff(1000 * MS + number as u64 * 33_333_333) <= (wobble + 1) * MS
                );
            }
        }
    }

    #[test]
    fn audio_is_due_every_twenty_milliseconds() {
        let mut schedule = Schedule::new(1003 * MS, 960, 48, u32::MAX - 959);
        let sent = run(&mut schedule, 0);
        assert_eq!(sent.len(), 500);
        assert_eq!(
            sent[1],
            (
                1023 * MS,
                Slot {
                    timestamp: 0,
                    number: 1,
                    late_ns: 0
                }
            )
        );
    }

    #[test]
    fn a_long_hold_up_leaves_frames_out_and_a_short_one_does_not() {
        let mut schedule = Schedule::new(0, 960, 48, 0);
        assert_eq!(
            schedule.take(0),
            Some(Slot {
                timestamp: 0,
                number: 0,
                late_ns: 0
            })
        );
        assert_eq!(
            schedule.take(120 * MS),
            Some(Slot {
                timestamp: 960,
                number: 1,
                late_ns: 100 * MS
            })
        );
        assert_eq!(
            schedule.take(120 * MS),
            Some(Slot {
                timestamp: 1920,
                number: 2,
                late_ns: 80 * MS
            })
        );
        // Frame 3 was due at 60 ms; at 1000 ms it is frame 50's turn.
        assert_eq!(
            schedule.take(1000 * MS),
            Some(Slot {
                timestamp: 50 * 960,
                number: 50,
                late_ns: 940 * MS
            })
        );
        assert_eq!(schedule.take(1000 * MS), None);
        assert_eq!(schedule.due_ns(), 1020 * MS);
    }

    #[test]
    fn waiting_for_the_transport_is_not_lateness() {
        let mut schedule = Schedule::new(5 * MS, 960, 48, 0);
        assert_eq!(
            schedule.take(900 * MS),
            Some(Slot {
                timestamp: 0,
                number: 0,
                late_ns: 0
            })
        );
        assert_eq!(schedule.take(919 * MS), None);
        assert_eq!(
            schedule.take(920 * MS),
            Some(Slot {
                timestamp: 960,
                number: 1,
                late_ns: 0
            })
        );
    }

    #[test]
    fn a_pause_passes_on_the_rtp_clock() {
        let mut schedule = Schedule::new(0, 960, 48, 0);
        schedule.take(0);
        schedule.resume(5001 * MS);
        assert_eq!(schedule.due_ns(), 5020 * MS);
        assert_eq!(
            schedule.take(5020 * MS),
            Some(Slot {
                timestamp: 251 * 960,
                number: 251,
                late_ns: 0
            })
        );
        assert_eq!(schedule.timestamp_at(5020 * MS), 251 * 960);
    }

    #[test]
    fn legs_of_one_participant_number_their_frames_alike_whenever_they_begin() {
        let mut early = Schedule::common(7 * MS, 960, 48, 1);
        let mut late = Schedule::common(7 * MS, 960, 48, 2);
        early.resume(0);
        let first: Vec<_> = run(&mut early, 0);
        late.resume(5000 * MS);
        let second: Vec<_> = run(&mut late, 3);
        // Nowhere to send to before the first tick of the run: what was due until then is not made up for.
        assert!(first[0].0 < 1002 * MS);
        let at = |slots: &[(u64, Slot)], number| {
            slots
                .iter()
                .find(|(_, slot)| slot.number == number)
                .map(|(at, _)| *at)
        };
        for number in 260..500 {
            let (one, other) = (at(&first, number), at(&second, number));
            assert!(one.unwrap().abs_diff(other.unwrap()) <= 4 * MS, "{number}");
        }
    }
}

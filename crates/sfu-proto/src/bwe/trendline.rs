//! Whether the queue on the path grows, from the spacing of groups.
//!
//! # Job
//! Adds up changes of delay, fits a line through the last twenty sums, and compares its slope with a threshold that
//! adapts to the path. What follows for the rate belongs to `aimd`.
//!
//! # Invariants
//! - All values are finite, whatever arrivals a receiver reports.
//! - One late group is no over-use: it takes two, over 10 ms of sending, with the trend not falling.
//!
//! # Cost
//! 20 points, some 60 operations per group.
//!
//! draft-ietf-rmcat-gcc-02 §5.4 and §5.5, with the line fit that libwebrtc uses in place of the Kalman filter.

use crate::bwe::clock::since;
use crate::bwe::groups::Spacing;

const POINTS: usize = 20;
const SMOOTHING: f64 = 0.9;
/// Groups after which the trend counts in full.
const CONFIDENT: u32 = 60;
const GAIN: f64 = 4.0;
/// Milliseconds.
const FIRST_THRESHOLD: f64 = 12.5;
const THRESHOLDS: (f64, f64) = (6.0, 600.0);
/// Trends further above the threshold do not move it: they come from a change of the path.
const OUTLIER: f64 = 15.0;
const RISE: f64 = 0.0087;
const FALL: f64 = 0.039;
const LONGEST_STEP_MS: f64 = 100.0;
const OVERUSE_MS: f64 = 10.0;
/// Changes of delay beyond this, in milliseconds, are cut.
const MAX_CHANGE_MS: f64 = 3_000.0;

/// How the path is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Usage {
    /// The queue neither grows nor shrinks.
    #[default]
    Normal,
    /// The queue grows.
    Overuse,
    /// The queue drains.
    Underuse,
}

/// The trend of one path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trendline {
    /// Arrival since the first group and smoothed delay, in milliseconds; a ring.
    points: [(f64, f64); POINTS],
    groups: u32,
    first: Option<i64>,
    sum: f64,
    smoothed: f64,
    trend: f64,
    threshold: f64,
    threshold_at: Option<i64>,
    /// Milliseconds of sending above the threshold; `None` below.
    over_for: Option<f64>,
    over_groups: u32,
    usage: Usage,
}

impl Default for Trendline {
    fn default() -> Self {
        Self {
            points: [(0.0, 0.0); POINTS],
            groups: 0,
            first: None,
            sum: 0.0,
            smoothed: 0.0,
            trend: 0.0,
            threshold: FIRST_THRESHOLD,
            threshold_at: None,
            over_for: None,
            over_groups: 0,
            usage: Usage::Normal,
        }
    }
}

impl Trendline {
    /// Returns how the path is used, by the last group.
    pub(crate) fn usage(&self) -> Usage {
        self.usage
    }

    /// Takes the spacing of a group.
    pub(crate) fn add(&mut self, spacing: Spacing) {
        let first = *self.first.get_or_insert(spacing.at);
        let change = millis(spacing.arrived.saturating_sub(spacing.sent));
        self.sum += change.clamp(-MAX_CHANGE_MS, MAX_CHANGE_MS);
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.sum;
        let position = self.groups as usize % POINTS;
        self.points[position] = (millis(since(spacing.at, first)), self.smoothed);
        self.groups = if self.groups as usize >= 1000 * POINTS {
            // Any multiple keeps the ring's position.
            self.groups - 500 * POINTS as u32 + 1
        } else {
            self.groups + 1
        };
        let before = self.trend;
        if self.groups as usize >= POINTS {
            self.trend = slope(&self.points).unwrap_or(before);
        }
        self.detect(before, millis(spacing.sent), spacing.at);
    }

    fn detect(&mut self, before: f64, sent_ms: f64, at: i64) {
        if self.groups < 2 {
            return;
        }
        let weighted = f64::from(self.groups.min(CONFIDENT)) * self.trend * GAIN;
        if weighted > self.threshold {
            let over_for = self
                .over_for
                .map_or(sent_ms / 2.0, |over_for| over_for + sent_ms);
            self.over_for = Some(over_for);
            self.over_groups += 1;
            if over_for > OVERUSE_MS && self.over_groups > 1 && self.trend >= before {
                self.over_for = Some(0.0);
                self.over_groups = 0;
                self.usage = Usage::Overuse;
            }
        } else {
            self.over_for = None;
            self.over_groups = 0;
            self.usage = if weighted < -self.threshold {
                Usage::Underuse
            } else {
                Usage::Normal
            };
        }
        self.adapt(weighted.abs(), at);
    }

    /// Moves the threshold towards the usual size of the trend.
    fn adapt(&mut self, size: f64, at: i64) {
        let passed = self
            .threshold_at
            .replace(at)
            .map_or(0, |last| since(at, last));
        if size > self.threshold + OUTLIER {
            return;
        }
        let gain = if size > self.threshold { RISE } else { FALL };
        let passed = millis(passed).clamp(0.0, LONGEST_STEP_MS);
        self.threshold += gain * (size - self.threshold) * passed;
        self.threshold = self.threshold.clamp(THRESHOLDS.0, THRESHOLDS.1);
    }
}

fn millis(micros: i64) -> f64 {
    micros as f64 / 1000.0
}

/// Returns the slope of the least-squares line; `None` if all points have one abscissa.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let (x, y) = points
        .iter()
        .fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (x, y) = (x / count, y / count);
    let (over, under) = points.iter().fold((0.0, 0.0), |(over, under), point| {
        let from = point.0 - x;
        (over + from * (point.1 - y), under + from * from)
    });
    let slope = over / under;
    slope.is_finite().then_some(slope)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds groups sent every 20 ms; `delay` gives the delay of each in microseconds.
    fn usages(count: i64, delay: impl Fn(i64) -> i64) -> Vec<Usage> {
        let mut trendline = Trendline::default();
        let each = |n| {
            trendline.add(Spacing {
                sent: 20_000,
                arrived: 20_000 + delay(n) - delay(n - 1),
                at: n * 20_000 + delay(n),
            });
            trendline.usage()
        };
        (1..=count).map(each).collect()
    }

    #[test]
    fn a_queue_that_grows_is_over_use_and_one_that_drains_is_under_use() {
        // From the 100th group the queue grows by 4 ms each, from the 125th it drains.
        let found = usages(170, |n| match n {
            ..100 => 0,
            100..125 => (n - 100) * 4_000,
            _ => (25 - (n - 125)).max(0) * 4_000,
        });
        assert!(found[..100].iter().all(|usage| *usage == Usage::Normal));
        let over = found.iter().position(|usage| *usage == Usage::Overuse);
        assert!((101..112).contains(&over.expect("seen")), "{over:?}");
        assert!(found[130..].contains(&Usage::Underuse));
    }

    #[test]
    fn a_steady_delay_and_a_slow_clock_are_normal() {
        for delay in [|_| 50_000, |n: i64| n * 2, |n: i64| -n * 2] {
            let found = usages(3_000, delay);
            assert!(found.iter().all(|usage| *usage == Usage::Normal));
        }
    }

    #[test]
    fn one_late_group_is_no_over_use() {
        let found = usages(200, |n| if n == 100 { 30_000 } else { 0 });
        assert!(!found.contains(&Usage::Overuse));
    }

    #[test]
    fn the_threshold_moves_with_the_published_gains() {
        let mut trendline = Trendline::default();
        let mut after = |size, at| {
            trendline.adapt(size, at);
            (trendline.threshold * 1e3).round() / 1e3
        };
        assert_eq!(after(20.0, 0), 12.5);
        // 12.5 + 0.0087 · 7.5 · 20, then 13.805 − 0.039 · 8.805 · 20.
        assert_eq!(after(20.0, 20_000), 13.805);
        assert_eq!(after(5.0, 40_000), 6.937);
        assert_eq!(after(22.0, 60_000), 6.937, "an outlier");
        assert_eq!(after(0.0, 10_000_000), 6.0, "the lower bound");
    }

    #[test]
    fn arrivals_at_one_moment_have_no_slope() {
        let mut trendline = Trendline::default();
        for _ in 0..100 {
            trendline.add(Spacing {
                sent: 0,
                arrived: 0,
                at: 5,
            });
        }
        assert_eq!((trendline.usage(), trendline.trend), (Usage::Normal, 0.0));
    }

    #[test]
    fn the_count_of_groups_never_loses_its_place() {
        let mut trendline = Trendline::default();
        for n in 0..60_000u32 {
            let before = trendline.groups as usize % POINTS;
            trendline.add(Spacing {
                sent: 20_000,
                arrived: 20_000,
                at: i64::from(n) * 20_000,
            });
            assert_eq!(trendline.groups as usize % POINTS, (before + 1) % POINTS);
        }
    }
}

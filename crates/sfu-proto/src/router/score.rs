//! Reception quality of a stream: 0 (nothing arrives) to 10 (all of it).
//!
//! # Job
//! Turns loss and repair of each report interval into one number, averaged over the last 24 intervals with more
//! weight on newer ones, as mediasoup does.
//!
//! # Cost
//! Once a second per stream; no allocation.

const HISTORY: usize = 24;

/// Running totals of one stream, at the end of an interval.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    /// Packets expected.
    pub(crate) expected: u64,
    /// Packets received as originals.
    pub(crate) received: u64,
    /// Missing packets received by retransmission.
    pub(crate) repaired: u64,
}

/// The score of one stream.
#[derive(Clone, Debug)]
pub(crate) struct Score {
    history: [u8; HISTORY],
    len: usize,
    prior: Totals,
    current: u8,
}

impl Score {
    pub(crate) fn new(initial: u8) -> Self {
        Self {
            history: [0; HISTORY],
            len: 0,
            prior: Totals::default(),
            current: initial,
        }
    }

    pub(crate) fn value(&self) -> u8 {
        self.current
    }

    /// Clears the history when the stream stops (0) or resumes (10). Returns whether the score changed.
    pub(crate) fn reset(&mut self, value: u8) -> bool {
        self.len = 0;
        std::mem::replace(&mut self.current, value) != value
    }

    /// Starts the next interval at these totals without scoring the last one.
    pub(crate) fn rebase(&mut self, totals: Totals) {
        self.prior = totals;
    }

    /// Scores the interval that ends with these totals. Returns whether the score changed.
    pub(crate) fn update(&mut self, totals: Totals) -> bool {
        let grade = grade(&self.prior, &totals);
        self.prior = totals;
        if self.len == HISTORY {
            self.history.copy_within(1.., 0);
            self.len -= 1;
        }
        self.history[self.len] = grade;
        self.len += 1;
        let (mut sum, mut weights) = (0u32, 0u32);
        for (position, &value) in self.history[..self.len].iter().enumerate() {
            let weight = position as u32 + 1;
            sum += weight * u32::from(value);
            weights += weight;
        }
        let value = ((f64::from(sum) / f64::from(weights)).round() as u8).min(10);
        std::mem::replace(&mut self.current, value) != value
    }
}

/// Returns the score of one interval. Retransmissions of packets that were not missing cost nothing.
fn grade(prior: &Totals, now: &Totals) -> u8 {
    let expected = now.expected.saturating_sub(prior.expected);
    let received = now.received.saturating_sub(prior.received);
    if expected == 0 {
        return 10;
    }
    let lost = expected.saturating_sub(received);
    let repaired = now.repaired.saturating_sub(prior.repaired).min(lost);
    let came = (received + repaired) as f64;
    if came == 0.0 {
        return 0;
    }
    let (lost, repaired) = ((lost as f64).min(came), repaired as f64);
    let weight = (1.0 / (repaired / came + 1.0)).powi(4);
    let delivered = (came - (lost - repaired * weight)) / came;
    (delivered.clamp(0.0, 1.0).powi(4) * 10.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(expected: u64, received: u64, repaired: u64) -> Totals {
        Totals {
            expected,
            received,
            repaired,
        }
    }

    #[test]
    fn a_clean_stream_scores_ten_and_a_lossy_one_less() {
        let mut score = Score::new(10);
        assert!(!score.update(totals(100, 100, 0)));
        assert_eq!(score.value(), 10);
        assert!(score.update(totals(200, 180, 0)));
        assert_eq!(score.value(), 5);
    }

    #[test]
    fn repair_keeps_most_of_the_score() {
        let mut lossy = Score::new(10);
        lossy.update(totals(100, 90, 0));
        let mut repaired = Score::new(10);
        repaired.update(totals(100, 90, 10));
        assert!(repaired.value() > lossy.value());
    }

    #[test]
    fn silence_is_no_loss_but_total_loss_is() {
        let mut score = Score::new(10);
        score.update(totals(0, 0, 0));
        assert_eq!(score.value(), 10);
        score.reset(10);
        score.update(totals(100, 0, 0));
        assert_eq!(score.value(), 0);
    }

    #[test]
    fn a_rebased_score_ignores_earlier_totals() {
        let mut score = Score::new(0);
        score.rebase(totals(100, 0, 0));
        assert!(score.update(totals(200, 100, 0)));
        assert_eq!(score.value(), 10, "what was lost before counts for nothing");
    }
}

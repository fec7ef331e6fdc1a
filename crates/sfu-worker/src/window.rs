//! How long packets may wait for others to the same destination.
//!
//! # Job
//! Chooses the send window from the load of the thread: the longer packets of one destination wait, the
//! longer the trains they leave in, and a train costs hardly more than a packet. Waiting itself belongs
//! to `run`.
//!
//! # Invariants
//! - No window while there is CPU to spare; never more than the configured most.
//! - A step down needs less load than the step up left behind, or the window would swing.

use std::time::{Duration, Instant};

/// How often the load is looked at.
const INTERVAL: Duration = Duration::from_millis(100);
/// Weight of the newest interval.
const SMOOTHING: f64 = 0.3;
/// Load of one core above which the window opens to half, and to all.
const UP: [f64; 2] = [0.30, 0.40];
/// Load below which it goes back a step. A window saves up to half the load, so these are far below `UP`.
const DOWN: [f64; 2] = [0.13, 0.18];

/// The adaptive send window of a worker.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    most: Duration,
    step: usize,
    load: f64,
    since: Instant,
    cpu: Duration,
    held: bool,
}

impl Window {
    /// A closed window that opens to `most` under load; `cpu` is the thread's clock at `now`.
    pub(crate) fn new(most: Duration, now: Instant, cpu: Duration) -> Window {
        Window {
            most,
            step: 0,
            load: 0.0,
            since: now,
            cpu,
            held: false,
        }
    }

    /// Whether [`Window::measure`] wants the CPU clock.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= INTERVAL
    }

    /// Takes the thread's CPU clock and adapts.
    pub(crate) fn measure(&mut self, now: Instant, cpu: Duration) {
        let wall = now.saturating_duration_since(self.since);
        if wall.is_zero() {
            return;
        }
        let load = cpu.saturating_sub(self.cpu).as_secs_f64() / wall.as_secs_f64();
        // After an idle stretch the old figure says nothing.
        let weight = if wall > 5 * INTERVAL { 1.0 } else { SMOOTHING };
        self.load += weight * (load - self.load);
        (self.since, self.cpu) = (now, cpu);
        if self.held {
            return;
        }
        if self.step < UP.len() && self.load > UP[self.step] {
            self.step += 1;
        } else if self.step > 0 && self.load < DOWN[self.step - 1] {
            self.step -= 1;
        }
    }

    /// How long to wait now.
    pub(crate) fn length(&self) -> Duration {
        self.most * self.step as u32 / UP.len() as u32
    }

    /// Smoothed share of one core, 0 to 1.
    pub(crate) fn load(&self) -> f64 {
        self.load
    }

    /// For measurements: opens the window fully and keeps it so, whatever the load.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn hold_open(&mut self) {
        self.step = UP.len();
        self.held = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Thread {
        window: Window,
        now: Instant,
        cpu: Duration,
    }

    impl Thread {
        fn new() -> Thread {
            let now = Instant::now();
            let window = Window::new(Duration::from_millis(2), now, Duration::ZERO);
            Thread {
                window,
                now,
                cpu: Duration::ZERO,
            }
        }

        fn run(&mut self, seconds: f64, load: f64) -> Duration {
            for _ in 0..(seconds * 10.0) as u32 {
                self.now += INTERVAL;
                self.cpu += INTERVAL.mul_f64(load);
                assert!(self.window.is_due(self.now));
                self.window.measure(self.now, self.cpu);
            }
            self.window.length()
        }
    }

    #[test]
    fn an_idle_worker_sends_at_once() {
        assert_eq!(Thread::new().run(10.0, 0.2), Duration::ZERO);
    }

    #[test]
    fn load_opens_the_window_step_by_step_and_no_further_than_allowed() {
        let mut thread = Thread::new();
        assert_eq!(thread.run(3.0, 0.35), Duration::from_millis(1));
        assert_eq!(thread.run(3.0, 0.9), Duration::from_millis(2));
    }

    #[test]
    fn what_the_window_saves_does_not_close_it_again() {
        let mut thread = Thread::new();
        thread.run(3.0, 0.63);
        assert_eq!(thread.run(10.0, 0.63 * 0.5), Duration::from_millis(2));
        assert_eq!(thread.run(3.0, 0.05), Duration::ZERO);
    }
}

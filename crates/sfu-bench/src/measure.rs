//! The measurement of one case: slices of the worker's own path and of the limit in turn, and their medians.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use meeshy_sfu_io::clock::thread_cpu;
use meeshy_sfu_worker::harness::Harness;

use crate::case::{CPUS, Case, Outcome};
use crate::crowd::{Crowd, Shared};
use crate::limit::{Limit, Price};

/// How fast the single publisher of `1→50` sends, in paces of one call: 90,000 packets a second out.
const FAN_PACE: u32 = 20;
/// Flushes per timed one.
const TIMED_EVERY: u32 = 8;
/// A slice is so short that the machine mostly keeps its speed from its beginning to its end: the other guests of the
/// host slow the same instructions down by up to a half, for some hundred milliseconds at a time.
const OWN: Duration = Duration::from_millis(150);
/// After a pause the caches are cold and the first trains long.
const WARM_UP: Duration = Duration::from_millis(30);
const KERNEL: Duration = Duration::from_millis(50);
const CRYPTO: Duration = Duration::from_millis(15);
/// Sealing needs neither memory nor kernel, so its price is the speed of the core. A slice between two prices that are
/// further apart compares two machines.
const STEADY: f64 = 0.1;
/// Slices tried per slice wanted.
const TRIES: usize = 3;
/// Until every history has been written once: memory touched for the first time costs extra.
const FILLING: Duration = Duration::from_millis(450);

/// Medians over the slices; all times are CPU nanoseconds per RTP packet forwarded.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) case: Case,
    pub(crate) own: f64,
    /// The own path without its send calls.
    pub(crate) user: f64,
    /// The limit at the times of the own path.
    pub(crate) kernel: f64,
    pub(crate) crypto: f64,
    /// Own path over that limit, slice by slice.
    pub(crate) ratio: f64,
    /// The same for the limit in a loop without a pause.
    pub(crate) hot_ratio: f64,
    pub(crate) hot_crypto: f64,
    /// Mean datagrams per train of the own path.
    pub(crate) train: f64,
    pub(crate) packets_per_s: f64,
    /// Of one core.
    pub(crate) load: f64,
    pub(crate) forwarded: u64,
    pub(crate) lost: i64,
    pub(crate) slices: Vec<Slice>,
    /// Slices wanted, and those left out because the machine changed its speed.
    pub(crate) wanted: usize,
    pub(crate) unsteady: usize,
    pub(crate) drops: Vec<(String, u64)>,
}

/// One slice, in the units of [`Figures`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slice {
    pub(crate) own: f64,
    pub(crate) user: f64,
    /// The limit at the times of the own path.
    pub(crate) paced: Price,
    /// The limit in a loop without a pause.
    pub(crate) hot: Price,
}

impl Case {
    /// Runs the case.
    pub(crate) fn measure(&self, quick: bool) -> Outcome<Figures> {
        let wanted = if quick { 10 } else { 40 };
        let clients = if self.mesh { 50 } else { 51 };
        let publishers = if self.mesh { 50 } else { 1 };
        let pace = if self.mesh { 1 } else { FAN_PACE };
        let crowd = Crowd::new(clients, publishers, pace, self)?;
        let addresses = crowd.addresses();
        let shared = crowd.shared();
        let mut harness = self.harness()?;
        harness.hold_window_open();
        harness.time_calls(TIMED_EVERY);
        let mut consumers = Vec::new();
        harness
            .add_call(|router, now| self.fill(router, &addresses, publishers, &mut consumers, now));
        let thread = crowd.start(harness.local(), CPUS[1]);
        shared.filling.store(true, Relaxed);
        shared.sending.store(true, Relaxed);
        harness.run_until(Instant::now() + FILLING)?;
        shared.filling.store(false, Relaxed);
        harness.with_router(|router, now| {
            for consumer in consumers {
                let _ = router.set_consumer_paused(consumer, false, now);
            }
        });
        let figures = self.slices(&mut harness, &shared, &addresses, wanted);
        shared.stop.store(true, Relaxed);
        let _ = thread.join();
        figures
    }

    fn slices(
        &self,
        harness: &mut Harness,
        shared: &Shared,
        addresses: &[SocketAddr],
        wanted: usize,
    ) -> Outcome<Figures> {
        let mut limit = Limit::new(self, addresses)?;
        let (mut slices, mut all, mut unsteady) = (Vec::new(), Totals::default(), 0);
        // Of the first slice nothing but its trains is used.
        let mut price = None;
        while slices.len() < wanted && unsteady < wanted * (TRIES - 1) {
            shared.sending.store(true, Relaxed);
            harness.run_until(Instant::now() + WARM_UP)?;
            harness.record();
            let before = Totals::read(harness);
            harness.run_until(Instant::now() + OWN)?;
            let slice = Totals::read(harness).since(&before);
            // The limit of this slice's own trains: their length depends on how the machine shares its time.
            limit.take(harness.recorded())?;
            shared.sending.store(false, Relaxed);
            harness.run_until(Instant::now() + Duration::from_millis(10))?;
            let paced = limit.paced();
            let kernel = limit.kernel(KERNEL);
            let after = limit.crypto(CRYPTO);
            let Some(before) = price.replace(after) else {
                continue;
            };
            if (after - before).abs() > STEADY * after.min(before) {
                unsteady += 1;
                continue;
            }
            let packets = slice.forwarded as f64;
            slices.push(Slice {
                own: slice.cpu.as_nanos() as f64 / packets,
                user: slice.cpu.saturating_sub(slice.calls()).as_nanos() as f64 / packets,
                paced,
                hot: Price {
                    kernel,
                    crypto: f64::midpoint(before, after),
                },
            });
            all.add(&slice);
        }
        if slices.is_empty() {
            return Err("the machine changed its speed in every slice: others use it".into());
        }
        let sent = harness.sent();
        let (forwarded, _) = harness.forwarded();
        std::thread::sleep(Duration::from_millis(50));
        let arrived = shared.received.load(Relaxed) as i64;
        let expected = (sent.datagrams + limit.datagrams()) as i64;
        let median = |of: &dyn Fn(&Slice) -> f64| {
            let mut values: Vec<f64> = slices.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Ok(Figures {
            case: *self,
            own: median(&|s| s.own),
            user: median(&|s| s.user),
            kernel: median(&|s| s.paced.kernel),
            crypto: median(&|s| s.paced.crypto),
            ratio: median(&|s| s.own / s.paced.sum()),
            hot_ratio: median(&|s| s.own / s.hot.sum()),
            hot_crypto: median(&|s| s.hot.crypto),
            train: all.datagrams as f64 / all.trains as f64,
            packets_per_s: all.forwarded as f64 / all.wall.as_secs_f64(),
            load: all.cpu.as_secs_f64() / all.wall.as_secs_f64(),
            forwarded,
            lost: expected - arrived,
            slices,
            wanted,
            unsteady,
            drops: harness.drops().into_iter().collect(),
        })
    }
}

/// Counters at one moment, or between two.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    cpu: Duration,
    timed: Duration,
    timed_datagrams: u64,
    wall: Duration,
    forwarded: u64,
    datagrams: u64,
    trains: u64,
    at: Option<Instant>,
}

impl Totals {
    fn read(harness: &mut Harness) -> Totals {
        let sent = harness.sent();
        Totals {
            forwarded: harness.forwarded().0,
            timed: sent.timed_cpu,
            timed_datagrams: sent.timed_datagrams,
            datagrams: sent.datagrams,
            trains: sent.trains,
            wall: Duration::ZERO,
            at: Some(Instant::now()),
            cpu: thread_cpu(),
        }
    }

    fn since(&self, before: &Totals) -> Totals {
        let wall = match (self.at, before.at) {
            (Some(now), Some(then)) => now - then,
            _ => Duration::ZERO,
        };
        Totals {
            cpu: self.cpu - before.cpu,
            timed: self.timed - before.timed,
            timed_datagrams: self.timed_datagrams - before.timed_datagrams,
            wall,
            forwarded: self.forwarded - before.forwarded,
            datagrams: self.datagrams - before.datagrams,
            trains: self.trains - before.trains,
            at: None,
        }
    }

    /// CPU time of all send calls, from those that were timed.
    fn calls(&self) -> Duration {
        self.timed
            .mul_f64(self.datagrams as f64 / self.timed_datagrams.max(1) as f64)
    }

    fn add(&mut self, more: &Totals) {
        self.cpu += more.cpu;
        self.wall += more.wall;
        self.forwarded += more.forwarded;
        self.datagrams += more.datagrams;
        self.trains += more.trains;
    }
}

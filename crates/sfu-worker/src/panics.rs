//! What a panic of a worker said, written down by a thread of its own.
//!
//! # Job
//! std's hook writes message and backtrace on the thread that panics, before any other code learns of it. Naming
//! the frames reads the debug information of the whole library, a tenth of a second and more where it is not
//! in memory, and standard error may be a pipe that is not read. All calls of the worker would stand still
//! meanwhile, so it hands over what it knows and goes on.
//!
//! # Invariants
//! - A worker never waits for its report: what does not fit is left out.
//! - Panics of threads that are no workers are left to the hook that was there before.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::io::Write;
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Once, mpsc};

/// Reports that wait to be written.
const WAITING: usize = 16;

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// Frames are being named, under a lock that taking another backtrace would wait for.
static NAMING: AtomicBool = AtomicBool::new(false);

struct Report {
    text: String,
    backtrace: Backtrace,
}

/// Has the panics of the calling thread written down elsewhere.
pub(crate) fn report_elsewhere() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(install);
    IS_WORKER.set(true);
}

fn install() {
    let (sender, reports) = mpsc::sync_channel::<Report>(WAITING);
    let writer = std::thread::Builder::new()
        .name("sfu-panics".into())
        .spawn(move || reports.into_iter().for_each(|report| write(&report)));
    if writer.is_err() {
        // Without the thread the hook that is there does better than none.
        return;
    }
    let former = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !IS_WORKER.get() {
            former(info);
            return;
        }
        let thread = std::thread::current();
        let backtrace = if NAMING.load(SeqCst) {
            Backtrace::disabled()
        } else {
            Backtrace::capture()
        };
        let text = format!("thread '{}': {info}", thread.name().unwrap_or("unnamed"));
        // Full: a crowd of panics, of which the first ones tell enough.
        let _ = sender.try_send(Report { text, backtrace });
    }));
}

fn write(report: &Report) {
    let mut text = report.text.clone();
    if report.backtrace.status() == BacktraceStatus::Captured {
        NAMING.store(true, SeqCst);
        text = format!("{text}\n{}", report.backtrace);
        NAMING.store(false, SeqCst);
    }
    // Whoever closed standard error does not want to know.
    let _ = writeln!(std::io::stderr(), "{text}");
}

//! The handle of a worker: starts its thread, carries requests to it and events from it.
//!
//! # Job
//! All that other threads may do with a worker. The thread itself is in `run`.
//!
//! # Invariants
//! - No method but `close` and `drop` waits for the thread.
//! - A panic of the thread becomes a `died` event; it never reaches the process.

use std::any::Any;
use std::os::fd::RawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;

use meeshy_sfu_proto::link::Certificate;

use crate::command::Request;
use crate::config::{StartError, WorkerConfig, system};
use crate::event::Event;
use crate::panics::report_elsewhere;
use crate::queue::{Queues, RequestError};
use crate::run::Loop;
use crate::sockets::Sockets;

/// A running worker: one thread that owns its sockets and routers.
///
/// Dropping it closes it.
///
/// # Example
/// ```
/// use meeshy_sfu_proto::link::Certificate;
/// use meeshy_sfu_worker::{Command, Event, Request, RouterId, Worker, WorkerConfig};
///
/// let identity = Certificate::generate()?;
/// let config = WorkerConfig::new(identity.der().to_vec(), identity.private_key().to_vec());
/// let worker = Worker::start(config)?;
/// worker.request(Request { id: 1, command: Command::CreateRouter { router: RouterId(1) } })?;
/// let mut events = Vec::new();
/// while !events.iter().any(|e| matches!(e, Event::Reply(r) if r.id == 1)) {
///     events.extend(worker.drain_events(100)); // or wait for `event_fd` to be readable
/// }
/// worker.close();
/// assert!(!worker.is_alive());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Worker {
    queues: Arc<Queues>,
    thread: Mutex<Option<JoinHandle<()>>>,
    port: u16,
    index: u32,
}

impl Worker {
    /// Binds the sockets and starts the thread. The first event is `ready`.
    pub fn start(config: WorkerConfig) -> Result<Worker, StartError> {
        let certificate =
            Certificate::from_der(config.certificate.clone(), config.private_key.clone())
                .map_err(|e| StartError::Certificate(e.to_string()))?;
        let sockets = Sockets::bind(&config)?;
        let queues = Arc::new(Queues::new().map_err(system("make an event descriptor"))?);
        let (port, index) = (sockets.port, config.index);
        let (started, outcome) = mpsc::sync_channel(1);
        let inner = Arc::clone(&queues);
        let thread = std::thread::Builder::new()
            .name(format!("sfu-worker-{index}"))
            .spawn(move || {
                report_elsewhere();
                match Loop::new(config, sockets, certificate, Arc::clone(&inner)) {
                    Err(error) => {
                        let _ = started.send(Err(error));
                    }
                    Ok(mut worker) => {
                        let _ = started.send(Ok(()));
                        run(&mut worker, &inner, index);
                    }
                }
            })
            .map_err(system("start a thread"))?;
        let worker = Worker {
            queues,
            thread: Mutex::new(Some(thread)),
            port,
            index,
        };
        match outcome.recv() {
            Ok(Ok(())) => Ok(worker),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StartError::System {
                what: "start the worker's loop",
                source: std::io::Error::other("its thread panicked"),
            }),
        }
    }

    /// Hands over a request; its reply comes as an event. Never waits.
    pub fn request(&self, request: Request) -> Result<(), RequestError> {
        self.queues.request(request)
    }

    /// Takes at most `max` events, oldest first. Never waits.
    pub fn drain_events(&self, max: usize) -> Vec<Event> {
        self.queues.drain_events(max)
    }

    /// A descriptor that polls as readable while events wait. Valid until the worker is dropped; do not
    /// read from it.
    pub fn event_fd(&self) -> RawFd {
        self.queues.event_fd()
    }

    /// The UDP and TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// As configured.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Whether it takes requests.
    pub fn is_alive(&self) -> bool {
        self.queues.is_alive()
    }

    /// Closes all routers, says goodbye to their peers, ends the thread and waits for it. Idempotent.
    /// Events that were not read remain readable.
    pub fn close(&self) {
        self.queues.stop();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // Its panics are caught inside; nothing is left to report.
            let _ = thread.join();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.close();
    }
}

/// Runs the loop to its end and says how it ended.
fn run(worker: &mut Loop, queues: &Queues, index: u32) {
    let last = match catch_unwind(AssertUnwindSafe(|| worker.run())) {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(panic) => Some(message_of(panic.as_ref())),
    };
    queues.end(last.map(|message| Event::Died { index, message }));
}

/// What a panic said.
pub(crate) fn message_of(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    panic
        .downcast_ref::<String>()
        .cloned()
        .unwrap_or_else(|| "panic without a message".into())
}

//! The loop of a worker on the caller's thread, for the bench and the unit tests, and the media they use.
//!
//! # Job
//! Runs exactly what a worker's thread runs (sockets, routers, timers, reports) in slices, with calls whose
//! transports have preset keys. What to measure is the bench's business.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use meeshy_sfu_io::{SendCounters, TrainShape};
use meeshy_sfu_proto::link::{Certificate, CertificateError, SrtpKeys};
use meeshy_sfu_proto::net::Destination;
use meeshy_sfu_proto::router::{
    ConsumerConfig, Endpoint, ProducerConfig, Router, RouterConfig, TransportConfig, TransportKey,
};

use crate::call::{Call, TransportRecord};
use crate::command::{MediaKind, Request, RouterId, TransportId};
use crate::config::{StartError, WorkerConfig, system};
use crate::convert;
use crate::demux::Target;
use crate::queue::{Queues, RequestError};
use crate::run::Loop;
use crate::sockets::Sockets;
use crate::test_media;

/// A configuration with a certificate of its own.
pub fn config() -> Result<WorkerConfig, CertificateError> {
    let identity = Certificate::generate()?;
    Ok(WorkerConfig::new(
        identity.der().to_vec(),
        identity.private_key().to_vec(),
    ))
}

/// A worker without a thread of its own.
pub struct Harness {
    pub(crate) inner: Loop,
    queues: Arc<Queues>,
    local: SocketAddr,
}

impl Harness {
    /// Binds the sockets of `config` and prepares the calling thread.
    pub fn new(config: WorkerConfig) -> Result<Harness, StartError> {
        let certificate =
            Certificate::from_der(config.certificate.clone(), config.private_key.clone())
                .map_err(|e| StartError::Certificate(e.to_string()))?;
        let sockets = Sockets::bind(&config)?;
        let local = SocketAddr::new(config.listen[0], sockets.port);
        let queues = Arc::new(Queues::new().map_err(system("make an event descriptor"))?);
        let inner = Loop::new(config, sockets, certificate, Arc::clone(&queues))?;
        Ok(Harness {
            inner,
            queues,
            local,
        })
    }

    /// Where clients send to.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Adds a call that `build` fills; it gives the transports with the address each receives from.
    pub fn add_call(
        &mut self,
        build: impl FnOnce(&mut Router, Instant) -> Vec<(TransportKey, Destination)>,
    ) {
        let now = Instant::now();
        let epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mut router = Router::new(RouterConfig::new((now, epoch), 1));
        let transports = build(&mut router, now);
        let core = &mut self.inner.core;
        let id = RouterId(core.calls.len() as u64);
        core.calls.insert(Call::new(id, router));
        let Some(position) = core.calls.position(id) else {
            return;
        };
        for (key, from) in transports {
            let mut record = TransportRecord::default();
            let target = Target {
                router: position,
                transport: key.0,
            };
            core.demux
                .enter(&mut record.entries, target, from, |_| true);
            if let Some(call) = core.calls.get_mut(position) {
                call.transports
                    .insert(TransportId(u64::from(key.0)), key.0, record);
            }
        }
        core.mark_dirty(position);
    }

    /// Keeps the send window at its most, whatever the load.
    pub fn hold_window_open(&mut self) {
        self.inner.core.window.hold_open();
    }

    /// Times the send calls of one flush in `every`.
    pub fn time_calls(&mut self, every: u32) {
        self.inner.core.outbox.batch_mut().time_calls(every);
    }

    /// Calls the router of the call added first.
    pub fn with_router(&mut self, act: impl FnOnce(&mut Router, Instant)) {
        if let Some(call) = self.inner.core.calls.get_mut(0) {
            act(&mut call.router, Instant::now());
        }
        self.inner.core.mark_dirty(0);
    }

    /// Remembers the trains sent from now on.
    pub fn record(&mut self) {
        self.inner.core.outbox.batch_mut().record();
    }

    /// What was remembered.
    pub fn recorded(&mut self) -> Vec<TrainShape> {
        self.inner.core.outbox.batch_mut().recorded()
    }

    /// Works until `deadline`.
    pub fn run_until(&mut self, deadline: Instant) -> io::Result<()> {
        while Instant::now() < deadline {
            self.inner.round()?;
        }
        // Nothing else reads them.
        self.queues.drain_events(usize::MAX);
        Ok(())
    }

    /// Hands over a request, as the control plane does.
    pub fn request(&mut self, request: Request) -> Result<(), RequestError> {
        self.queues.request(request)
    }

    /// Requests carried out since the start.
    pub fn requests(&self) -> u64 {
        self.inner.core.totals.requests
    }

    /// Rounds since the start: how often the worker woke.
    pub fn rounds(&self) -> u64 {
        self.inner.core.totals.rounds
    }

    /// One round; it waits for as long as nothing is to be done.
    pub fn round(&mut self) -> io::Result<()> {
        self.inner.round()
    }

    /// Totals of sending.
    pub fn sent(&mut self) -> SendCounters {
        self.inner.core.outbox.batch_mut().counters()
    }

    /// RTP packets forwarded, and datagrams received.
    pub fn forwarded(&mut self) -> (u64, u64) {
        let stats = self.inner.core.snapshot(Instant::now());
        (stats.forwarded, stats.packets_in)
    }

    /// What was dropped, by reason.
    pub fn drops(&mut self) -> std::collections::BTreeMap<String, u64> {
        self.inner.core.snapshot(Instant::now()).drops
    }
}

/// A transport whose keys and destination are known from the start.
pub fn preset_transport(
    keys: SrtpKeys,
    destination: Destination,
    padding: bool,
) -> TransportConfig {
    TransportConfig {
        endpoint: Endpoint::Preset { keys, destination },
        max_incoming_bps: None,
        padding,
    }
}

/// A producer of opus or VP8 with one stream.
pub fn producer(video: bool, ssrc: u32) -> ProducerConfig {
    let mut wanted = test_media::produce(0, 0, 0, kind(video), ssrc);
    // The generator of media sends no retransmissions.
    for encoding in &mut wanted.encodings {
        encoding.rtx_ssrc = None;
    }
    convert::producer(wanted).expect("invariant: the test media is well-formed")
}

/// A paused consumer of such a producer.
pub fn consumer(video: bool, (ssrc, rtx_ssrc): (u32, u32), mid: String) -> ConsumerConfig {
    let mut wanted = test_media::consume_one(0, 0, kind(video), ssrc);
    wanted.rtx_ssrc = video.then_some(rtx_ssrc);
    wanted.mid = mid;
    wanted.paused = true;
    convert::consumer(wanted)
}

fn kind(video: bool) -> MediaKind {
    if video {
        MediaKind::Video
    } else {
        MediaKind::Audio
    }
}

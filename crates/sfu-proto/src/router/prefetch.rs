//! Fetching from far memory ahead of use: what the next packets need, while others are worked on.
//!
//! # Job
//! Names the state that a packet leads to, for the sink to bring near. It reads, decides nothing and changes
//! nothing; a packet that is not looked ahead for costs time and no more.
//!
//! # Cost
//! On the way in, state hangs together by keys: a step reads what the step before had fetched, so all packets
//! of a batch take one step before any takes the next. About 10 ns per packet and step.

use super::Router;
use super::config::TransportKey;
use super::transport::{FLUSH_HEAD, INPUT_HEAD, Item};
use crate::net::{Class, Sink, classify};

/// Bytes of a pending list that one window is likely to fill.
const NEW_ITEMS: usize = 12 * size_of::<Item>();

/// How far a look ahead goes, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefetchStep {
    /// The transport a datagram belongs to.
    Transport,
    /// The SSRCs known there, their replay windows, the list of arrivals.
    Routes,
    /// The stream its SSRC names.
    Stream,
    /// The producer, and the place in the history.
    Producer,
    /// What the producer announced, and who receives it.
    Receivers,
    /// The transports of the receivers.
    Lists,
    /// The ends of their pending lists.
    Ends,
}

impl PrefetchStep {
    /// All steps.
    pub const STEPS: [PrefetchStep; 7] = [
        PrefetchStep::Transport,
        PrefetchStep::Routes,
        PrefetchStep::Stream,
        PrefetchStep::Producer,
        PrefetchStep::Receivers,
        PrefetchStep::Lists,
        PrefetchStep::Ends,
    ];

    /// The first packet of a batch takes this step for all: they go to much the same places.
    #[must_use]
    pub fn is_shared(self) -> bool {
        matches!(self, PrefetchStep::Lists | PrefetchStep::Ends)
    }
}

impl Router {
    /// Takes one step ahead for a datagram that will be handled soon; nothing unless it is RTP.
    #[inline]
    pub fn prefetch<S: Sink>(
        &mut self,
        transport: TransportKey,
        datagram: &[u8],
        step: PrefetchStep,
        sink: &S,
    ) {
        if step == PrefetchStep::Transport {
            if let Some(place) = self.transports.place(transport.0) {
                sink.prefetch(place, INPUT_HEAD);
            }
            return;
        }
        if classify(datagram) != Class::Rtp {
            return;
        }
        let ssrc = u32::from_be_bytes([datagram[8], datagram[9], datagram[10], datagram[11]]);
        let Some(entry) = self.transports.get(transport.0) else {
            return;
        };
        if step == PrefetchStep::Routes {
            sink.prefetch(entry.routes.as_slice(), usize::MAX);
            if let Some(rx) = &entry.rx {
                sink.prefetch(rx.rtp_windows(), usize::MAX);
            }
            if let Some(arrivals) = &entry.arrivals {
                arrivals.prefetch(sink);
            }
            return;
        }
        let Some(s) = entry.route(ssrc).map(|route| route.stream) else {
            return;
        };
        if step == PrefetchStep::Stream {
            if let Some(place) = self.streams.place(s) {
                sink.prefetch(place, usize::MAX);
            }
            return;
        }
        let Some(stream) = self.streams.get(s) else {
            return;
        };
        if step == PrefetchStep::Producer {
            if let Some(place) = self.producers.place(stream.producer) {
                sink.prefetch(place, usize::MAX);
            }
            stream.prefetch(datagram.len(), sink);
            return;
        }
        let Some(producer) = self.producers.get(stream.producer) else {
            return;
        };
        if step == PrefetchStep::Receivers {
            sink.prefetch(producer.codecs.as_slice(), usize::MAX);
            sink.prefetch(producer.receivers.as_slice(), usize::MAX);
            if let Some(speaker) = producer.speaker {
                self.observers.prefetch(speaker, sink);
            }
            return;
        }
        // The first packet of a window finds the lists as the last flush left them.
        if self.pending > 0 {
            return;
        }
        for receiver in &producer.receivers {
            if step == PrefetchStep::Lists {
                if let Some(place) = self.transports.place(receiver.transport) {
                    sink.prefetch(place, 1);
                }
            } else if let Some(transport) = self.transports.get_mut(receiver.transport) {
                sink.prefetch(transport.pending.spare_capacity_mut(), NEW_ITEMS);
            }
        }
    }

    /// What the flush of the destination at `position` is followed by: of the next one the consumers, of the one
    /// behind it the transport, which leads to its consumers.
    #[inline]
    pub(super) fn prefetch_for_flush<S: Sink>(&self, position: usize, sink: &S) {
        let transport = |t: &u32| self.transports.place(*t);
        if let Some(place) = self.dirty.get(position + 2).and_then(transport) {
            sink.prefetch(place, FLUSH_HEAD);
        }
        let Some(Some(transport)) = self.dirty.get(position + 1).and_then(transport) else {
            return;
        };
        for item in &transport.pending {
            if let Some(place) = self.consumers.place(item.consumer) {
                sink.prefetch(place, usize::MAX);
            }
        }
    }
}

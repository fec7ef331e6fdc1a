//! Prefetches the state that the next packets need, while others are processed.
//!
//! # Job
//! Names the state a packet leads to; the sink prefetches it. Reads only, and changes nothing: a packet without a
//! prefetch costs more time and is otherwise the same.
//!
//! # Cost
//! On the way in, objects are reached through keys, so each step reads what the step before has prefetched: all
//! packets of a batch take one step before any takes the next. About 10 ns per packet and step.

use super::Router;
use super::config::TransportKey;
use super::transport::{FLUSH_HEAD, INPUT_HEAD, Item};
use crate::net::{Class, Sink, classify};

/// Bytes of a pending list that one flush window usually fills.
const NEW_ITEMS: usize = 12 * size_of::<Item>();

/// The steps of a prefetch, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefetchStep {
    /// The transport the datagram belongs to.
    Transport,
    /// Its routes, its replay windows and its arrival log.
    Routes,
    /// The stream of the packet's SSRC.
    Stream,
    /// The producer, and the packet's slot in the ring.
    Producer,
    /// The producer's codecs and list of receivers.
    Receivers,
    /// The receivers' transports.
    Lists,
    /// The ends of the receivers' pending lists.
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

    /// Whether the first packet of a batch takes this step for all of them: most packets of a batch lead to the same
    /// receivers.
    #[must_use]
    pub fn is_shared(self) -> bool {
        matches!(self, PrefetchStep::Lists | PrefetchStep::Ends)
    }
}

impl Router {
    /// Takes one prefetch step for a datagram that will be handled soon. Does nothing unless it is RTP.
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
        // Only the first packet of a window needs this; later ones find the lists in the caches.
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

    /// Called while the destination at `position` is flushed: prefetches the consumers of the next destination and
    /// the transport of the one after it.
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

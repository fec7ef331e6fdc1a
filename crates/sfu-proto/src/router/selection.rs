//! Which encoding of a producer each consumer gets.
//!
//! # Job
//! Takes the preferences of consumers, chooses anew when an encoding comes or goes, and reports changes. `layers`
//! decides; a switch itself happens in `egress`, at a key frame.
//!
//! # Cost
//! Proportional to the consumers of the producer, when one of its encodings comes or goes or a preference changes.

use std::time::Instant;

use super::Router;
use super::clock::Micros;
use super::config::{ConsumerKey, RouterError};
use super::event::RouterEvent;
use super::layers::{HIGHEST, Layers, target_encoding};

impl Router {
    /// Sets the highest layers that are sent to a consumer; `None` asks for the highest there are. Without a live
    /// encoding up to the preferred one the lowest live one above it is sent. A change waits for a key frame, which is
    /// requested.
    pub fn set_preferred_layers(
        &mut self,
        consumer: ConsumerKey,
        preferred: Option<Layers>,
        now: Instant,
    ) -> Result<(), RouterError> {
        let at = self.clock.micros(now);
        let entry = self
            .consumers
            .get_mut(consumer.0)
            .ok_or(RouterError::Unknown)?;
        entry.details.preferred = preferred;
        let producer = entry.producer;
        self.choose_encoding(producer, None, at);
        Ok(())
    }

    /// Returns the layers that are sent to a consumer. `None` before the first packet, while it is paused, for a
    /// producer with a single encoding, and for an unknown consumer.
    pub fn current_layers(&self, consumer: ConsumerKey) -> Option<Layers> {
        let entry = self.consumers.get(consumer.0)?;
        let producer = self.producers.get(entry.producer)?;
        let spatial = entry
            .current_encoding()
            .filter(|_| producer.streams.len() > 1)?;
        Some(Layers {
            spatial,
            temporal: None,
        })
    }

    /// Reports what changed since the last call.
    #[cold]
    pub(super) fn report_layers(&mut self) {
        while let Some(c) = self.layer_changes.pop() {
            let encodings = self
                .consumers
                .get(c)
                .and_then(|entry| self.producers.get(entry.producer))
                .map_or(0, |producer| producer.streams.len());
            if encodings > 1 {
                let consumer = ConsumerKey(c);
                let layers = self.current_layers(consumer);
                self.events
                    .push_back(RouterEvent::LayersChanged { consumer, layers });
            }
        }
    }

    /// Called when a stream of a producer became active or inactive, or a preference changed: chooses the encoding of
    /// each consumer anew. `arrived` is the stream whose newest packet still waits for the flush.
    pub(super) fn choose_encoding(&mut self, p: u32, arrived: Option<u32>, now: Micros) {
        let Some(producer) = self
            .producers
            .get_mut(p)
            .filter(|one| one.streams.len() > 1)
        else {
            return;
        };
        let lives = producer.streams.iter().map(|s| self.streams[*s].liveness());
        producer.default_encoding =
            target_encoding(lives.clone(), HIGHEST, producer.default_encoding);
        // Bit by encoding: an active consumer began to wait for its key frame.
        let mut awaited = 0_u64;
        for key in &producer.consumers {
            let consumer = &mut self.consumers[*key];
            if consumer.choose_encoding(lives.clone()) && consumer.is_active() {
                awaited |= 1 << (consumer.wanted_encoding() % 64);
            }
        }
        for encoding in 0..self.producers[p].streams.len() {
            let s = self.producers[p].streams[encoding];
            // The packet that made the encoding active may itself be the key frame. One that arrived before was dropped.
            let begins = arrived == Some(s) && self.streams[s].newest_is_key_frame();
            if awaited & (1 << (encoding % 64)) != 0 && !begins {
                self.request_stream_key_frame(s, now);
            }
        }
    }
}

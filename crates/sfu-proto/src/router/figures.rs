//! Statistics: read-only views for operators and the control plane, computed on request.

use std::time::{Duration, Instant};

use super::Router;
use super::config::{ConsumerKey, ProducerKey, TransportKey};
use super::consumer::Consumer;
use super::event::{
    ConsumerStats, RouterEvent, RouterStats, StreamScore, StreamStats, TransportStats,
};
use super::rtx::Resends;
use super::stream::StreamRx;
use crate::bwe::BandwidthEstimator;

/// Converts a span of RTP time.
fn duration_of(ticks: u32, clock_rate: u32) -> Duration {
    Duration::from_micros(u64::from(ticks) * 1_000_000 / u64::from(clock_rate.max(1)))
}

impl Router {
    /// Returns the totals of the router.
    pub fn stats(&self) -> RouterStats {
        RouterStats {
            ring_bytes: self
                .streams
                .iter()
                .map(|(_, stream)| stream.ring.bytes())
                .sum(),
            transports: self.transports.len(),
            producers: self.producers.len(),
            consumers: self.consumers.len(),
            ..self.stats
        }
    }

    /// Returns the statistics of a transport, if it is open.
    pub fn transport_stats(&self, transport: TransportKey) -> Option<TransportStats> {
        let entry = self.transports.get(transport.0)?;
        Some(TransportStats {
            remb_bps: entry.estimator.remb_bps(),
            budget_bps: entry.estimator.budget_bps(),
            reported_loss: entry.estimator.loss(),
            ..entry.stats.clone()
        })
    }

    /// Measures the rate of each stream; to be called once a second or so.
    pub fn measure_rates(&mut self, now: Instant) {
        let now = self.clock.micros(now);
        for (_, stream) in self.streams.iter_mut() {
            stream.rate.measure(stream.counters.bytes, now);
        }
    }

    /// Returns the statistics of a producer's streams in the order of its encodings, if it is open.
    pub fn producer_stats(&self, producer: ProducerKey) -> Option<Vec<StreamStats>> {
        let entry = self.producers.get(producer.0)?;
        Some(
            entry
                .streams
                .iter()
                .map(|s| stream_stats(&self.streams[*s]))
                .collect(),
        )
    }

    /// Returns the scores of those streams of a producer that have received media, if it is open.
    pub fn producer_scores(&self, producer: ProducerKey) -> Option<Vec<StreamScore>> {
        let entry = self.producers.get(producer.0)?;
        let streams = entry.streams.iter().map(|s| &self.streams[*s]);
        let received = streams.enumerate().filter(|(_, stream)| stream.has_media());
        Some(
            received
                .map(|(encoding, stream)| StreamScore {
                    encoding,
                    ssrc: stream.ssrc,
                    rid: stream.rid.clone(),
                    score: stream.score.value(),
                })
                .collect(),
        )
    }

    /// Returns the statistics of a consumer, if it is open.
    pub fn consumer_stats(&self, consumer: ConsumerKey) -> Option<ConsumerStats> {
        let entry = self.consumers.get(consumer.0)?;
        let stream = self.source_of(entry)?;
        Some(ConsumerStats {
            ssrc: entry.ssrc,
            packets: entry.packets,
            bytes: entry.bytes,
            lost: entry.details.reported.lost,
            fraction_lost: entry.details.reported.fraction_lost,
            nacks: entry.details.requests.nacks,
            nacked_packets: entry.details.requests.nacked_packets,
            retransmitted: entry.details.resends.as_ref().map_or(0, Resends::count),
            key_frame_requests: entry.details.requests.key_frames,
            jitter: duration_of(entry.details.reported.jitter, stream.clock_rate),
            rtt: entry.details.reported.rtt.map(Duration::from_micros),
            score: entry.details.score.value(),
            producer_score: stream.score.value(),
            paused: entry.details.paused,
            producer_paused: entry.details.producer_paused,
        })
    }

    /// Returns the volumes of the last interval in dBov, loudest first; empty means silence.
    pub fn volumes(&self) -> &[(ProducerKey, i8)] {
        self.observers.volumes()
    }

    /// Returns the dominant speaker.
    pub fn active_speaker(&self) -> Option<ProducerKey> {
        self.observers.dominant()
    }

    pub(super) fn consumer_score_event(&self, consumer: ConsumerKey) -> Option<RouterEvent> {
        let entry = self.consumers.get(consumer.0)?;
        let stream = self.source_of(entry)?;
        Some(RouterEvent::ConsumerScore {
            consumer,
            score: entry.details.score.value(),
            producer_score: stream.score.value(),
        })
    }

    fn source_of(&self, consumer: &Consumer) -> Option<&StreamRx> {
        let producer = self.producers.get(consumer.producer)?;
        let s = producer
            .streams
            .get(usize::from(consumer.sent_encoding()))?;
        self.streams.get(*s)
    }
}

fn stream_stats(stream: &StreamRx) -> StreamStats {
    let counters = &stream.counters;
    StreamStats {
        ssrc: stream.ssrc,
        rtx_ssrc: stream.rtx_ssrc,
        rid: stream.rid.clone(),
        packets: counters.packets,
        bytes: counters.bytes,
        bitrate_bps: stream.rate.bps(),
        lost: stream.lost(),
        fraction_lost: stream.fraction_lost,
        padding_only: counters.padding_only,
        nacks: counters.nacks,
        nacked_packets: counters.nacked_packets,
        repaired: counters.repaired,
        rtx_packets: counters.rtx_packets,
        key_frame_requests: counters.key_frame_requests,
        key_frames: counters.key_frames,
        jitter: duration_of(stream.jitter(), stream.clock_rate),
        rtt: stream.rtt.map(Duration::from_micros),
        score: stream.score.value(),
        ring_bytes: stream.ring.bytes(),
    }
}

//! Figures: the worker's totals and what a router's objects count.
//!
//! # Job
//! Adds up sockets, routers (also those closed since) and the thread's clock into a snapshot, and describes
//! a router for `dump`. Nothing here runs per packet.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use meeshy_sfu_io::clock::thread_cpu;
use meeshy_sfu_proto::router::{
    ConsumerKey, ConsumerStats, Drops, ProducerKey, RouterStats, StreamStats, TransportKey,
    TransportStats,
};
use serde_json::{Value, json};

use crate::command::{CommandError, Layers, MediaKind};
use crate::convert::{dtls_state, ice_state, layers_of};
use crate::core::Core;
use crate::event::{ConsumerDump, Event, ProducerDump, RouterDump, Stats, TransportDump};
use crate::metrics;
use crate::totals::add_drops;

impl Core {
    /// Reports the totals as an event.
    pub(crate) fn report(&mut self, now: Instant) {
        for call in self.calls.iter_mut() {
            call.router.measure_rates(now);
        }
        let stats = self.snapshot(now);
        self.totals.trains_before = self.outbox.trains();
        self.queues.push(Event::Stats(Box::new(stats)));
    }

    /// The totals at this moment.
    pub(crate) fn snapshot(&mut self, now: Instant) -> Stats {
        let counters = self.outbox.counters();
        let (gso, gro) = self.outbox.offloads();
        let (datagrams, trains) = self.outbox.trains();
        let before = self.totals.trains_before;
        let since = (datagrams - before.0, trains - before.1);
        let mut all = RouterStats::default();
        let (mut drops, mut routed) = (self.totals.drops, self.totals.routed);
        let mut routers = 0;
        for call in self.calls.iter() {
            let one = call.router.stats();
            routers += 1;
            all.packets_out += one.packets_out - one.retransmitted;
            all.ring_bytes += one.ring_bytes;
            all.transports += one.transports;
            all.producers += one.producers;
            all.consumers += one.consumers;
            add_drops(&mut drops, &one.drops);
            routed.add(&one.counters);
        }
        let (tcp_dropped, tcp_refused) = self.outbox.connections.losses();
        let totals = &self.totals;
        let mut reasons = reasons(&drops);
        let mut count = |reason: &str, count: u64| {
            *reasons.entry(reason.to_owned()).or_default() += count;
        };
        count("unknown_class", totals.unknown_class);
        count("unknown_source", totals.unknown_source);
        count("truncated", totals.truncated);
        count(
            "receive_buffer_full",
            totals.kernel_drops.iter().map(|&n| u64::from(n)).sum(),
        );
        count("send_buffer_full", counters.dropped_full);
        count("send_refused", counters.dropped_refused);
        count("no_socket", self.outbox.without_socket());
        count("tcp_buffer_full", tcp_dropped);
        count("tcp_refused", tcp_refused + totals.tcp_failed);
        reasons.retain(|_, count| *count > 0);
        let mut stats = Stats {
            index: self.config.index,
            uptime_ms: now.saturating_duration_since(totals.started).as_millis() as u64,
            cpu_ns: thread_cpu().as_nanos() as u64,
            load: self.window.load(),
            packets_in: totals.packets_in,
            bytes_in: totals.bytes_in,
            packets_out: counters.datagrams,
            bytes_out: counters.bytes,
            forwarded: totals.forwarded + all.packets_out,
            trains_out: counters.trains,
            mean_train: if since.1 == 0 {
                0.0
            } else {
                since.0 as f64 / since.1 as f64
            },
            gso,
            gro,
            window_us: self.window.length().as_micros() as u32,
            drops: reasons,
            rings_bytes: all.ring_bytes as u64,
            routers,
            transports: all.transports as u64,
            producers: all.producers as u64,
            consumers: all.consumers as u64,
            tcp_connections: self.outbox.connections.len() as u64,
            remotes: self.demux.remotes() as u64,
            transport_panics: totals.counted.transport_panics,
            events_dropped: self.queues.dropped(),
            metrics: Vec::new(),
        };
        stats.metrics = metrics::series(&stats, &totals.counted, &routed, self.outbox.delays());
        stats
    }

    /// A router with the counters of all in it.
    pub(crate) fn dump(&mut self, position: u32) -> Result<RouterDump, CommandError> {
        let call = self.call(position)?;
        let id = call.id;
        let mut transports = Vec::new();
        let keys: Vec<_> = call
            .transports
            .iter()
            .map(|(key, id, _)| (key, id))
            .collect();
        for (key, transport) in keys {
            let call = self.call(position)?;
            let key = TransportKey(key);
            let Some(link) = call.router.link(key) else {
                continue;
            };
            let (ice, dtls, selected) = (link.ice_state(), link.dtls_state(), link.selected());
            let stats = call
                .router
                .transport_stats(key)
                .map(|s| transport_value(&s));
            transports.push(TransportDump {
                transport,
                ice_state: ice_state(ice),
                dtls_state: dtls_state(dtls),
                selected: selected.and_then(|to| self.outbox.tuple(to)),
                stats: stats.unwrap_or_default(),
            });
        }
        let call = self.call(position)?;
        let producers = call.producers.iter().map(|(key, producer, record)| {
            let streams = call.router.producer_stats(ProducerKey(key));
            let streams = streams.unwrap_or_default();
            ProducerDump {
                producer,
                transport: record.transport,
                kind: if record.video {
                    MediaKind::Video
                } else {
                    MediaKind::Audio
                },
                stats: json!({
                    "streams": streams.iter().map(stream_value).collect::<Vec<Value>>(),
                    "bitrate_by_layer": bitrate_by_layer(&streams),
                }),
            }
        });
        let consumers = call.consumers.iter().map(|(key, consumer, record)| {
            let key = ConsumerKey(key);
            let layers = call.router.current_layers(key).map(layers_of);
            let stats = call.router.consumer_stats(key);
            ConsumerDump {
                consumer,
                producer: record.producer,
                transport: record.transport,
                stats: stats
                    .map(|s| consumer_value(&s, layers))
                    .unwrap_or_default(),
            }
        });
        Ok(RouterDump {
            router: id,
            transports,
            producers: producers.collect(),
            consumers: consumers.collect(),
        })
    }
}

fn reasons(drops: &Drops) -> BTreeMap<String, u64> {
    let named = [
        ("unknown_class", drops.unknown_class),
        ("unknown_source", drops.unknown_source),
        ("no_keys", drops.no_keys),
        ("malformed", drops.malformed),
        ("unknown_stream", drops.unknown_stream),
        ("not_authentic", drops.not_authentic),
        ("replayed", drops.replayed),
        ("oversize", drops.oversize),
        ("late", drops.late),
        ("producer_paused", drops.paused),
        ("consumer_unready", drops.unready),
        ("excessive_feedback", drops.excessive),
    ];
    named
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
}

fn transport_value(s: &TransportStats) -> Value {
    json!({
        "packets_in": s.packets_in,
        "bytes_in": s.bytes_in,
        "packets_out": s.packets_out,
        "bytes_out": s.bytes_out,
        "remb_bps": s.remb_bps,
        "reported_loss": s.reported_loss,
        "rtt_ms": s.rtt.map(millis),
    })
}

/// The measured rate of each spatial layer by its number; of simulcast these are the encodings.
fn bitrate_by_layer(streams: &[StreamStats]) -> BTreeMap<String, u64> {
    let rates = streams.iter().map(|s| s.bitrate_bps);
    rates
        .enumerate()
        .map(|(layer, bps)| (layer.to_string(), bps))
        .collect()
}

fn stream_value(s: &StreamStats) -> Value {
    json!({
        "ssrc": s.ssrc,
        "rtx_ssrc": s.rtx_ssrc,
        "rid": s.rid,
        "packets": s.packets,
        "bytes": s.bytes,
        "bitrate_bps": s.bitrate_bps,
        "lost": s.lost,
        "fraction_lost": s.fraction_lost,
        "padding_only": s.padding_only,
        "nacks": s.nacks,
        "nacked_packets": s.nacked_packets,
        "repaired": s.repaired,
        "rtx_packets": s.rtx_packets,
        "key_frame_requests": s.key_frame_requests,
        "key_frames": s.key_frames,
        "jitter_ms": millis(s.jitter),
        "rtt_ms": s.rtt.map(millis),
        "score": s.score,
        "ring_bytes": s.ring_bytes,
    })
}

fn consumer_value(s: &ConsumerStats, layers: Option<Layers>) -> Value {
    json!({
        "ssrc": s.ssrc,
        "packets": s.packets,
        "bytes": s.bytes,
        "lost": s.lost,
        "fraction_lost": s.fraction_lost,
        "nacks": s.nacks,
        "nacked_packets": s.nacked_packets,
        "retransmitted": s.retransmitted,
        "key_frame_requests": s.key_frame_requests,
        "jitter_ms": millis(s.jitter),
        "rtt_ms": s.rtt.map(millis),
        "score": s.score,
        "producer_score": s.producer_score,
        "paused": s.paused,
        "producer_paused": s.producer_paused,
        "current_layers": layers,
    })
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

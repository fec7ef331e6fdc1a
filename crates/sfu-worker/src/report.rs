//! Router events as events of the worker.
//!
//! # Job
//! Takes a router's events after it was called, keeps handles and addresses in step, and reports to the
//! control plane with the caller's handles.
//!
//! # Invariants
//! - Events of a router are taken before any of its keys can be given out again.

use std::time::Instant;

use meeshy_sfu_proto::link::DtlsVersion;
use meeshy_sfu_proto::router::{RouterEvent, TransportKey};

use crate::call::Call;
use crate::command::ConsumerId;
use crate::convert::{dtls_state, ice_state, layers_of, profile_name};
use crate::core::Core;
use crate::demux::Target;
use crate::event::{Event, StreamScore, Volume};
use crate::outbox::Outbox;

impl Core {
    /// Drains the events of the router at `position` and reports them.
    pub(crate) fn events_of(&mut self, position: u32, now: Instant) {
        while let Some(call) = self.calls.get_mut(position)
            && let Some(event) = call.router.poll_event()
        {
            let router = call.id;
            match event {
                RouterEvent::TransportClosed { transport, reason } => {
                    let id = call.transports.id(transport.0);
                    let target = Target {
                        router: position,
                        transport: transport.0,
                    };
                    self.forget_transport(target, now);
                    if let Some(transport) = id {
                        self.queues.push(Event::TransportClosed {
                            router,
                            transport,
                            reason,
                        });
                    }
                }
                RouterEvent::IceRestarted { transport } => {
                    self.enter_fragments(position, transport);
                }
                RouterEvent::ProducerClosed { producer } => {
                    call.producers.remove(producer.0);
                }
                RouterEvent::ConsumerClosed { consumer } => {
                    call.consumers.remove(consumer.0);
                }
                other => {
                    if let Some(event) = translate(call, &self.outbox, other) {
                        self.queues.push(event);
                    }
                }
            }
        }
    }
}

/// Converts an event that changes nothing here.
fn translate(call: &Call, outbox: &Outbox, event: RouterEvent) -> Option<Event> {
    let router = call.id;
    Some(match event {
        RouterEvent::TransportIce {
            transport,
            state,
            selected,
        } => Event::TransportIce {
            router,
            transport: call.transports.id(transport.0)?,
            state: ice_state(state),
            selected: selected.and_then(|to| outbox.tuple(to)),
        },
        RouterEvent::TransportDtls {
            transport,
            state,
            profile,
        } => Event::TransportDtls {
            router,
            transport: call.transports.id(transport.0)?,
            state: dtls_state(state),
            reason: None,
            srtp_profile: profile.map(profile_name),
            dtls_version: version(call, transport),
        },
        RouterEvent::MediaStarted { transport } => Event::TransportMedia {
            router,
            transport: call.transports.id(transport.0)?,
        },
        RouterEvent::ProducerScore { producer } => Event::ProducerScore {
            router,
            producer: call.producers.id(producer.0)?,
            scores: call
                .router
                .producer_scores(producer)
                .unwrap_or_default()
                .into_iter()
                .filter_map(|s| {
                    Some(StreamScore {
                        encoding_idx: s.encoding as u32,
                        ssrc: s.ssrc?,
                        rid: s.rid,
                        score: s.score,
                    })
                })
                .collect(),
        },
        RouterEvent::ConsumerScore {
            consumer,
            score,
            producer_score,
        } => {
            let consumer = call.consumers.id(consumer.0)?;
            Event::ConsumerScore {
                router,
                consumer,
                score,
                producer_score,
                producer_scores: producer_scores(call, consumer),
            }
        }
        RouterEvent::LayersChanged { consumer, layers } => Event::LayersChanged {
            router,
            consumer: call.consumers.id(consumer.0)?,
            layers: layers.map(layers_of),
        },
        RouterEvent::Volumes => Event::Volumes {
            router,
            volumes: call
                .router
                .volumes()
                .iter()
                .filter_map(|(key, volume)| {
                    let producer = call.producers.id(key.0)?;
                    Some(Volume {
                        producer,
                        volume: i32::from(*volume),
                    })
                })
                .collect(),
        },
        RouterEvent::ActiveSpeaker { producer } => Event::ActiveSpeaker {
            router,
            producer: producer.and_then(|key| call.producers.id(key.0)),
        },
        _ => return None,
    })
}

fn producer_scores(call: &Call, consumer: ConsumerId) -> Vec<u8> {
    let record = call
        .consumers
        .key(consumer)
        .and_then(|key| call.consumers.record(key));
    let key = record.and_then(|record| call.producer_key(record.producer));
    let scores = key
        .and_then(|key| call.router.producer_scores(key))
        .unwrap_or_default();
    scores.into_iter().map(|s| s.score).collect()
}

fn version(call: &Call, transport: TransportKey) -> Option<String> {
    let version = call.router.link(transport)?.dtls_version()?;
    Some(
        match version {
            DtlsVersion::V1_2 => "1.2",
            DtlsVersion::V1_3 => "1.3",
        }
        .to_owned(),
    )
}

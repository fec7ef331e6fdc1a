//! Requests: what each command does.
//!
//! # Job
//! Looks up handles, calls the routers, answers. Values that only this layer sees (codec names, extension
//! URIs, hash names) are converted in `convert`.
//!
//! # Invariants
//! - Every request is answered exactly once; a refused one has changed nothing.
//! - Garbage in a request is an error reply, never a panic.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use meeshy_sfu_proto::link::{IceParameters as LinkCredentials, Link};
use meeshy_sfu_proto::router::{
    ConsumerKey, Endpoint, Router, RouterConfig, RouterError, TransportConfig, TransportKey,
};
use serde::Serialize;
use serde_json::Value;

use crate::call::{Call, ConsumerRecord, ProducerRecord, TransportRecord};
use crate::command::{
    Command, CommandError, ConsumeOne, ConsumeResult, ConsumeResults, ConsumerId, CreateTransport,
    DtlsRole, Empty, ErrorCode, Fingerprint, IceParameters, Layers, MediaKind, Produce, ProducerId,
    Request, RouterId, Touched, TransportConnected, TransportCreated, TransportId,
};
use crate::convert;
use crate::core::Core;
use crate::demux::Target;
use crate::event::Reply;
use crate::faults::{Fault, FaultLog, Faults};
use crate::share::Share;

type Answer = Result<Value, CommandError>;

impl Core {
    /// Carries out requests that wait; those beyond the share keep the bell ringing.
    pub(crate) fn carry_out(&mut self, now: Instant, mut share: Share<impl FnMut() -> Instant>) {
        // Keys that a router gave up in this round must leave the maps before it gives them out again.
        self.drain_events(now);
        while let Some(Request { id, command }) = self.queues.next_request() {
            self.totals.requests += 1;
            let (ok, error) = match self.execute(command, now) {
                Ok(value) => (Some(value), None),
                Err(error) => (None, Some(error)),
            };
            self.queues.answer(Reply { id, ok, error });
            if share.is_used_up() {
                return;
            }
        }
    }

    fn execute(&mut self, command: Command, now: Instant) -> Answer {
        match command {
            Command::CreateRouter { router } => self.create_router(router, now),
            Command::CloseRouter { router } => {
                let position = self.position(router)?;
                self.close_call(position, now);
                answer(&Empty {})
            }
            Command::CreateTransport(wanted) => self.create_transport(&wanted, now),
            Command::ConnectTransport {
                router,
                transport,
                role,
                fingerprints,
            } => self.connect(router, transport, role, &fingerprints, now),
            Command::RestartIce { router, transport } => self.restart_ice(router, transport, now),
            Command::SetMaxIncomingBitrate {
                router,
                transport,
                bps,
            } => {
                let (position, key) = self.transport(router, transport)?;
                self.call(position)?
                    .router
                    .set_max_incoming_bitrate(key, bps.unwrap_or(0), now)
                    .map_err(|e| convert::router_error(&e))?;
                self.mark_dirty(position);
                answer(&Empty {})
            }
            Command::CloseTransport { router, transport } => {
                let (position, key) = self.transport(router, transport)?;
                self.close_transport(position, key, now);
                answer(&Empty {})
            }
            Command::Produce(wanted) => self.produce(wanted, now),
            Command::PauseProducer { router, producer } => {
                self.pause_producer(router, producer, true, now)
            }
            Command::ResumeProducer { router, producer } => {
                self.pause_producer(router, producer, false, now)
            }
            Command::CloseProducer { router, producer } => {
                self.close_producer(router, producer, now)
            }
            Command::Consume {
                router,
                transport,
                consumers,
            } => self.consume(router, transport, consumers, now),
            Command::PauseConsumers { router, consumers } => {
                self.each_consumer(router, &consumers, |call, key| {
                    call.router.set_consumer_paused(key, true, now)
                })
            }
            Command::ResumeConsumers { router, consumers } => {
                self.each_consumer(router, &consumers, |call, key| {
                    call.router.set_consumer_paused(key, false, now)
                })
            }
            Command::CloseConsumers { router, consumers } => {
                self.each_consumer(router, &consumers, |call, key| {
                    call.router.close_consumer(key);
                    call.consumers.remove(key.0);
                    Ok::<(), RouterError>(())
                })
            }
            Command::RequestKeyFrame { router, consumers } => {
                self.each_consumer(router, &consumers, |call, key| {
                    call.router.request_key_frame(key, now)
                })
            }
            Command::SetPreferredLayers {
                router,
                consumer,
                layers,
            } => self.set_preferred_layers(router, consumer, layers, now),
            Command::Stats {} => answer(&self.snapshot(now)),
            Command::Dump { router } => {
                let position = self.position(router)?;
                answer(&self.dump(position)?)
            }
            Command::Panic { transport } => self.panic(transport, now),
            Command::InjectFaults { seed, faults } => self.inject_faults(seed, faults, now),
            Command::FaultLog {} => match &self.faults {
                Some(faults) => answer(faults.log()),
                None => answer(&FaultLog::default()),
            },
        }
    }

    fn create_router(&mut self, id: RouterId, now: Instant) -> Answer {
        let epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let seed = u64::from_ne_bytes(convert::random());
        let router = Router::new(RouterConfig::new((now, epoch), seed));
        if !self.calls.insert(Call::new(id, router)) {
            return Err(taken("router", id.0));
        }
        answer(&Empty {})
    }

    /// Closes a call and all that hangs on it.
    pub(crate) fn close_call(&mut self, position: u32, now: Instant) {
        let Some(call) = self.calls.get_mut(position) else {
            return;
        };
        let keys: Vec<u32> = call.transports.iter().map(|(key, _, _)| key).collect();
        for key in keys {
            self.close_transport(position, TransportKey(key), now);
        }
        let Some(call) = self.calls.get_mut(position) else {
            return;
        };
        // Farewells leave before what they are sealed with does.
        call.router.flush(now, &mut self.outbox);
        self.totals.retire(&call.router.stats());
        self.calls.remove(position);
    }

    fn create_transport(&mut self, wanted: &CreateTransport, now: Instant) -> Answer {
        let position = self.position(wanted.router)?;
        let offer: Vec<_> = self
            .sockets
            .offer(wanted.udp, wanted.tcp)
            .cloned()
            .collect();
        if offer.is_empty() {
            return Err(CommandError::new(
                ErrorCode::NoPort,
                "udp and tcp: the worker has no such socket to offer; ask for one that it listens on",
            ));
        }
        let call = self.call(position)?;
        if call.transports.key(wanted.transport).is_some() {
            return Err(taken("transport", wanted.transport.0));
        }
        let credentials = fresh_credentials();
        let candidates = offer
            .iter()
            .map(|(c, base)| convert::candidate(c, *base))
            .collect();
        let link = Link::server(
            self.certificate.clone(),
            credentials.clone(),
            candidates,
            now,
        );
        let call = self.call(position)?;
        let key = call.router.create_transport(
            TransportConfig {
                endpoint: Endpoint::Link(Box::new(link)),
                max_incoming_bps: wanted.max_incoming_bps.filter(|&bps| bps > 0),
                padding: wanted.padding,
            },
            now,
        );
        call.transports
            .insert(wanted.transport, key.0, TransportRecord::default());
        self.enter_fragments(position, key);
        self.mark_dirty(position);
        answer(&TransportCreated {
            ice_parameters: convert::credentials(&credentials),
            ice_candidates: offer.into_iter().map(|(candidate, _)| candidate).collect(),
        })
    }

    fn connect(
        &mut self,
        router: RouterId,
        transport: TransportId,
        role: DtlsRole,
        fingerprints: &[Fingerprint],
        now: Instant,
    ) -> Answer {
        let (position, key) = self.transport(router, transport)?;
        let fingerprints = convert::fingerprints(fingerprints)?;
        let Core { calls, outbox, .. } = self;
        let local = found(calls.get_mut(position), position)?
            .router
            .connect(key, convert::role(role), &fingerprints, now, outbox)
            .map_err(|e| convert::router_error(&e))?;
        self.mark_dirty(position);
        answer(&TransportConnected {
            local_role: convert::role_back(local),
        })
    }

    fn restart_ice(&mut self, router: RouterId, transport: TransportId, now: Instant) -> Answer {
        let (position, key) = self.transport(router, transport)?;
        let fresh = fresh_credentials();
        let reply: IceParameters = convert::credentials(&fresh);
        self.call(position)?
            .router
            .restart_ice(key, fresh, now)
            .map_err(|e| convert::router_error(&e))?;
        self.enter_fragments(position, key);
        self.mark_dirty(position);
        answer(&reply)
    }

    /// Makes checks with the link's present credentials find this transport.
    pub(crate) fn enter_fragments(&mut self, position: u32, key: TransportKey) {
        let Some(call) = self.calls.get_mut(position) else {
            return;
        };
        let target = Target {
            router: position,
            transport: key.0,
        };
        if let Some(link) = call.router.link(key)
            && let Some(record) = call.transports.record_mut(key.0)
        {
            self.demux
                .set_fragments(&mut record.entries, target, link.username_fragments());
        }
    }

    fn close_transport(&mut self, position: u32, key: TransportKey, now: Instant) {
        let Some(call) = self.calls.get_mut(position) else {
            return;
        };
        // What its consumers have waiting goes before its keys do.
        call.router.flush(now, &mut self.outbox);
        call.router.close_transport(key, now, &mut self.outbox);
        self.events_of(position, now);
        self.forget_transport(
            Target {
                router: position,
                transport: key.0,
            },
            now,
        );
        self.mark_dirty(position);
    }

    fn produce(&mut self, wanted: Produce, now: Instant) -> Answer {
        let (position, key) = self.transport(wanted.router, wanted.transport)?;
        let (id, video) = (wanted.producer, wanted.kind == MediaKind::Video);
        let transport = wanted.transport;
        let call = self.call(position)?;
        if call.producers.key(id).is_some() {
            return Err(taken("producer", id.0));
        }
        let config = convert::producer(wanted)?;
        let producer = call
            .router
            .produce(key, config, now)
            .map_err(|e| convert::produce_error(&e))?;
        call.producers
            .insert(id, producer.0, ProducerRecord { transport, video });
        self.mark_dirty(position);
        answer(&Empty {})
    }

    fn pause_producer(
        &mut self,
        router: RouterId,
        producer: ProducerId,
        paused: bool,
        now: Instant,
    ) -> Answer {
        let ignored = paused && self.faults.as_ref().is_some_and(|f| f.ignore_pause(now));
        let position = self.position(router)?;
        let call = self.call(position)?;
        let key = call
            .producer_key(producer)
            .ok_or_else(|| unknown("producer", producer.0))?;
        if ignored {
            return answer(&Empty {});
        }
        call.router
            .set_producer_paused(key, paused, now)
            .map_err(|e| convert::router_error(&e))?;
        self.mark_dirty(position);
        answer(&Empty {})
    }

    fn close_producer(&mut self, router: RouterId, producer: ProducerId, now: Instant) -> Answer {
        let position = self.position(router)?;
        let call = self.call(position)?;
        let key = call
            .producer_key(producer)
            .ok_or_else(|| unknown("producer", producer.0))?;
        call.router.close_producer(key);
        call.producers.remove(key.0);
        self.events_of(position, now);
        self.mark_dirty(position);
        answer(&Empty {})
    }

    fn consume(
        &mut self,
        router: RouterId,
        transport: TransportId,
        consumers: Vec<ConsumeOne>,
        now: Instant,
    ) -> Answer {
        let (position, key) = self.transport(router, transport)?;
        let call = self.call(position)?;
        let results = consumers
            .into_iter()
            .map(|wanted| {
                let consumer = wanted.consumer;
                let error = consume_one(call, transport, key, wanted, now).err();
                ConsumeResult {
                    consumer,
                    ok: error.is_none(),
                    error,
                }
            })
            .collect();
        self.mark_dirty(position);
        answer(&ConsumeResults { results })
    }

    fn each_consumer<E>(
        &mut self,
        router: RouterId,
        consumers: &[ConsumerId],
        mut act: impl FnMut(&mut Call, ConsumerKey) -> Result<(), E>,
    ) -> Answer {
        let position = self.position(router)?;
        let call = self.call(position)?;
        let mut missing = Vec::new();
        for &consumer in consumers {
            let done = call
                .consumer_key(consumer)
                .is_some_and(|key| act(call, key).is_ok());
            if !done {
                missing.push(consumer);
            }
        }
        self.mark_dirty(position);
        answer(&Touched { missing })
    }

    fn set_preferred_layers(
        &mut self,
        router: RouterId,
        consumer: ConsumerId,
        layers: Option<Layers>,
        now: Instant,
    ) -> Answer {
        let position = self.position(router)?;
        let call = self.call(position)?;
        let key = call
            .consumer_key(consumer)
            .ok_or_else(|| unknown("consumer", consumer.0))?;
        call.router
            .set_preferred_layers(key, layers.map(convert::preferred_layers), now)
            .map_err(|e| convert::router_error(&e))?;
        self.mark_dirty(position);
        answer(&Empty {})
    }

    fn panic(&mut self, transport: Option<(RouterId, TransportId)>, now: Instant) -> Answer {
        if !self.config.allow_panic {
            return Err(CommandError::new(
                ErrorCode::InvalidState,
                "panic: this worker refuses the command; start it with allow_panic, which is for tests only",
            ));
        }
        let Some((router, transport)) = transport else {
            panic!("asked to panic");
        };
        let (router, key) = self.transport(router, transport)?;
        let target = Target {
            router,
            transport: key.0,
        };
        self.contain(target, now, |_, _| {
            panic!("asked to panic in the input of a transport")
        });
        answer(&Empty {})
    }

    fn inject_faults(&mut self, seed: u64, plan: Vec<Fault>, now: Instant) -> Answer {
        if !self.config.allow_faults {
            return Err(CommandError::new(
                ErrorCode::InvalidState,
                "inject_faults: this worker refuses the command; start it with allow_faults, which is for tests only",
            ));
        }
        let faults = self.faults.get_or_insert_with(|| Faults::new(now).into());
        faults.inject(seed, plan, now)?;
        answer(&Empty {})
    }

    fn position(&self, id: RouterId) -> Result<u32, CommandError> {
        self.calls
            .position(id)
            .ok_or_else(|| unknown("router", id.0))
    }

    pub(crate) fn call(&mut self, position: u32) -> Result<&mut Call, CommandError> {
        self.calls
            .get_mut(position)
            .ok_or_else(|| unknown("router at", position.into()))
    }

    fn transport(
        &mut self,
        router: RouterId,
        transport: TransportId,
    ) -> Result<(u32, TransportKey), CommandError> {
        let position = self.position(router)?;
        let key = self.call(position)?.transport_key(transport);
        Ok((
            position,
            key.ok_or_else(|| unknown("transport", transport.0))?,
        ))
    }
}

fn found(call: Option<&mut Call>, position: u32) -> Result<&mut Call, CommandError> {
    call.ok_or_else(|| unknown("router at", position.into()))
}

fn consume_one(
    call: &mut Call,
    transport: TransportId,
    key: TransportKey,
    wanted: ConsumeOne,
    now: Instant,
) -> Result<(), CommandError> {
    let (id, producer) = (wanted.consumer, wanted.producer);
    if call.consumers.key(id).is_some() {
        return Err(taken("consumer", id.0));
    }
    let source = call
        .producer_key(producer)
        .ok_or_else(|| unknown("producer", producer.0))?;
    let config = convert::consumer(wanted);
    let consumer = call
        .router
        .consume(key, source, config, now)
        .map_err(|e| convert::consume_error(&e))?;
    call.consumers.insert(
        id,
        consumer.0,
        ConsumerRecord {
            transport,
            producer,
        },
    );
    Ok(())
}

/// Unguessable credentials (RFC 8445 §5.3: at least 24 and 128 bits).
fn fresh_credentials() -> LinkCredentials {
    LinkCredentials {
        username_fragment: convert::ice_characters(&convert::random::<12>()),
        password: convert::ice_characters(&convert::random::<24>()),
        ice_lite: true,
    }
}

fn answer(value: &impl Serialize) -> Answer {
    serde_json::to_value(value).map_err(|e| {
        CommandError::new(
            ErrorCode::InvalidState,
            format!("the answer cannot be written as JSON: {e}; report this"),
        )
    })
}

fn unknown(kind: &str, id: u64) -> CommandError {
    CommandError::new(
        ErrorCode::NotFound,
        format!("there is no {kind} {id}; it was closed, or never created"),
    )
}

fn taken(kind: &str, id: u64) -> CommandError {
    CommandError::new(
        ErrorCode::AlreadyExists,
        format!("{kind} {id} exists already; close it first, or name the new one otherwise"),
    )
}

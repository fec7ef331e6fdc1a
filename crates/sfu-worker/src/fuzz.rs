//! Any bytes into what the worker itself reads: who a datagram is for, and requests in JSON.
//!
//! # Job
//! Short runs in every test, long ones by `make fuzz`. Parsers of packets are fuzzed in `crates/fuzz`.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use meeshy_sfu_proto::dtls::{DtlsRole, Fingerprint, HashAlgorithm};
use meeshy_sfu_proto::ice::IceParameters;
use meeshy_sfu_proto::link::Link;
use meeshy_sfu_proto::net::{Destination, SocketId};
use meeshy_sfu_proto::router::{Endpoint, Router, RouterConfig, TransportConfig};
use serde_json::{Value, json};

use crate::call::{Call, TransportRecord};
use crate::command::{Request, RouterId, TransportId};
use crate::core::Core;
use crate::demux::{Demux, Entries, MAX_REMOTES, Target};
use crate::event::Event;
use crate::fuzzing::{Mutation, fuzz};
use crate::run::tests::worker;
use crate::share::Share;

fn source(number: u8) -> Destination {
    Destination {
        socket: SocketId(u16::from(number % 4)),
        remote: ([127, 0, 0, 1], 40_000 + u16::from(number % 32)).into(),
    }
}

/// Which transport an address belongs to, in the plainest way: the last to enter it that has not let it go.
#[test]
fn fuzz_demux_gives_an_address_to_the_last_who_validated_it_and_forgets_who_closed() {
    const TRANSPORTS: usize = 4;
    fuzz("demux", 20_000, 10, |mutation: &mut Mutation| {
        let mut demux = Demux::new();
        let mut entries: Vec<Entries> = (0..TRANSPORTS).map(|_| Entries::default()).collect();
        let mut model: HashMap<Destination, usize> = HashMap::new();
        let target = |at: usize| Target {
            router: 0,
            transport: at as u32,
        };
        for _ in 0..48 {
            let (at, from) = (
                mutation.below(TRANSPORTS),
                source(mutation.below(256) as u8),
            );
            match mutation.below(8) {
                0 => {
                    demux.close(&mut entries[at], target(at));
                    model.retain(|_, owner| *owner != at);
                }
                1 => {
                    demux.leave(&from);
                    model.remove(&from);
                }
                2 => {
                    let fragment = format!("fragment{at}");
                    demux.set_fragments(
                        &mut entries[at],
                        target(at),
                        [fragment.as_str()].into_iter(),
                    );
                    assert_eq!(demux.by_fragment(&fragment), Some(target(at)));
                }
                _ => {
                    let keep = mutation.below(4) == 0;
                    let gone = demux.enter(&mut entries[at], target(at), from, |_| keep);
                    for gone in gone {
                        if model.get(&gone) == Some(&at) {
                            model.remove(&gone);
                        }
                    }
                    model.insert(from, at);
                }
            }
            assert!(demux.remotes() <= TRANSPORTS * MAX_REMOTES);
            let owner = demux.by_remote(&from);
            assert_eq!(
                owner.map(|it| it.transport as usize),
                model.get(&from).copied()
            );
        }
        for number in 0..128 {
            let from = Destination {
                socket: SocketId(number / 32),
                ..source((number % 32) as u8)
            };
            let owner = demux.by_remote(&from);
            assert_eq!(
                owner.map(|it| it.transport as usize),
                model.get(&from).copied()
            );
        }
        for (at, entries) in entries.iter_mut().enumerate() {
            demux.close(entries, target(at));
        }
        assert_eq!((demux.remotes(), demux.fragments()), (0, 0));
    });
}

/// A call with one transport whose credentials are those of the corpus.
fn open_call(core: &mut Core, now: Instant) {
    let mut router = Router::new(RouterConfig::new((now, Duration::from_secs(1)), 1));
    let credentials = IceParameters {
        username_fragment: "fuzzserver".to_owned(),
        password: "fuzzserverfuzzserverfuzz".to_owned(),
        ice_lite: true,
    };
    let link = Link::server(core.certificate.clone(), credentials, Vec::new(), now);
    let config = TransportConfig {
        endpoint: Endpoint::Link(Box::new(link)),
        max_incoming_bps: None,
        padding: false,
    };
    let key = router.create_transport(config, now);
    let mut call = Call::new(RouterId(1), router);
    call.transports
        .insert(TransportId(1), key.0, TransportRecord::default());
    assert!(core.calls.insert(call));
    let position = core.calls.position(RouterId(1)).expect("just inserted");
    core.enter_fragments(position, key);
    let fingerprint = Fingerprint {
        algorithm: HashAlgorithm::Sha256,
        value: ["AB"; 32].join(":"),
    };
    let Core { calls, outbox, .. } = core;
    let call = calls.get_mut(position).expect("just inserted");
    call.router
        .connect(key, DtlsRole::Client, &[fingerprint], now, outbox)
        .expect("first call");
    core.mark_dirty(position);
}

#[test]
fn fuzz_datagrams_from_anywhere_break_nothing_and_leave_nothing() {
    let check = include_bytes!("../../fuzz/corpus/link_stun/check").to_vec();
    let seeds = vec![
        check.clone(),
        check.clone(),
        vec![
            22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ],
        vec![21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 40],
        vec![0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 9, 1, 2, 3, 4],
        vec![
            0x81, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0,
        ],
    ];
    let mut worker = worker();
    let core = &mut worker.core;
    let mut now = Instant::now();
    let (mut count, mut known) = (0_u64, 0_u64);
    fuzz("worker_datagrams", 5_000, 10, |mutation: &mut Mutation| {
        if count % 64 == 0 {
            if let Some(position) = core.calls.position(RouterId(1)) {
                core.close_call(position, now);
                core.flush(now);
            }
            assert_eq!((core.demux.remotes(), core.demux.fragments()), (0, 0));
            open_call(core, now);
        }
        count += 1;
        let mut datagram = match mutation.below(8) {
            0 => check.clone(),
            _ => mutation.next(&seeds),
        };
        core.input(&mut datagram, source(mutation.below(6) as u8), (now, now));
        now += Duration::from_millis(mutation.below(300) as u64);
        core.timers(now, Share::new(|| now));
        core.flush(now);
        assert_eq!(core.totals.counted.transport_panics, 0, "{datagram:02x?}");
        assert!(core.demux.remotes() <= MAX_REMOTES);
        known += u64::from(core.demux.remotes() > 0);
        core.queues.drain_events(usize::MAX);
    });
    assert!(known > 0, "no check ever was valid");
}

fn commands() -> Vec<Value> {
    let codec = json!({"mime_type": "video/VP8", "payload_type": 96, "mapped_payload_type": 101, "clock_rate": 90000,
        "rtx_payload_type": 97, "mapped_rtx_payload_type": 102, "nack": true, "pli": true, "transport_cc": true});
    let fingerprint = ["AB"; 32].join(":");
    let extension = json!({"uri": "urn:ietf:params:rtp-hdrext:sdes:mid", "id": 1});
    let sent = json!({"mime_type": "video/VP8", "payload_type": 101, "clock_rate": 90000, "rtx_payload_type": 102,
        "nack": true, "pli": true, "transport_cc": true});
    vec![
        json!({"type": "create_router", "router": 1}),
        json!({"type": "create_transport", "router": 1, "transport": 1, "tcp": true, "udp": true}),
        json!({"type": "create_transport", "router": 1, "transport": 2, "tcp": false, "udp": true,
            "max_incoming_bps": 300000, "padding": true}),
        json!({"type": "connect_transport", "router": 1, "transport": 1, "role": "client",
            "fingerprints": [{"algorithm": "sha-256", "value": fingerprint}]}),
        json!({"type": "restart_ice", "router": 1, "transport": 1}),
        json!({"type": "set_max_incoming_bitrate", "router": 1, "transport": 1, "bps": 500000}),
        json!({"type": "produce", "router": 1, "transport": 1, "producer": 1, "kind": "video", "mid": "0",
            "codecs": [codec], "header_extensions": [extension], "cname": "x",
            "encodings": [{"ssrc": 1000, "rtx_ssrc": 1001, "mapped_ssrc": 1}]}),
        json!({"type": "consume", "router": 1, "transport": 2, "consumers": [{"consumer": 1, "producer": 1,
            "ssrc": 5000, "rtx_ssrc": 5001, "codecs": [sent], "header_extensions": [extension], "mid": "0",
            "cname": "x"}]}),
        json!({"type": "pause_consumers", "router": 1, "consumers": [1]}),
        json!({"type": "resume_consumers", "router": 1, "consumers": [1, 2]}),
        json!({"type": "request_key_frame", "router": 1, "consumers": [1]}),
        json!({"type": "set_preferred_layers", "router": 1, "consumer": 1,
            "layers": {"spatial_layer": 255, "temporal_layer": 0}}),
        json!({"type": "pause_producer", "router": 1, "producer": 1}),
        json!({"type": "resume_producer", "router": 1, "producer": 1}),
        json!({"type": "stats"}),
        json!({"type": "dump", "router": 1}),
        json!({"type": "panic", "transport": null}),
        json!({"type": "close_consumers", "router": 1, "consumers": [1]}),
        json!({"type": "close_producer", "router": 1, "producer": 1}),
        json!({"type": "close_transport", "router": 1, "transport": 2}),
        json!({"type": "close_router", "router": 1}),
    ]
}

/// Puts something else in the place of one value, or takes it away.
fn change(value: &mut Value, mutation: &mut Mutation) {
    match value {
        Value::Object(map) if !map.is_empty() && mutation.below(8) > 0 => {
            let at = mutation.below(map.len());
            let key = map.keys().nth(at).cloned().unwrap_or_default();
            if mutation.below(6) == 0 {
                map.remove(&key);
            } else if let Some(inner) = map.get_mut(&key) {
                change(inner, mutation);
            }
        }
        Value::Array(list) if !list.is_empty() && mutation.below(8) > 0 => {
            let at = mutation.below(list.len());
            if mutation.below(6) == 0 {
                let again = list[at].clone();
                list.push(again);
            } else {
                change(&mut list[at], mutation);
            }
        }
        other => {
            let choices = [
                json!(null),
                json!(0),
                json!(1),
                json!(2),
                json!(-1),
                json!(255),
                json!(u64::MAX),
                json!(1e300),
                json!(""),
                json!("x".repeat(300)),
                json!("client"),
                json!("audio/opus"),
                json!([]),
                json!({}),
                json!(true),
            ];
            *other = choices[mutation.below(choices.len())].clone();
        }
    }
}

#[test]
fn fuzz_requests_in_json_are_refused_or_answered_once() {
    let commands = commands();
    let texts: Vec<Vec<u8>> = commands
        .iter()
        .map(|command| {
            json!({"id": 7, "command": command})
                .to_string()
                .into_bytes()
        })
        .collect();
    for text in &texts {
        serde_json::from_slice::<Request>(text).expect("the seeds are requests");
    }
    let mut worker = worker();
    let core = &mut worker.core;
    let mut now = Instant::now();
    let (mut accepted, mut at) = (0_u64, 0);
    fuzz("worker_requests", 20_000, 10, |mutation: &mut Mutation| {
        // Mostly in the order of a life, so that there is something to act on.
        at = (at + mutation.below(3)) % commands.len();
        let text = match mutation.below(4) {
            0 => mutation.next(&texts),
            kind => {
                let mut command = commands[at].clone();
                if kind == 1 {
                    change(&mut command, mutation);
                }
                json!({"id": 7, "command": command})
                    .to_string()
                    .into_bytes()
            }
        };
        now += Duration::from_millis(20);
        let Ok(request) = serde_json::from_slice::<Request>(&text) else {
            return;
        };
        accepted += 1;
        let id = request.id;
        core.queues.request(request).expect("nothing waits");
        core.carry_out(now, Share::new(|| now));
        core.timers(now, Share::new(|| now));
        core.flush(now);
        let events = core.queues.drain_events(usize::MAX);
        let replies = events
            .iter()
            .filter(|event| matches!(event, Event::Reply(reply) if reply.id == id));
        assert_eq!(replies.count(), 1, "{}", String::from_utf8_lossy(&text));
        for position in core.calls.positions() {
            if core.calls.positions().len() > 8 {
                core.close_call(position, now);
            }
        }
    });
    assert!(accepted > 0);
    for position in core.calls.positions() {
        core.close_call(position, now);
    }
    assert_eq!(core.demux.fragments(), 0);
}

//! Every command, answer and event with every field, as JSON: what the Python side is held to.
//!
//! `interface.json` is made of these samples; `tests/unit/media/test_native_interface.py` holds the Python encoders and
//! decoders to it. A new field or variant therefore turns this test red, then the Python one, until both sides have it.
#![allow(clippy::unwrap_used)]

mod samples;

use std::collections::BTreeMap;
use std::path::Path;

use meeshy_sfu_proto::rtp::ExtensionUri;
use meeshy_sfu_worker::command::*;
use meeshy_sfu_worker::event::*;
use meeshy_sfu_worker::{Fault, FaultAct, FaultKind, FaultLog, FaultReach};
use serde::Serialize;
use serde_json::{Value, json};

const ROUTER: RouterId = RouterId(11);
const TRANSPORT: TransportId = TransportId(12);
const PRODUCER: ProducerId = ProducerId(13);
const CONSUMER: ConsumerId = ConsumerId(14);

fn transport_commands() -> Vec<Command> {
    let (router, transport) = (ROUTER, TRANSPORT);
    vec![
        Command::CreateRouter { router },
        Command::CloseRouter { router },
        Command::CreateTransport(CreateTransport {
            router,
            transport,
            tcp: true,
            udp: true,
            max_incoming_bps: Some(900_000),
            padding: true,
        }),
        Command::ConnectTransport {
            router,
            transport,
            role: DtlsRole::Client,
            fingerprints: vec![Fingerprint {
                algorithm: "sha-256".into(),
                value: "AB:CD".into(),
            }],
        },
        Command::RestartIce { router, transport },
        Command::SetMaxIncomingBitrate {
            router,
            transport,
            bps: Some(500_000),
        },
        Command::CloseTransport { router, transport },
    ]
}

fn media_commands() -> Vec<Command> {
    let (router, transport, producer) = (ROUTER, TRANSPORT, PRODUCER);
    let consumers = || vec![CONSUMER];
    vec![
        Command::Produce(produce()),
        Command::PauseProducer { router, producer },
        Command::ResumeProducer { router, producer },
        Command::CloseProducer { router, producer },
        Command::Consume {
            router,
            transport,
            consumers: vec![consume()],
        },
        Command::PauseConsumers {
            router,
            consumers: consumers(),
        },
        Command::ResumeConsumers {
            router,
            consumers: consumers(),
        },
        Command::CloseConsumers {
            router,
            consumers: consumers(),
        },
        Command::RequestKeyFrame {
            router,
            consumers: consumers(),
        },
        Command::SetPreferredLayers {
            router,
            consumer: CONSUMER,
            layers: Some(layers()),
        },
        Command::Stats {},
        Command::Dump { router },
        Command::Panic {
            transport: Some((router, transport)),
        },
        Command::InjectFaults {
            seed: 1,
            faults: vec![Fault {
                kind: FaultKind::Withhold,
                payload_types: vec![100],
                share: 0.5,
                by_frame: true,
                receivers: Some(1),
                from_ms: 1000,
                for_ms: Some(500),
                period_ms: Some(100),
                on_ms: 50,
                amount: 1,
            }],
        },
        Command::FaultLog {},
    ]
}

fn produce() -> Produce {
    Produce {
        router: ROUTER,
        transport: TRANSPORT,
        producer: PRODUCER,
        kind: MediaKind::Video,
        mid: Some("1".into()),
        codecs: vec![ProducerCodec {
            mime_type: "video/VP8".into(),
            payload_type: 96,
            mapped_payload_type: 101,
            clock_rate: 90_000,
            rtx_payload_type: Some(97),
            mapped_rtx_payload_type: Some(102),
            nack: true,
            pli: true,
            fir: true,
            transport_cc: true,
            remb: true,
            in_band_fec: true,
        }],
        header_extensions: extensions(),
        encodings: vec![Encoding {
            ssrc: Some(1000),
            rid: Some("h".into()),
            rtx_ssrc: Some(1001),
            mapped_ssrc: 2000,
        }],
        cname: "sender".into(),
        paused: true,
    }
}

fn consume() -> ConsumeOne {
    ConsumeOne {
        consumer: CONSUMER,
        producer: PRODUCER,
        ssrc: 3000,
        rtx_ssrc: Some(3001),
        codecs: vec![ConsumerCodec {
            payload_type: 101,
            rtx_payload_type: Some(102),
            mime_type: "video/VP8".into(),
            clock_rate: 90_000,
            nack: true,
            pli: true,
            fir: true,
            transport_cc: true,
            remb: true,
        }],
        header_extensions: extensions(),
        mid: "0".into(),
        cname: "sender".into(),
        paused: true,
    }
}

fn layers() -> Layers {
    Layers {
        spatial_layer: 2,
        temporal_layer: Some(1),
    }
}

fn extensions() -> Vec<HeaderExtension> {
    vec![HeaderExtension {
        uri: "urn:ietf:params:rtp-hdrext:sdes:mid".into(),
        id: 1,
    }]
}

fn candidate() -> IceCandidate {
    IceCandidate {
        foundation: "tcpcandidate".into(),
        priority: 1_076_302_079,
        address: "192.0.2.1".into(),
        port: 10_000,
        protocol: Protocol::Tcp,
        kind: CandidateType::Host,
        tcp_type: Some(TcpType::Passive),
    }
}

fn selected() -> SelectedTuple {
    SelectedTuple {
        local: "192.0.2.1:10000".parse().unwrap(),
        remote: "192.0.2.2:20000".parse().unwrap(),
        protocol: Protocol::Udp,
    }
}

fn refusal() -> CommandError {
    CommandError::new(ErrorCode::NotFound, "no producer 13")
}

fn stats() -> Stats {
    Stats {
        index: 1,
        uptime_ms: 2,
        cpu_ns: 3,
        load: 0.25,
        packets_in: 5,
        bytes_in: 6,
        packets_out: 7,
        bytes_out: 8,
        forwarded: 9,
        trains_out: 10,
        mean_train: 1.5,
        gso: true,
        gro: true,
        window_us: 2000,
        drops: BTreeMap::from([("late".to_owned(), 15)]),
        rings_bytes: 16,
        routers: 17,
        transports: 18,
        producers: 19,
        consumers: 20,
        tcp_connections: 21,
        remotes: 22,
        transport_panics: 23,
        events_dropped: 24,
        metrics: vec![Series {
            metric: "forwarding_delay_seconds".into(),
            labels: vec!["video".into()],
            value: 1.5,
            buckets: vec![1, 2],
        }],
    }
}

fn events() -> Vec<Event> {
    let (router, transport, producer, consumer) = (ROUTER, TRANSPORT, PRODUCER, CONSUMER);
    vec![
        Event::Reply(Reply {
            id: 31,
            ok: Some(json!({ "local_role": "client" })),
            error: Some(refusal()),
        }),
        Event::Ready {
            pid: 41,
            index: 42,
            port: 10_000,
            candidates: vec![candidate()],
        },
        Event::TransportIce {
            router,
            transport,
            state: IceState::Completed,
            selected: Some(selected()),
        },
        Event::TransportDtls {
            router,
            transport,
            state: DtlsState::Connected,
            reason: Some("why".into()),
            srtp_profile: Some("AEAD_AES_128_GCM".into()),
            dtls_version: Some("1.3".into()),
        },
        Event::TransportMedia { router, transport },
        Event::TransportClosed {
            router,
            transport,
            reason: "panic".into(),
        },
        Event::ProducerScore {
            router,
            producer,
            scores: vec![StreamScore {
                encoding_idx: 51,
                ssrc: 52,
                rid: Some("h".into()),
                score: 9,
            }],
        },
        Event::ConsumerScore {
            router,
            consumer,
            score: 8,
            producer_score: 7,
            producer_scores: vec![6],
        },
        Event::LayersChanged {
            router,
            consumer,
            layers: Some(layers()),
        },
        Event::Volumes {
            router,
            volumes: vec![Volume {
                producer,
                volume: -40,
            }],
        },
        Event::ActiveSpeaker {
            router,
            producer: Some(producer),
        },
        Event::Stats(Box::new(stats())),
        Event::Died {
            index: 61,
            message: "on purpose".into(),
        },
    ]
}

/// What the commands are answered with; those that are not here are answered with `{}`.
fn answers() -> Vec<(&'static str, Value)> {
    fn value(answer: impl Serialize) -> Value {
        serde_json::to_value(answer).unwrap()
    }
    let ice_parameters = IceParameters {
        username_fragment: "fragment".into(),
        password: "password".into(),
        ice_lite: true,
    };
    let missing = value(Touched {
        missing: vec![CONSUMER],
    });
    let counters = json!({ "packets": 1 });
    vec![
        (
            "create_transport",
            value(TransportCreated {
                ice_parameters: ice_parameters.clone(),
                ice_candidates: vec![candidate()],
            }),
        ),
        (
            "connect_transport",
            value(TransportConnected {
                local_role: DtlsRole::Client,
            }),
        ),
        ("restart_ice", value(ice_parameters)),
        (
            "consume",
            value(ConsumeResults {
                results: vec![ConsumeResult {
                    consumer: CONSUMER,
                    ok: true,
                    error: Some(refusal()),
                }],
            }),
        ),
        ("pause_consumers", missing.clone()),
        ("resume_consumers", missing.clone()),
        ("close_consumers", missing.clone()),
        ("request_key_frame", missing),
        ("stats", value(stats())),
        (
            "fault_log",
            value(FaultLog {
                since_unix_us: 1_700_000_000_000_000,
                acts: vec![FaultAct {
                    fault: 1,
                    unix_us: 1_700_000_000_000_001,
                    receiver: 1,
                    ssrc: 1234,
                    timestamp: 5678,
                    stamped: true,
                }],
                not_listed: 1,
                reach: vec![FaultReach {
                    packets: 10,
                    stamped: 1,
                }],
            }),
        ),
        (
            "dump",
            value(RouterDump {
                router: ROUTER,
                transports: vec![TransportDump {
                    transport: TRANSPORT,
                    ice_state: IceState::Completed,
                    dtls_state: DtlsState::Connected,
                    selected: Some(selected()),
                    stats: counters.clone(),
                }],
                producers: vec![ProducerDump {
                    producer: PRODUCER,
                    transport: TRANSPORT,
                    kind: MediaKind::Video,
                    stats: counters.clone(),
                }],
                consumers: vec![ConsumerDump {
                    consumer: CONSUMER,
                    producer: PRODUCER,
                    transport: TRANSPORT,
                    stats: counters,
                }],
            }),
        ),
    ]
}

fn commands() -> Vec<Value> {
    let all = transport_commands().into_iter().chain(media_commands());
    all.map(|command| serde_json::to_value(command).unwrap())
        .collect()
}

fn types(samples: &[Value]) -> Vec<String> {
    let mut names: Vec<String> = samples
        .iter()
        .map(|sample| sample["type"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn the_samples_are_all_there_is_and_the_file_has_them() {
    let events: Vec<Value> = events()
        .iter()
        .map(|event| serde_json::to_value(event).unwrap())
        .collect();
    let commands = commands();
    assert_eq!(
        types(&commands),
        samples::words_of::<Command>(&json!({ "type": "" }))
    );
    assert_eq!(
        types(&events),
        samples::words_of::<Event>(&json!({ "type": "" }))
    );
    let answers: BTreeMap<_, _> = answers().into_iter().collect();
    let word = json!("");
    let words = json!({
        "ice_state": samples::words_of::<IceState>(&word),
        "dtls_state": samples::words_of::<DtlsState>(&word),
        "dtls_role": samples::words_of::<DtlsRole>(&word),
        "media_kind": samples::words_of::<MediaKind>(&word),
        "protocol": samples::words_of::<Protocol>(&word),
        "header_extension": ExtensionUri::ALL.map(ExtensionUri::as_str),
        "fault_kind": samples::words_of::<FaultKind>(&word),
        "error_code": samples::words_of::<ErrorCode>(&word),
    });
    let all = json!({ "commands": commands, "answers": answers, "events": events, "words": words });
    samples::assert_full("", &all);
    samples::hold_to(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("interface.json"),
        &all,
    );
}

#[test]
fn a_command_with_a_key_nobody_knows_is_refused_with_the_keys_name_at_every_depth() {
    for command in commands() {
        let request = json!({ "id": 1, "command": command });
        samples::assert_strict::<Request>(&request, &[]);
    }
}

//! Every option, parameter and event of a pool with every field, as JSON: what the Python side is held to.
//!
//! `interface.json` is made of these samples; `tests/unit/simulator/bots/test_native_interface.py` holds the Python
//! types to it. A new field or event therefore turns this test red, then the Python one, until both sides have it.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::*;
use crate::params::*;

#[path = "../../sfu-worker/tests/samples/mod.rs"]
mod samples;

fn pool_config() -> PoolConfig {
    PoolConfig {
        threads: 2,
        tick_us: 2000,
        send_tick_us: 1000,
        clip_path: "clip".into(),
        rcvbuf: 4096,
        seed: 7,
        first_bot: 3,
        sample_capacity: 1024,
        gro: true,
        clock_shift_ms: 250,
    }
}

fn spawn_options() -> SpawnOptions {
    SpawnOptions {
        bind: [127, 0, 0, 1].into(),
        send_role: DtlsRoleName::Client,
        recv_role: DtlsRoleName::Server,
        layer: 1,
        stamp: true,
        nack: true,
        transport_cc: true,
        pli: true,
        audio_stamp_every: 1,
        dtx: true,
        participant: Some(5),
        peer: Some(IceRole::Controlling),
        audio: Some(rtp_parameters()),
        video: Some(rtp_parameters()),
    }
}

fn link_profile() -> LinkProfile {
    LinkProfile {
        loss: 0.25,
        delay_ms: 1.5,
        jitter_ms: 2.5,
        reorder: true,
        rate_bps: 1000,
        queue_ms: 3.5,
        seed: 9,
    }
}

fn rtp_parameters() -> RtpParameters {
    RtpParameters {
        mid: Some("0".into()),
        codecs: vec![RtpCodec {
            mime_type: "audio/opus".into(),
            payload_type: 100,
            clock_rate: 48_000,
            channels: Some(2),
            parameters: Some(json!({ "useinbandfec": 1 }).as_object().unwrap().clone()),
            rtcp_feedback: Some(vec![RtcpFeedback {
                kind: "nack".into(),
                parameter: Some("pli".into()),
            }]),
        }],
        header_extensions: vec![RtpHeaderExtension {
            uri: "urn:ietf:params:rtp-hdrext:sdes:mid".into(),
            id: 1,
        }],
        encodings: vec![RtpEncoding {
            ssrc: Some(1000),
            rtx: Some(RtxEncoding { ssrc: 1001 }),
        }],
        rtcp: Some(RtcpParameters {
            cname: Some("bot".into()),
            reduced_size: Some(true),
        }),
    }
}

fn ice_parameters() -> IceParameters {
    IceParameters {
        username_fragment: "fragment".into(),
        password: "password".into(),
        ice_lite: true,
    }
}

fn dtls_parameters() -> DtlsParameters {
    DtlsParameters {
        role: DtlsRoleName::Auto,
        fingerprints: vec![Fingerprint {
            algorithm: "sha-256".into(),
            value: "AB:CD".into(),
        }],
    }
}

fn connect_parameters() -> ConnectParameters {
    ConnectParameters {
        ice_parameters: ice_parameters(),
        ice_candidates: vec![IceCandidate {
            foundation: "udpcandidate".into(),
            priority: 1,
            address: Some("192.0.2.1".into()),
            ip: Some("192.0.2.1".into()),
            port: 10_000,
            protocol: "udp".into(),
        }],
        dtls_parameters: dtls_parameters(),
    }
}

fn consume_request() -> ConsumeRequest {
    ConsumeRequest {
        tag: 1,
        sender: 2,
        kind: Kind::Video,
        rtp_parameters: rtp_parameters(),
    }
}

fn local_parameters() -> LocalParameters {
    let local = LocalTransport {
        dtls: dtls_parameters(),
        ice: ice_parameters(),
        address: [127, 0, 0, 1].into(),
        port: 40_000,
    };
    LocalParameters {
        send: local.clone(),
        recv: local,
    }
}

fn health() -> Health {
    Health {
        threads: vec![ThreadHealth {
            alive: true,
            cpu_ns: 1,
            wall_ns: 2,
            ticks: 3,
            lag_mean_us: 4.5,
            lag_p99_us: 5.5,
            lag_max_us: 6.5,
            lag_recent_us: 7.5,
            stalled_us: 8.25,
            busy_max_us: 8.5,
            packets_sent: 9,
            late_sends: 10,
            late_max_us: 11.5,
            datagrams: 12,
            rtp_packets: 13,
            auth_failures: 14,
            unknown_ssrc: 15,
            send_refused: 16,
        }],
        socket_drops: 1,
        samples_dropped: 2,
        events_dropped: 3,
        bots: 4,
    }
}

/// One sample of the event that comes after this one; none after the last.
fn next(before: Option<&EventKind>) -> Option<EventKind> {
    let (which, tag, sender, kind) = (Direction::Recv, 1, 2, Kind::Video);
    // Without a wildcard: a new event does not compile until it has its place here.
    Some(match before {
        None => EventKind::Ice {
            which,
            state: "completed",
        },
        Some(EventKind::Ice { .. }) => EventKind::IceRestarted { which },
        Some(EventKind::IceRestarted { .. }) => EventKind::Dtls {
            which,
            state: "connected",
            srtp_profile: Some("AEAD_AES_128_GCM"),
        },
        Some(EventKind::Dtls { .. }) => EventKind::FirstPacket { tag, sender, kind },
        Some(EventKind::FirstPacket { .. }) => EventKind::FirstFrame { tag, sender },
        Some(EventKind::FirstFrame { .. }) => EventKind::Entered {
            tag,
            sender: 2,
            kind,
        },
        Some(EventKind::Entered { .. }) => EventKind::Pli,
        Some(EventKind::Pli) => EventKind::Freeze { tag, sender, kind },
        Some(EventKind::Freeze { .. }) => EventKind::Thaw { tag, gap_ms: 600 },
        Some(EventKind::Thaw { .. }) => EventKind::Closed {
            which,
            reason: "why".into(),
        },
        Some(EventKind::Closed { .. }) => EventKind::Error {
            message: "why".into(),
        },
        Some(EventKind::Error { .. }) => return None,
    })
}

fn value(of: impl Serialize) -> Value {
    serde_json::to_value(of).unwrap()
}

#[test]
fn the_samples_are_all_there_is_and_the_file_has_them() {
    let events = std::iter::successors(next(None), |before| next(Some(before)));
    let events: Vec<Value> = events
        .map(|what| {
            value(BotEvent {
                bot: 1,
                unix_ns: 2,
                what,
            })
        })
        .collect();
    let all = json!({
        "pool_config": pool_config(),
        "spawn_options": spawn_options(),
        "link_profile": link_profile(),
        "connect_parameters": connect_parameters(),
        "consume_request": consume_request(),
        "local_parameters": local_parameters(),
        "rtp_parameters": rtp_parameters(),
        "health": health(),
        "events": events,
        "words": {
            "dtls_role": samples::words_of::<DtlsRoleName>(&json!("")),
            "ice_role": samples::words_of::<IceRole>(&json!("")),
            "direction": samples::words_of::<Direction>(&json!("")),
            "kind": samples::words_of::<Kind>(&json!("")),
        },
    });
    samples::assert_full("", &all);
    samples::hold_to(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("interface.json"),
        &all,
    );
}

#[test]
fn an_option_with_an_unknown_key_is_refused_with_the_name_of_the_key() {
    samples::assert_strict::<PoolConfig>(&value(pool_config()), &[]);
    // What a media server or a peer wrote is passed on as it came, with what others than ours may add.
    samples::assert_strict::<SpawnOptions>(&value(spawn_options()), &["/audio", "/video"]);
    samples::assert_strict::<LinkProfile>(&value(link_profile()), &[]);
    let wire = [
        "/iceParameters",
        "/iceCandidates",
        "/dtlsParameters",
        "/rtpParameters",
    ];
    samples::assert_strict::<ConnectParameters>(&value(connect_parameters()), &wire);
    samples::assert_strict::<ConsumeRequest>(&value(consume_request()), &wire);
}

//! The real other end: a worker with one router, asked with the same JSON the control plane uses.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use meeshy_sfu_bot::params::DtlsParameters;
use meeshy_sfu_bot::{ConnectParameters, Kind, RtpParameters};
use meeshy_sfu_proto::dtls::{Certificate, HashAlgorithm};
use meeshy_sfu_worker::{Event, Request, Worker, WorkerConfig};
use serde_json::{Value, json};

const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
const TRANSPORT_CC: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";

pub struct Server {
    pub worker: Worker,
    pub events: Vec<Event>,
    fingerprint: String,
    requests: u64,
    handles: u64,
    ssrc: u32,
    padding: bool,
}

impl Server {
    pub fn start(padding: bool, adjust: impl FnOnce(&mut WorkerConfig)) -> Self {
        let identity = Certificate::generate().unwrap();
        let mut config =
            WorkerConfig::new(identity.der().to_vec(), identity.private_key().to_vec());
        adjust(&mut config);
        let mut server = Self {
            worker: Worker::start(config).unwrap(),
            events: Vec::new(),
            fingerprint: identity.fingerprint(HashAlgorithm::Sha256).value,
            requests: 0,
            handles: 0,
            ssrc: 1_000_000,
            padding,
        };
        server.ask(json!({"type": "create_router", "router": 1}));
        server
    }

    /// Asks the worker and waits for its answer.
    pub fn ask(&mut self, command: Value) -> Value {
        self.requests += 1;
        let id = self.requests;
        let command = serde_json::from_value(command).unwrap();
        self.worker.request(Request { id, command }).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            self.events.extend(self.worker.drain_events(1000));
            let mine = |event: &Event| matches!(event, Event::Reply(reply) if reply.id == id);
            if let Some(at) = self.events.iter().position(mine) {
                let Event::Reply(reply) = self.events.remove(at) else {
                    unreachable!()
                };
                assert!(reply.error.is_none(), "{:?}", reply.error);
                return reply.ok.unwrap();
            }
            assert!(Instant::now() < deadline, "no answer");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// Makes a transport for a bot with this DTLS fingerprint; gives its handle and what the bot must know.
    pub fn transport(&mut self, bot: &DtlsParameters) -> (u64, ConnectParameters) {
        self.handles += 1;
        let transport = self.handles;
        let created = self.ask(json!({
            "type": "create_transport", "router": 1, "transport": transport, "tcp": false, "udp": true,
            "padding": self.padding
        }));
        self.ask(json!({
            "type": "connect_transport", "router": 1, "transport": transport, "role": bot.role,
            "fingerprints": bot.fingerprints
        }));
        let server = json!({
            "ice_parameters": created["ice_parameters"], "ice_candidates": created["ice_candidates"],
            "dtls_parameters": {"role": "auto", "fingerprints": [{"algorithm": "sha-256", "value": self.fingerprint}]}
        });
        (transport, serde_json::from_value(server).unwrap())
    }

    /// Announces what a bot will send; gives the producer's handle.
    pub fn produce(&mut self, transport: u64, produced: &RtpParameters, kind: Kind) -> u64 {
        self.handles += 1;
        self.ssrc += 1;
        let video = kind == Kind::Video;
        let (codec, encoding) = (&produced.codecs[0], &produced.encodings[0]);
        self.ask(json!({
            "type": "produce", "router": 1, "transport": transport, "producer": self.handles, "kind": kind,
            "mid": produced.mid,
            "codecs": [{
                "mime_type": codec.mime_type, "payload_type": codec.payload_type,
                "mapped_payload_type": codec.payload_type, "clock_rate": codec.clock_rate,
                "rtx_payload_type": video.then_some(102), "mapped_rtx_payload_type": video.then_some(102),
                "nack": video, "pli": video, "fir": video, "transport_cc": true
            }],
            "header_extensions": produced.header_extensions,
            "encodings": [{"ssrc": encoding.ssrc, "rtx_ssrc": encoding.rtx.map(|rtx| rtx.ssrc),
                           "mapped_ssrc": self.ssrc}],
            "cname": "x"
        }));
        self.handles
    }

    /// Sends producers to a transport, flowing at once; gives the rtpParameters of each consumer.
    pub fn consume(&mut self, transport: u64, producers: &[(u64, Kind)]) -> Vec<RtpParameters> {
        let mut entries = Vec::new();
        let mut wire = Vec::new();
        for (producer, kind) in producers {
            self.handles += 1;
            self.ssrc += 2;
            let video = *kind == Kind::Video;
            let (mime, payload_type, clock) = if video {
                ("video/VP8", 101, 90_000)
            } else {
                ("audio/opus", 100, 48_000)
            };
            let mut extensions = vec![
                json!({"uri": MID, "id": 1}),
                json!({"uri": ABS_SEND_TIME, "id": 4}),
            ];
            extensions.push(if video {
                json!({"uri": TRANSPORT_CC, "id": 5})
            } else {
                json!({"uri": AUDIO_LEVEL, "id": 6})
            });
            entries.push(json!({
                "consumer": self.handles, "producer": producer, "ssrc": self.ssrc,
                "rtx_ssrc": video.then_some(self.ssrc + 1),
                "codecs": [{"payload_type": payload_type, "rtx_payload_type": video.then_some(102), "mime_type": mime,
                            "clock_rate": clock, "nack": video, "pli": video, "transport_cc": video}],
                "header_extensions": extensions, "mid": self.handles.to_string(), "cname": "x"
            }));
            let mut codecs = vec![json!({
                "mimeType": mime, "payloadType": payload_type, "clockRate": clock,
                "rtcpFeedback": if video { json!([{"type": "nack", "parameter": ""}, {"type": "nack", "parameter": "pli"}]) }
                                else { json!([]) }
            })];
            if video {
                codecs.push(
                    json!({"mimeType": "video/rtx", "payloadType": 102, "clockRate": 90_000,
                                   "parameters": {"apt": 101}}),
                );
            }
            wire.push(json!({
                "mid": self.handles.to_string(), "codecs": codecs, "headerExtensions": extensions,
                "encodings": [{"ssrc": self.ssrc, "rtx": video.then(|| json!({"ssrc": self.ssrc + 1}))}],
                "rtcp": {"cname": "x", "reducedSize": true}
            }));
        }
        let answer = self.ask(json!({
            "type": "consume", "router": 1, "transport": transport, "consumers": entries
        }));
        for result in answer["results"].as_array().unwrap() {
            assert!(result.get("error").is_none_or(Value::is_null), "{result}");
        }
        wire.into_iter()
            .map(|parameters| serde_json::from_value(parameters).unwrap())
            .collect()
    }

    pub fn stats(&mut self) -> Value {
        self.ask(json!({"type": "stats"}))
    }
}

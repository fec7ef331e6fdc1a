//! The call of a case: a worker, and a router with transports, producers and consumers whose keys are preset.

use std::net::SocketAddr;
use std::time::Instant;

use meeshy_sfu_proto::link::{Certificate, SrtpKeys};
use meeshy_sfu_proto::net::{Destination, SocketId};
use meeshy_sfu_proto::router::{
    Codec, ConsumerCodec, ConsumerConfig, ConsumerKey, EncodingConfig, Endpoint, MediaKind,
    ProducerCodec, ProducerConfig, ProducerKey, Router, TransportConfig, TransportKey,
};
use meeshy_sfu_proto::rtp::ExtensionUri;
use meeshy_sfu_proto::srtp::{MasterKey, SrtpProfile};
use meeshy_sfu_worker::WorkerConfig;
use meeshy_sfu_worker::harness::Harness;

use crate::case::{CPUS, Case, Outcome, Sizes};

const WINDOW_US: u32 = 2000;

/// SSRC a publisher uses for this kind.
pub(crate) fn ssrc_of(publisher: usize, video: bool) -> u32 {
    1000 * (publisher as u32 + 1) + u32::from(video)
}

/// Keys of one direction of one client.
pub(crate) fn key_of(client: usize, upstream: bool, profile: SrtpProfile) -> MasterKey {
    let byte = |n: usize| (client * 31 + n * 7 + usize::from(upstream) * 101 + 1) as u8;
    MasterKey {
        key: (0..profile.key_len()).map(byte).collect(),
        salt: (100..100 + profile.salt_len()).map(byte).collect(),
    }
}

impl Case {
    pub(crate) fn harness(&self) -> Outcome<Harness> {
        let identity = Certificate::generate()?;
        let mut config =
            WorkerConfig::new(identity.der().to_vec(), identity.private_key().to_vec());
        config.pin_cpu = Some(CPUS[0]);
        config.gso = self.gso;
        config.window_max_us = WINDOW_US;
        Ok(Harness::new(config)?)
    }

    /// Transports, producers and (paused) consumers of the call.
    pub(crate) fn fill(
        &self,
        router: &mut Router,
        addresses: &[SocketAddr],
        publishers: usize,
        consumers: &mut Vec<ConsumerKey>,
        now: Instant,
    ) -> Vec<(TransportKey, Destination)> {
        let mut transports = Vec::new();
        for (client, &remote) in addresses.iter().enumerate() {
            let destination = Destination {
                socket: SocketId::UDP_V4,
                remote,
            };
            let keys = SrtpKeys {
                profile: self.profile,
                local: key_of(client, false, self.profile),
                remote: key_of(client, true, self.profile),
            };
            let endpoint = Endpoint::Preset { keys, destination };
            let config = TransportConfig {
                endpoint,
                max_incoming_bps: None,
                padding: self.sizes == Sizes::Padded,
            };
            transports.push((router.create_transport(config, now), destination));
        }
        for publisher in 0..publishers {
            for video in [false, true] {
                let config = producer(publisher, video);
                let key = router
                    .produce(transports[publisher].0, config, now)
                    .expect("invariant: the bench's producers fit");
                for (client, (transport, _)) in transports.iter().enumerate() {
                    if client != publisher {
                        let consumer = consume(router, *transport, key, publisher, video, now);
                        consumers.push(consumer);
                    }
                }
            }
        }
        transports
    }
}

fn producer(publisher: usize, video: bool) -> ProducerConfig {
    ProducerConfig {
        kind: if video {
            MediaKind::Video
        } else {
            MediaKind::Audio
        },
        mid: Some(if video { "v" } else { "a" }.into()),
        codecs: vec![ProducerCodec {
            codec: Some(if video { Codec::Vp8 } else { Codec::Opus }),
            payload_type: if video { 96 } else { 111 },
            mapped_payload_type: if video { 101 } else { 100 },
            clock_rate: if video { 90_000 } else { 48_000 },
            rtx_payload_type: video.then_some(97),
            nack: video,
            pli: video,
            fir: video,
            transport_cc: true,
            remb: false,
            in_band_fec: false,
        }],
        header_extensions: extensions(),
        encodings: vec![EncodingConfig {
            ssrc: Some(ssrc_of(publisher, video)),
            ..EncodingConfig::default()
        }],
        cname: "bench".into(),
        paused: false,
    }
}

fn consume(
    router: &mut Router,
    transport: TransportKey,
    producer: ProducerKey,
    publisher: usize,
    video: bool,
    now: Instant,
) -> ConsumerKey {
    let config = ConsumerConfig {
        ssrc: 0x4000_0000 + ssrc_of(publisher, video),
        rtx_ssrc: video.then(|| 0x5000_0000 + ssrc_of(publisher, video)),
        codecs: vec![ConsumerCodec {
            payload_type: if video { 101 } else { 100 },
            rtx_payload_type: video.then_some(102),
            nack: video,
            pli: video,
            fir: video,
            transport_cc: true,
            remb: false,
        }],
        header_extensions: extensions(),
        mid: format!("{}{publisher}", if video { "v" } else { "a" }),
        cname: "bench".into(),
        paused: true,
    };
    router
        .consume(transport, producer, config, now)
        .expect("invariant: the bench's consumers fit")
}

fn extensions() -> Vec<(ExtensionUri, u8)> {
    vec![
        (ExtensionUri::AudioLevel, 1),
        (ExtensionUri::AbsSendTime, 2),
        (ExtensionUri::TransportWideCc, 3),
        (ExtensionUri::Mid, 4),
    ]
}

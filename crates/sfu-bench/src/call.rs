//! The call of a case: a worker, and a router with transports, producers and consumers whose keys are preset.

use std::net::SocketAddr;
use std::time::Instant;

use meeshy_sfu_proto::link::SrtpKeys;
use meeshy_sfu_proto::net::{Destination, SocketId};
use meeshy_sfu_proto::router::{ConsumerKey, Router, TransportKey};
use meeshy_sfu_proto::srtp::{MasterKey, SrtpProfile};
use meeshy_sfu_worker::harness::{self, Harness};

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
        let mut config = harness::config()?;
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
            let config = harness::preset_transport(keys, destination, self.sizes == Sizes::Padded);
            transports.push((router.create_transport(config, now), destination));
        }
        for publisher in 0..publishers {
            for video in [false, true] {
                let config = harness::producer(video, ssrc_of(publisher, video));
                let key = router
                    .produce(transports[publisher].0, config, now)
                    .expect("invariant: the bench's producers fit");
                let ssrc = ssrc_of(publisher, video);
                let ssrcs = (0x4000_0000 + ssrc, 0x5000_0000 + ssrc);
                for (client, (transport, _)) in transports.iter().enumerate() {
                    if client != publisher {
                        let mid = format!("{}{publisher}", if video { "v" } else { "a" });
                        let consumer = router
                            .consume(*transport, key, harness::consumer(video, ssrcs, mid), now)
                            .expect("invariant: the bench's consumers fit");
                        consumers.push(consumer);
                    }
                }
            }
        }
        transports
    }
}

//! A seeded random walk over everything the owner and the peers can do keeps the router's invariants.
#![allow(clippy::unwrap_used)]

mod router_call;
mod seeded;

use std::collections::HashMap;
use std::time::Duration;

use meeshy_sfu_proto::net::classify;
use meeshy_sfu_proto::router::{ConsumerKey, ProducerKey, RouterEvent};
use meeshy_sfu_proto::rtcp::{nack, pli::Pli};
use router_call::*;
use seeded::Random;

struct Track {
    owner: usize,
    key: ProducerKey,
    ssrc: u32,
    video: bool,
    sequence: u16,
}

/// What a receiver expects of one SSRC.
struct Stream {
    owner: usize,
    key: ConsumerKey,
    source: u32,
    newest: Option<u64>,
    seen: HashMap<u64, u16>,
}

struct Walk {
    call: Call,
    dice: Random,
    peers: Vec<Option<Peer>>,
    tracks: Vec<Track>,
    streams: HashMap<(usize, u32), Stream>,
    names: u32,
}

impl Walk {
    fn new(seed: u64) -> Self {
        Self {
            call: Call::new(),
            dice: Random::new(seed),
            peers: Vec::new(),
            tracks: Vec::new(),
            streams: HashMap::new(),
            names: 1000,
        }
    }

    fn peer(&mut self) -> Option<usize> {
        let open: Vec<usize> = (0..self.peers.len())
            .filter(|at| self.peers[*at].is_some())
            .collect();
        (!open.is_empty()).then(|| open[self.dice.below(open.len())])
    }

    fn step(&mut self) {
        match self.dice.below(100) {
            0..4 if self.peers.iter().flatten().count() < 8 => {
                let padding = self.dice.below(2) == 0;
                let peer = self.call.peer_with(padding, None);
                self.peers.push(Some(peer));
            }
            4 => self.close_peer(),
            5..9 => self.produce(),
            9 => self.close_track(),
            10..20 => self.consume(),
            20 => self.close_stream(),
            21..26 => self.pause(),
            26..28 => self.ask(),
            28..32 => self.noise(),
            32..40 => self.call.flush(),
            40..46 => self.call.wait(Duration::from_millis(7)),
            _ => self.media(),
        }
        self.drain();
    }

    fn close_peer(&mut self) {
        let Some(at) = self.peer() else { return };
        let peer = self.peers[at].take().unwrap();
        self.call
            .router
            .close_transport(peer.transport, self.call.now, &mut self.call.sent);
        self.tracks.retain(|track| track.owner != at);
        self.streams.retain(|_, stream| stream.owner != at);
        self.forget_closed();
    }

    /// Follows the cascade by the events alone.
    fn forget_closed(&mut self) {
        for event in self.call.events() {
            if let RouterEvent::ConsumerClosed { consumer } = event {
                self.streams.retain(|_, stream| stream.key != consumer);
            }
        }
    }

    fn produce(&mut self) {
        let Some(at) = self.peer() else { return };
        let video = self.dice.below(2) == 0;
        self.names += 10;
        let ssrc = self.names;
        let mut config = if video {
            router_call::video(ssrc)
        } else {
            audio(ssrc)
        };
        config.mid = Some(format!("{ssrc}"));
        let key = self.call.produce(self.peers[at].as_ref().unwrap(), config);
        let sequence = self.dice.next() as u16;
        self.tracks.push(Track {
            owner: at,
            key,
            ssrc,
            video,
            sequence,
        });
    }

    fn close_track(&mut self) {
        if self.tracks.is_empty() {
            return;
        }
        let track = self.tracks.swap_remove(self.dice.below(self.tracks.len()));
        self.call.router.close_producer(track.key);
        self.forget_closed();
    }

    fn consume(&mut self) {
        let (Some(at), false) = (self.peer(), self.tracks.is_empty()) else {
            return;
        };
        let track = &self.tracks[self.dice.below(self.tracks.len())];
        self.names += 10;
        let ssrc = self.names;
        let mid = format!("{ssrc}");
        let config = if track.video {
            video_consumer(ssrc, &mid)
        } else {
            audio_consumer(ssrc, &mid)
        };
        let (key, source) = (track.key, track.ssrc);
        let key = self
            .call
            .consume(self.peers[at].as_ref().unwrap(), key, config);
        self.streams.insert(
            (at, ssrc),
            Stream {
                owner: at,
                key,
                source,
                newest: None,
                seen: HashMap::new(),
            },
        );
    }

    fn stream(&mut self) -> Option<(usize, u32)> {
        let mut keys: Vec<(usize, u32)> = self.streams.keys().copied().collect();
        keys.sort_unstable();
        (!keys.is_empty()).then(|| keys[self.dice.below(keys.len())])
    }

    fn close_stream(&mut self) {
        let Some(name) = self.stream() else { return };
        let stream = self.streams.remove(&name).unwrap();
        self.call.router.close_consumer(stream.key);
    }

    fn pause(&mut self) {
        let paused = self.dice.below(3) == 0;
        if self.dice.below(2) == 0 {
            if let Some(name) = self.stream() {
                let key = self.streams[&name].key;
                self.call
                    .router
                    .set_consumer_paused(key, paused, self.call.now)
                    .unwrap();
            }
        } else if !self.tracks.is_empty() {
            let key = self.tracks[self.dice.below(self.tracks.len())].key;
            self.call
                .router
                .set_producer_paused(key, paused, self.call.now)
                .unwrap();
        }
    }

    /// A receiver asks for packets and pictures, of whom it likes.
    fn ask(&mut self) {
        let Some((at, ssrc)) = self.stream() else {
            return;
        };
        let mut plain = [0; 256];
        let newest = self.streams[&(at, ssrc)].newest.unwrap_or(0) as u16;
        let asked: Vec<u16> = (0..20)
            .rev()
            .map(|back| newest.wrapping_sub(back))
            .collect();
        let len = nack::write(1, ssrc, &asked, &mut plain).unwrap().len;
        let request = Pli {
            sender_ssrc: 1,
            media_ssrc: ssrc,
        };
        let more = request.write(&mut plain[len..]).unwrap();
        let peer = self.peers[at].as_mut().unwrap();
        let datagram = peer.protect_rtcp(&plain[..len + more]);
        let peer = self.peers[at].as_ref().unwrap();
        self.call.deliver(peer, &datagram);
    }

    /// Random bytes.
    fn noise(&mut self) {
        let Some(at) = self.peer() else { return };
        let len = 1 + self.dice.below(200);
        let mut bytes: Vec<u8> = (0..len).map(|_| self.dice.next() as u8).collect();
        bytes[0] = 0x80 | (bytes[0] & 0x3f);
        let peer = self.peers[at].as_ref().unwrap();
        assert!(len < 2 || classify(&bytes) != meeshy_sfu_proto::net::Class::Stun);
        self.call.deliver(peer, &bytes);
    }

    fn media(&mut self) {
        if self.tracks.is_empty() {
            return;
        }
        let at = self.dice.below(self.tracks.len());
        let (key_frame, padding_only, skip) = (
            self.dice.below(8) == 0,
            self.dice.below(20) == 0,
            self.dice.below(30) == 0,
        );
        let track = &mut self.tracks[at];
        // Skipped numbers are loss; what is lost stays lost in this walk.
        track.sequence = track.sequence.wrapping_add(1 + u16::from(skip));
        let mut packet = if track.video {
            video_packet(track.ssrc, track.sequence, 0, key_frame)
        } else {
            audio_packet(track.ssrc, track.sequence, 0, 30)
        };
        packet.payload[2..6].copy_from_slice(&track.ssrc.to_be_bytes());
        packet.payload[6..8].copy_from_slice(&track.sequence.to_be_bytes());
        if padding_only {
            packet.payload.clear();
            packet.padding = 100;
        }
        let owner = track.owner;
        let datagram = self.peers[owner].as_mut().unwrap().protect(&packet);
        self.call
            .deliver(self.peers[owner].as_ref().unwrap(), &datagram);
    }

    /// Everything sent is authentic, for its receiver, from whom it says, and numbered once.
    fn drain(&mut self) {
        for at in 0..self.peers.len() {
            let Some(peer) = &mut self.peers[at] else {
                continue;
            };
            for packet in self.call.inbox(peer).rtp {
                let rtx = packet.payload_type == 102;
                let ssrc = packet.ssrc - u32::from(rtx);
                // A consumer may have closed since; its last packets are still on their way.
                let Some(stream) = self.streams.get_mut(&(at, ssrc)) else {
                    continue;
                };
                let body = if rtx {
                    &packet.payload[2..]
                } else {
                    &packet.payload[..]
                };
                let source = u32::from_be_bytes(body[2..6].try_into().unwrap());
                assert_eq!(source, stream.source, "foreign media");
                let mark = u16::from_be_bytes(body[6..8].try_into().unwrap());
                if rtx {
                    let original = u16::from_be_bytes([packet.payload[0], packet.payload[1]]);
                    let newest = stream.newest.expect("sent before it is repeated");
                    let own = newest - u64::from((newest as u16).wrapping_sub(original));
                    assert_eq!(stream.seen.get(&own), Some(&mark), "repeated as it was");
                    continue;
                }
                assert!(
                    stream.seen.insert(packet.index, mark).is_none(),
                    "a number twice"
                );
                if let Some(newest) = stream.newest {
                    assert!(packet.index > newest, "in order");
                    // Loss of one at a time is all there is; padding and pauses leave nothing.
                    assert!(
                        packet.index <= newest + 40,
                        "a gap of {}",
                        packet.index - newest
                    );
                }
                stream.newest = Some(packet.index);
            }
        }
        self.forget_closed();
        self.call.sent.datagrams.clear();
        self.call.sent.trains.clear();
    }
}

#[test]
fn any_order_of_calls_and_packets_leaves_the_router_whole() {
    let given = std::env::var("MEESHY_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seeds: Vec<u64> = given.map_or((1..=20).collect(), |seed| vec![seed]);
    for seed in seeds {
        eprintln!("MEESHY_TEST_SEED={seed}");
        let mut walk = Walk::new(seed);
        for _ in 0..4000 {
            walk.step();
        }
        while let Some(at) = walk.peer() {
            let peer = walk.peers[at].take().unwrap();
            walk.call
                .router
                .close_transport(peer.transport, walk.call.now, &mut walk.call.sent);
        }
        let stats = walk.call.router.stats();
        assert_eq!(
            (stats.transports, stats.producers, stats.consumers),
            (0, 0, 0)
        );
        assert_eq!((stats.ring_bytes, walk.call.router.pending()), (0, 0));
        assert!(stats.packets_out > 0);
    }
}

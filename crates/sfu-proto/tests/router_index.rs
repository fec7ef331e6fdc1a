//! No SRTP index is used twice unless with the same bytes (RFC 7714 §8.4).
#![allow(clippy::unwrap_used)]

mod router_call;
mod router_mesh;
mod seeded;

use std::time::Duration;

use meeshy_sfu_proto::net::{Destination, Sink, SocketId};
use meeshy_sfu_proto::router::{ConsumerKey, EncodingConfig, ProducerKey};
use meeshy_sfu_proto::rtcp::nack;
use meeshy_sfu_proto::srtp::SrtpProfile;
use router_call::*;
use router_mesh::Mesh;
use seeded::Random;

fn nack_of(ssrc: u32, sequences: &[u16]) -> Vec<u8> {
    let mut out = vec![0; 1400];
    let written = nack::write(1, ssrc, sequences, &mut out).unwrap();
    out.truncate(written.len);
    out
}

/// A call in which alice sends video to bob, who gets packets again under their own numbers.
fn video_without_rtx() -> (Call, Peer, Peer) {
    let mut call = Call::new();
    let (alice, bob) = (call.peer(), call.peer_with(true, None));
    let producer = call.produce(&alice, video(1000));
    call.consume(&bob, producer, without_rtx(video_consumer(5000, "0")));
    (call, alice, bob)
}

/// A packet of that video with a payload of so many bytes.
fn sized(sequence: u16, len: usize) -> Packet {
    let mut packet = video_packet(1000, sequence, 0, sequence == 0);
    packet.payload.truncate(len);
    packet
}

#[test]
#[should_panic(expected = "left with two texts")]
fn the_ledger_sees_one_index_with_two_texts() {
    let mut sent = Sent::default();
    let to = Destination {
        socket: SocketId::UDP_V4,
        remote: "192.0.2.1:1".parse().unwrap(),
    };
    for text in [1u8, 1, 2] {
        let packet = [0x80, 96, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9, text, text];
        sent.space(packet.len()).copy_from_slice(&packet);
        sent.commit(&to, packet.len());
        assert!(text == 1 || sent.ledger.repeated == 1);
    }
}

#[test]
fn a_late_packet_requested_before_its_flush_is_sent_twice_with_the_same_bytes() {
    let (mut call, mut alice, mut bob) = video_without_rtx();
    call.send(&mut alice, &sized(0, 150));
    let late = alice.protect(&sized(1, 150));
    call.send(&mut alice, &sized(2, 150));
    let missing = call.inbox(&mut bob).rtp[0].sequence + 1;
    // It comes, and waits for the flush beside a larger one that it would be padded up to.
    call.deliver(&alice, &late);
    let larger = alice.protect(&sized(3, 190));
    call.deliver(&alice, &larger);
    call.send_rtcp(&mut bob, &nack_of(5000, &[missing]));
    call.flush();
    assert_eq!(call.sent.ledger.repeated, 1);
    assert_eq!(call.sent.ledger.len(), 4);
}

#[test]
fn a_lossy_mesh_with_nacks_uses_no_index_twice() {
    for padding in [false, true] {
        let seconds = Duration::from_secs;
        let mut mesh = Mesh::new(Call::new(), 6, seconds(5), padding, true);
        mesh.arena.ledger = Some(Ledger::default());
        mesh.run_until(seconds(5), Duration::from_millis(2));
        let ledger = mesh.arena.ledger.take().unwrap();
        assert!(ledger.len() > 10_000, "{}", ledger.len());
    }
}

/// A stream alice sends.
struct Stream {
    encoding: Option<usize>,
    audio: bool,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    silent: bool,
    /// It has sent nothing since it jumped.
    jumped: bool,
}

/// One sender of everything, two receivers with every kind of repair, packets that come late, in any order or
/// never, sources that change, jump and fall silent, and requests for any number.
struct Walk {
    call: Call,
    dice: Random,
    alice: Peer,
    receivers: Vec<Peer>,
    producers: Vec<ProducerKey>,
    consumers: Vec<(usize, u32, ConsumerKey)>,
    streams: Vec<Stream>,
    held: Vec<Vec<u8>>,
    names: u32,
}

impl Walk {
    fn new(seed: u64, profile: SrtpProfile) -> Self {
        let mut call = Call::with_profile(profile);
        let alice = call.peer();
        let receivers = vec![call.peer_with(true, None), call.peer()];
        let mut anonymous = video(0);
        anonymous.mid = Some("w".into());
        anonymous.encodings = vec![EncodingConfig::default()];
        let mut sound = audio(9000);
        sound.codecs[0].nack = true;
        let configs = [simulcast(3), anonymous, sound];
        let producers: Vec<_> = configs
            .map(|config| call.produce(&alice, config))
            .into_iter()
            .collect();
        let mut consumers = Vec::new();
        for (who, receiver) in receivers.iter().enumerate() {
            for (track, producer) in producers.iter().enumerate() {
                for repair in 0..2 {
                    let ssrc = 5000 + 100 * track as u32 + 10 * repair;
                    let mid = format!("{track}{repair}");
                    let mut config = if track == 2 {
                        audio_consumer(ssrc, &mid)
                    } else {
                        video_consumer(ssrc, &mid)
                    };
                    if repair == 1 {
                        config = without_rtx(config);
                    }
                    let key = call.consume(receiver, *producer, config);
                    consumers.push((who, ssrc, key));
                }
            }
        }
        let stream = |encoding, audio, ssrc| Stream {
            encoding,
            audio,
            ssrc,
            sequence: 65_000,
            timestamp: 0,
            silent: false,
            jumped: false,
        };
        let streams = vec![
            stream(Some(0), false, 100),
            stream(Some(1), false, 200),
            stream(Some(2), false, 300),
            stream(None, false, 400),
            stream(None, true, 9000),
        ];
        Self {
            call,
            dice: Random::new(seed),
            alice,
            receivers,
            producers,
            consumers,
            streams,
            held: Vec::new(),
            names: 10_000,
        }
    }

    fn media(&mut self) {
        let at = self.dice.below(self.streams.len());
        let key_frame = self.dice.below(6) == 0;
        let len = 100 + self.dice.below(150);
        let fate = self.dice.below(20);
        let stream = &mut self.streams[at];
        if stream.silent {
            return;
        }
        stream.sequence = stream.sequence.wrapping_add(1);
        stream.timestamp = stream.timestamp.wrapping_add(960);
        stream.jumped = false;
        let (ssrc, sequence, timestamp) = (stream.ssrc, stream.sequence, stream.timestamp);
        let mut packet = match stream.encoding {
            Some(encoding) => encoding_packet(encoding, ssrc, sequence, timestamp, key_frame),
            None if stream.audio => audio_packet(ssrc, sequence, timestamp, 30),
            None => video_packet(ssrc, sequence, timestamp, key_frame),
        };
        if stream.encoding.is_none() && !stream.audio {
            packet.extensions = vec![(4, b"w".to_vec())];
        }
        packet.payload.resize(len, 7);
        packet.payload[2..4].copy_from_slice(&sequence.to_be_bytes());
        if fate == 0 && !stream.audio {
            packet.payload.clear();
            packet.padding = 90;
        }
        let datagram = self.alice.protect(&packet);
        match fate {
            1 => {}
            2..5 => self.held.push(datagram),
            _ => self.call.deliver(&self.alice, &datagram),
        }
    }

    fn release(&mut self) {
        if !self.held.is_empty() {
            let late = self.held.swap_remove(self.dice.below(self.held.len()));
            self.call.deliver(&self.alice, &late);
        }
    }

    fn ask(&mut self) {
        let (who, ssrc, _) = self.consumers[self.dice.below(self.consumers.len())];
        let address = self.receivers[who].address;
        let newest = self.call.sent.ledger.newest(&address, ssrc).unwrap_or(0) as u16;
        let back = self.dice.below(200) as u16;
        let asked: Vec<u16> = (0..30)
            .map(|more| newest.wrapping_sub(back + more))
            .rev()
            .collect();
        self.call
            .send_rtcp(&mut self.receivers[who], &nack_of(ssrc, &asked));
    }

    fn change(&mut self) {
        let at = self.dice.below(self.streams.len() - 1);
        let kind = self.dice.below(4);
        let jump = 3001 + self.dice.below(20_000) as u16;
        let stream = &mut self.streams[at];
        match kind {
            0 => {
                self.names += 1;
                stream.ssrc = self.names;
                stream.sequence = self.dice.below(1 << 16) as u16;
            }
            1 if !stream.jumped => {
                stream.sequence = stream.sequence.wrapping_add(jump);
                stream.jumped = true;
            }
            2 => stream.silent = !stream.silent,
            _ => {}
        }
    }

    fn pause(&mut self) {
        let paused = self.dice.below(3) == 0;
        let now = self.call.now;
        if self.dice.below(3) == 0 {
            let key = self.producers[self.dice.below(self.producers.len())];
            self.call
                .router
                .set_producer_paused(key, paused, now)
                .unwrap();
        } else {
            let (_, _, key) = self.consumers[self.dice.below(self.consumers.len())];
            self.call
                .router
                .set_consumer_paused(key, paused, now)
                .unwrap();
        }
    }

    fn step(&mut self) {
        match self.dice.below(200) {
            0..30 => self.call.flush(),
            30..45 => self.call.wait(Duration::from_millis(9)),
            45 => self.call.wait(Duration::from_secs(2)),
            46..49 => self.change(),
            49..54 => self.pause(),
            54..74 => self.ask(),
            74..100 => self.release(),
            _ => self.media(),
        }
        self.call.sent.datagrams.clear();
        self.call.sent.trains.clear();
        self.call.events();
    }
}

#[test]
fn nothing_leaves_twice_under_one_index_whatever_sources_and_receivers_do() {
    let given = std::env::var("MEESHY_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seeds: Vec<u64> = given.map_or((1..=12).collect(), |seed| vec![seed]);
    let (mut sent, mut repeated) = (0, 0);
    for seed in seeds {
        eprintln!("MEESHY_TEST_SEED={seed}");
        let profile = match seed % 2 {
            0 => SrtpProfile::AeadAes256Gcm,
            _ => SrtpProfile::Aes128CmSha1_80,
        };
        let mut walk = Walk::new(seed, profile);
        for _ in 0..6000 {
            walk.step();
        }
        sent += walk.call.sent.ledger.len();
        repeated += walk.call.sent.ledger.repeated;
    }
    assert!(sent > 20_000 && repeated > 1000, "{sent} {repeated}");
}

#[test]
fn a_repaired_packet_retransmitted_before_its_flush_keeps_its_bytes_when_the_original_arrives() {
    let (mut call, mut alice, mut bob) = video_without_rtx();
    call.send(&mut alice, &sized(0, 150));
    let original = sized(1, 150);
    let itself = alice.protect(&original);
    call.send(&mut alice, &sized(2, 150));
    let missing = call.inbox(&mut bob).rtp[0].sequence + 1;
    let mut repair = Packet {
        ssrc: 1001,
        payload_type: 97,
        ..original.clone()
    };
    repair.payload = [&[0, 1], original.payload.as_slice()].concat();
    let repair = alice.protect(&repair);
    call.deliver(&alice, &repair);
    let larger = alice.protect(&sized(3, 190));
    call.deliver(&alice, &larger);
    call.send_rtcp(&mut bob, &nack_of(5000, &[missing]));
    call.deliver(&alice, &itself);
    call.flush();
    assert_eq!(call.sent.ledger.repeated, 1);
    assert_eq!(call.sent.ledger.len(), 4);
}

//! A full mesh in virtual time: every participant sends audio and video to all others. Packets are made beforehand,
//! so that only the router runs.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

use std::time::{Duration, Instant};

use meeshy_sfu_proto::net::{Destination, Sink, classify};
use meeshy_sfu_proto::rtcp::{Pli, nack};
use meeshy_sfu_proto::srtp::SrtpProfile;

use crate::router_call::*;

/// Where datagrams vanish: a ring of buffers as in a worker's arena.
pub struct Arena {
    buffer: Vec<u8>,
    at: usize,
    pub datagrams: u64,
    pub bytes: u64,
    /// Looks at each datagram, if the test has the time.
    pub ledger: Option<Ledger>,
}

impl Arena {
    pub fn new() -> Self {
        Self {
            buffer: vec![0; 192 * 1024],
            at: 0,
            datagrams: 0,
            bytes: 0,
            ledger: None,
        }
    }
}

impl Sink for Arena {
    #[inline]
    fn space(&mut self, max: usize) -> &mut [u8] {
        if self.at + max > self.buffer.len() {
            self.at = 0;
        }
        &mut self.buffer[self.at..self.at + max]
    }

    #[inline]
    fn commit(&mut self, to: &Destination, len: usize) {
        if let Some(ledger) = &mut self.ledger {
            let datagram = &self.buffer[self.at..self.at + len];
            ledger.enter(to, datagram, SrtpProfile::AeadAes128Gcm);
        }
        self.at += len;
        self.datagrams += 1;
        self.bytes += len as u64;
    }

    #[inline]
    fn end_train(&mut self) {}
}

/// A mesh and the packets its members send, in order of time.
pub struct Mesh {
    pub call: Call,
    pub peers: Vec<Peer>,
    pub arena: Arena,
    /// When, who, what.
    pub schedule: Vec<(Duration, usize, Vec<u8>)>,
    next: usize,
    flushed: Instant,
}

impl Mesh {
    /// `participants` in one call for `time`; `feedback`: receivers send NACKs and PLIs too.
    pub fn new(
        mut call: Call,
        participants: usize,
        time: Duration,
        padding: bool,
        feedback: bool,
    ) -> Self {
        let mut peers: Vec<Peer> = (0..participants)
            .map(|_| call.peer_with(padding, None))
            .collect();
        let mut producers = Vec::new();
        for (who, peer) in peers.iter().enumerate() {
            let base = 10_000 * (who as u32 + 1);
            producers.push((
                call.produce(peer, audio(base)),
                call.produce(peer, video(base + 10)),
            ));
        }
        for (receiver, peer) in peers.iter().enumerate() {
            for (sender, (sound, picture)) in producers.iter().enumerate() {
                if sender != receiver {
                    let ssrc = 1_000_000 + 10 * sender as u32;
                    let (one, two) = (format!("{}", 2 * sender), format!("{}", 2 * sender + 1));
                    call.consume(peer, *sound, audio_consumer(ssrc, &one));
                    call.consume(peer, *picture, video_consumer(ssrc + 4, &two));
                }
            }
        }
        let schedule = schedule(&mut peers, time, feedback);
        let flushed = call.now;
        Self {
            call,
            peers,
            arena: Arena::new(),
            schedule,
            next: 0,
            flushed,
        }
    }

    /// Runs the router until this moment, flushing every `window`. Gives the packets handed in.
    pub fn run_until(&mut self, time: Duration, window: Duration) -> usize {
        let first = self.next;
        while let Some((at, who, datagram)) = self.schedule.get_mut(self.next) {
            if *at > time {
                break;
            }
            let now = self.call.start + *at;
            let peer = &self.peers[*who];
            let class = classify(datagram);
            self.call.router.handle_datagram(
                peer.transport,
                class,
                datagram,
                peer.address,
                now,
                &mut self.arena,
            );
            self.next += 1;
            if now >= self.flushed + window {
                self.call.router.flush(now, &mut self.arena);
                self.flushed = now;
            }
            if self
                .call
                .router
                .poll_timeout()
                .is_some_and(|due| due <= now)
            {
                self.call.router.handle_timeout(now, &mut self.arena);
                while self.call.router.poll_event().is_some() {}
            }
        }
        self.next - first
    }
}

/// Audio at 50 packets a second of 84 to 164 bytes, video at 40 a second in frames of 700 to 1150 bytes.
fn schedule(peers: &mut [Peer], time: Duration, feedback: bool) -> Vec<(Duration, usize, Vec<u8>)> {
    let mut schedule = Vec::new();
    let count = peers.len();
    for (who, peer) in peers.iter_mut().enumerate() {
        let base = 10_000 * (who as u32 + 1);
        let offset = Duration::from_micros(20_000 * who as u64 / count as u64);
        let (mut sequence, mut wide) = (0u16, 0u16);
        let mut at = offset;
        let mut step = 0u32;
        while at < time {
            let mut packet = audio_packet(base, step as u16, 960 * step, 30 + (who as u8 % 60));
            packet.payload = vec![7; 84 + (step as usize * 37 + who * 11) % 80];
            packet.extensions.push((3, wide.to_be_bytes().to_vec()));
            wide = wide.wrapping_add(1);
            schedule.push((at, who, peer.protect(&packet)));
            // 33 frames a second, every fifth of two packets: 40 packets.
            if step % 3 != 2 {
                let frame = step;
                let size = 700 + (frame as usize * 131 + who * 17) % 450;
                let packets = if frame.is_multiple_of(5) { 2 } else { 1 };
                for part in 0..packets {
                    let mut packet = video_packet(
                        base + 10,
                        sequence,
                        1800 * frame,
                        frame.is_multiple_of(150) && part == 0,
                    );
                    packet.payload = vp8(frame.is_multiple_of(150) && part == 0, size);
                    packet.marker = part + 1 == packets;
                    packet.extensions = vec![(4, b"v".to_vec()), (3, wide.to_be_bytes().to_vec())];
                    wide = wide.wrapping_add(1);
                    sequence = sequence.wrapping_add(1);
                    // A lost packet now and then, where feedback is wanted.
                    let datagram = peer.protect(&packet);
                    if !feedback || sequence % 97 != 3 {
                        schedule.push((at + Duration::from_millis(3), who, datagram));
                    }
                }
            }
            if feedback && step % 50 == 10 {
                let about = 1_000_000 + 10 * ((who as u32 + 1) % count as u32) + 4;
                let mut plain = [0; 256];
                let asked: Vec<u16> = (0..4).map(|hole| sequence.wrapping_sub(hole * 3)).collect();
                let mut asked = asked;
                asked.reverse();
                let len = nack::write(1, about, &asked, &mut plain).unwrap().len;
                let request = Pli {
                    sender_ssrc: 1,
                    media_ssrc: about,
                };
                let more = request.write(&mut plain[len..]).unwrap();
                schedule.push((at, who, peer.protect_rtcp(&plain[..len + more])));
            }
            step += 1;
            at += Duration::from_millis(20);
        }
    }
    schedule.sort_by_key(|(at, who, _)| (*at, *who));
    schedule
}

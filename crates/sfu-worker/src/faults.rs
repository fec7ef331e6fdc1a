//! Faults on purpose: alters media on its way to receivers, so that a load test's verdict can be tested.
//!
//! # Job
//! Takes what a router flushes, opens each packet with the sender's own keys, applies the injected faults and seals
//! the result anew. A worker that was not started with `allow_faults` never has one of these, and a worker without
//! faults looks once per flush whether it has.
//!
//! # Invariants
//! - Sequence numbers of a stream stay without a gap, whatever is left out or added, but for `renumber`.
//! - Numbers never step back when faults end: what they moved stays moved for the rest of the stream.
//!
//! # Cost
//! Three encryptions and some allocations per packet: faults are for calls of a few participants.
//!
//! # Left out
//! Retransmissions, RTCP, DTLS and STUN pass unchanged.

mod plan;

use std::collections::HashMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use meeshy_sfu_io::MAX_DATAGRAM;
use meeshy_sfu_proto::net::{Destination, Sink};
use meeshy_sfu_proto::router::{Router, TransportKey};
use meeshy_sfu_proto::rtp::RtpHeader;
use meeshy_sfu_proto::rtp::payload::vp8;
use meeshy_sfu_proto::srtp::SrtpTx;

pub use plan::{Fault, FaultAct, FaultKind, FaultLog, FaultReach, MAX_ACTS};

use crate::command_error::CommandError;
use crate::demux::Demux;
use crate::outbox::Outbox;

/// What the stamps of our bots begin with, and their length.
const STAMP_MAGIC: [u8; 4] = *b"MSHY";
const STAMP_LEN: usize = 32;
/// Where a stamp says who sent it.
const STAMP_BOT: usize = 6;
/// Makes an SSRC that was never announced.
const UNASKED: u32 = 0x5a5a_5a5a;
/// Roll-over counts tried for a stream that is older than the faults.
const ROLL_OVERS: u64 = 8;
const FOLLOWED: &str = "invariant: each packet is followed before faults look at it";

/// The faults of a worker, and what they did.
#[derive(Debug)]
pub(crate) struct Faults {
    seed: u64,
    plan: Vec<Fault>,
    since: Instant,
    log: FaultLog,
    receivers: Vec<Destination>,
    streams: HashMap<(Destination, u32), Stream>,
    collected: Collected,
}

/// A stream to one receiver.
#[derive(Debug)]
struct Stream {
    /// Its place in the order of appearance.
    ordinal: u32,
    payload_type: u8,
    /// Index of the newest packet that the router sent.
    newest: u64,
    /// Added to the router's index.
    moved: i64,
    packets: u64,
    frames: u64,
    timestamp: u32,
    in_key_frame: bool,
    /// Participant by its stamps.
    bot: Option<u16>,
    /// RTP timestamp at which a fault stopped it.
    frozen: Option<u32>,
    /// The last payload without and with marker.
    last: [Vec<u8>; 2],
}

/// A packet with its payload in the clear.
struct Open {
    /// Up to and including extensions.
    header: Vec<u8>,
    payload: Vec<u8>,
    index: u64,
    marker: bool,
    payload_type: u8,
    ssrc: u32,
}

/// What a fault did to a packet.
enum Effect {
    Withheld,
    /// It is sent once more, under this SSRC.
    Copied(u32),
    Altered,
}

/// A sink that keeps datagrams for later.
#[derive(Debug, Default)]
struct Collected {
    space: Vec<u8>,
    datagrams: Vec<(Destination, Vec<u8>)>,
}

impl Faults {
    /// No faults yet.
    pub(crate) fn new(now: Instant) -> Faults {
        Faults {
            seed: 0,
            plan: Vec::new(),
            since: now,
            log: FaultLog::default(),
            receivers: Vec::new(),
            streams: HashMap::new(),
            collected: Collected::default(),
        }
    }

    /// Replaces the faults, and begins a new log.
    pub(crate) fn inject(
        &mut self,
        seed: u64,
        plan: Vec<Fault>,
        now: Instant,
    ) -> Result<(), CommandError> {
        plan.iter().try_for_each(Fault::check)?;
        self.log = FaultLog {
            since_unix_us: unix_us(),
            reach: vec![FaultReach::default(); plan.len()],
            ..FaultLog::default()
        };
        (self.seed, self.plan, self.since) = (seed, plan, now);
        for stream in self.streams.values_mut() {
            (stream.packets, stream.frames, stream.frozen) = (0, 0, None);
        }
        Ok(())
    }

    /// Whether a producer that is to be paused now goes on being forwarded.
    pub(crate) fn ignore_pause(&self, now: Instant) -> bool {
        let elapsed_ms = now.saturating_duration_since(self.since).as_millis() as u64;
        self.plan
            .iter()
            .any(|fault| fault.kind == FaultKind::IgnorePause && fault.acts_at(elapsed_ms))
    }

    /// What was done since the last injection.
    pub(crate) fn log(&self) -> &FaultLog {
        &self.log
    }

    /// Flushes a router through the faults.
    pub(crate) fn flush(
        &mut self,
        router: &mut Router,
        demux: &Demux,
        now: Instant,
        out: &mut Outbox,
    ) {
        let mut collected = std::mem::take(&mut self.collected);
        router.flush(now, &mut collected);
        let at = (
            now.saturating_duration_since(self.since).as_millis() as u64,
            unix_us(),
        );
        let mut before = None;
        for (to, datagram) in collected.datagrams.drain(..) {
            if before.replace(to).is_some_and(|last| last != to) {
                out.end_train();
            }
            let target = demux.by_remote(&to);
            let tx = target.and_then(|target| router.srtp_tx(TransportKey(target.transport)));
            match tx.and_then(|tx| Some((tx, self.open(tx, to, &datagram)?))) {
                Some((tx, packet)) => {
                    for (packet, index) in self.apply(to, packet, at) {
                        let room = packet.header.len() + packet.payload.len();
                        let space = out.space(room + tx.profile().rtp_overhead());
                        space[..packet.header.len()].copy_from_slice(&packet.header);
                        let header_len = packet.header.len();
                        let len =
                            tx.protect_rtp(space, header_len, &packet.payload, packet.ssrc, index);
                        out.commit(&to, len);
                    }
                }
                None => {
                    out.space(datagram.len())[..datagram.len()].copy_from_slice(&datagram);
                    out.commit(&to, datagram.len());
                }
            }
        }
        out.end_train();
        self.collected = collected;
    }

    /// Opens what the router has sealed: both ciphers are key streams, so sealing twice opens, and sealing what was
    /// opened proves the roll-over count.
    fn open(&self, tx: &SrtpTx, to: Destination, datagram: &[u8]) -> Option<Open> {
        let header = RtpHeader::parse(datagram).ok()?;
        let header_len = header.header_len();
        let overhead = tx.profile().rtp_overhead();
        let sealed = datagram.get(header_len..datagram.len().checked_sub(overhead)?)?;
        // A stream that is new to us may have rolled over before.
        let candidates = match self.streams.get(&(to, header.ssrc)) {
            Some(stream) => vec![nearest(header.sequence, stream.newest)],
            None => (0..ROLL_OVERS)
                .map(|count| count << 16 | u64::from(header.sequence))
                .collect(),
        };
        let mut space = datagram[..header_len].to_vec();
        space.resize(datagram.len(), 0);
        for index in candidates {
            tx.protect_rtp(&mut space, header_len, sealed, header.ssrc, index);
            let payload = space[header_len..header_len + sealed.len()].to_vec();
            tx.protect_rtp(&mut space, header_len, &payload, header.ssrc, index);
            if space == datagram {
                return Some(Open {
                    header: datagram[..header_len].to_vec(),
                    payload,
                    index,
                    marker: header.marker,
                    payload_type: header.payload_type,
                    ssrc: header.ssrc,
                });
            }
        }
        None
    }

    /// Applies the faults to one packet; returns what is to be sent, each with its index.
    fn apply(
        &mut self,
        to: Destination,
        mut packet: Open,
        (elapsed_ms, unix_us): (u64, u64),
    ) -> Vec<(Open, u64)> {
        let receiver = self.receiver(to);
        let key = (to, packet.ssrc);
        self.follow(key, &packet);
        let timestamp = packet.timestamp();
        let mut copies = Vec::new();
        for position in 0..self.plan.len() {
            if !self.chooses(position, key, &packet, receiver, elapsed_ms) {
                continue;
            }
            let other = self.other_payload(self.plan[position].kind, key, &packet);
            let stream = self.streams.get_mut(&key).expect(FOLLOWED);
            let effect = alter(&self.plan[position], &mut packet, stream, other);
            if effect.is_some() {
                self.note(FaultAct {
                    fault: position as u32,
                    unix_us,
                    receiver,
                    ssrc: key.1,
                    timestamp,
                    stamped: is_stamped(&packet.payload),
                });
            }
            match effect {
                Some(Effect::Withheld) => return Vec::new(),
                Some(Effect::Copied(ssrc)) => copies.push(ssrc),
                Some(Effect::Altered) | None => {}
            }
        }
        self.numbered(key, packet, &copies)
    }

    /// Whether a fault is to be applied to this packet; counts those it reaches.
    fn chooses(
        &mut self,
        position: usize,
        key: (Destination, u32),
        packet: &Open,
        receiver: u32,
        elapsed_ms: u64,
    ) -> bool {
        let fault = &self.plan[position];
        // What the wire carried counts, also after a fault before this one changed the header.
        let stream = &self.streams[&key];
        if fault.kind == FaultKind::IgnorePause || !fault.reaches(stream.payload_type, receiver) {
            return false;
        }
        let reach = &mut self.log.reach[position];
        reach.packets += 1;
        reach.stamped += u64::from(is_stamped(&packet.payload));
        let number = if fault.by_frame {
            stream.frames
        } else {
            stream.packets
        };
        fault.acts_at(elapsed_ms)
            && fault.chooses(self.seed, position as u32, stream.ordinal, number)
    }

    fn note(&mut self, act: FaultAct) {
        if self.log.acts.len() < MAX_ACTS {
            self.log.acts.push(act);
        } else {
            self.log.not_listed += 1;
        }
    }

    /// Writes numbers into a packet and its copies.
    fn numbered(
        &mut self,
        key: (Destination, u32),
        packet: Open,
        copies: &[u32],
    ) -> Vec<(Open, u64)> {
        let stream = self.streams.get_mut(&key).expect(FOLLOWED);
        let mut index = packet.index.saturating_add_signed(stream.moved);
        let mut all = vec![(packet.written(key.1, index), index)];
        for &ssrc in copies {
            if ssrc == key.1 {
                stream.moved += 1;
                index += 1;
                all.push((packet.written(ssrc, index), index));
            } else {
                // A stream of its own: only its SSRC, not the numbers, says that nobody asked for it.
                all.push((packet.written(ssrc, packet.index), packet.index));
            }
        }
        all
    }

    /// Books a packet of the router in its stream.
    fn follow(&mut self, key: (Destination, u32), packet: &Open) {
        let ordinal = self.streams.len() as u32;
        let timestamp = packet.timestamp();
        let stream = self.streams.entry(key).or_insert_with(|| Stream {
            ordinal,
            payload_type: packet.payload_type,
            newest: packet.index,
            moved: 0,
            packets: 0,
            frames: 0,
            timestamp: timestamp.wrapping_sub(1),
            in_key_frame: false,
            bot: None,
            frozen: None,
            last: [Vec::new(), Vec::new()],
        });
        stream.newest = stream.newest.max(packet.index);
        stream.packets += 1;
        if stream.timestamp != timestamp {
            stream.timestamp = timestamp;
            stream.frames += 1;
            stream.in_key_frame = vp8::is_keyframe(&packet.payload);
        }
        stream.last[usize::from(packet.marker)].clone_from(&packet.payload);
        if is_stamped(&packet.payload) {
            let at = packet.payload.len() - STAMP_LEN + STAMP_BOT;
            stream.bot = Some(u16::from_be_bytes([
                packet.payload[at],
                packet.payload[at + 1],
            ]));
        }
    }

    /// Returns the payload that a fault of this kind puts into a packet, if there is one.
    fn other_payload(
        &self,
        kind: FaultKind,
        key: (Destination, u32),
        packet: &Open,
    ) -> Option<Vec<u8>> {
        match kind {
            FaultKind::Swap => self.partner(key, packet.marker),
            FaultKind::Echo if is_stamped(&packet.payload) => self.own(key, packet.marker),
            FaultKind::OtherKind if is_stamped(&packet.payload) => self.of_other_kind(key),
            _ => None,
        }
    }

    /// Returns the last payload of the kind that the receiver itself sent: of the participant whom all others get.
    fn own(&self, key: (Destination, u32), marker: bool) -> Option<Vec<u8>> {
        let kind = self.streams[&key].payload_type;
        let gets = |to: Destination, bot| {
            let mut streams = self.streams.iter();
            streams.any(|((receiver, _), stream)| *receiver == to && stream.bot == bot)
        };
        let last = &self
            .streams
            .iter()
            .filter(|((to, _), stream)| *to != key.0 && stream.payload_type == kind)
            .find(|(_, stream)| stream.bot.is_some() && !gets(key.0, stream.bot))?
            .1
            .last[usize::from(marker)];
        (!last.is_empty()).then(|| last.clone())
    }

    /// Returns the last payload with a stamp of the same participant's stream of the other kind.
    fn of_other_kind(&self, key: (Destination, u32)) -> Option<Vec<u8>> {
        let mine = &self.streams[&key];
        self.streams
            .iter()
            .filter(|((to, _), stream)| {
                *to == key.0 && stream.bot == mine.bot && stream.payload_type != mine.payload_type
            })
            .flat_map(|(_, stream)| &stream.last)
            .find(|last| is_stamped(last))
            .cloned()
    }

    /// Returns the last payload that the same receiver got of another stream of the kind.
    fn partner(&self, key: (Destination, u32), marker: bool) -> Option<Vec<u8>> {
        let mine = &self.streams[&key];
        let others = self
            .streams
            .iter()
            .filter(|((to, ssrc), stream)| {
                *to == key.0 && *ssrc != key.1 && stream.payload_type == mine.payload_type
            })
            .map(|(_, stream)| stream)
            .filter(|stream| !stream.last[usize::from(marker)].is_empty());
        let next = others.min_by_key(|stream| stream.ordinal.wrapping_sub(mine.ordinal))?;
        Some(next.last[usize::from(marker)].clone())
    }

    fn receiver(&mut self, to: Destination) -> u32 {
        let known = self.receivers.iter().position(|known| *known == to);
        known.unwrap_or_else(|| {
            self.receivers.push(to);
            self.receivers.len() - 1
        }) as u32
    }
}

impl Open {
    fn timestamp(&self) -> u32 {
        u32::from_be_bytes(self.header[4..8].try_into().expect("four bytes"))
    }

    fn write_timestamp(&mut self, timestamp: u32) {
        self.header[4..8].copy_from_slice(&timestamp.to_be_bytes());
    }

    /// A copy under this SSRC and index.
    fn written(&self, ssrc: u32, index: u64) -> Open {
        let mut header = self.header.clone();
        header[2..4].copy_from_slice(&(index as u16).to_be_bytes());
        header[8..12].copy_from_slice(&ssrc.to_be_bytes());
        Open {
            header,
            payload: self.payload.clone(),
            ssrc,
            index,
            ..*self
        }
    }
}

impl Sink for Collected {
    fn space(&mut self, max: usize) -> &mut [u8] {
        self.space.resize(max.min(MAX_DATAGRAM), 0);
        &mut self.space
    }

    fn commit(&mut self, to: &Destination, len: usize) {
        self.datagrams.push((*to, self.space[..len].to_vec()));
    }

    fn end_train(&mut self) {}
}

/// Applies one fault to one packet; `None` if there is nothing in it that the fault is about.
fn alter(
    fault: &Fault,
    packet: &mut Open,
    stream: &mut Stream,
    other: Option<Vec<u8>>,
) -> Option<Effect> {
    let stamped = is_stamped(&packet.payload);
    match fault.kind {
        FaultKind::Withhold
        | FaultKind::TearFrames
        | FaultKind::OnlyKeyFrames
        | FaultKind::WithholdKeyFrames => {
            let spared = match fault.kind {
                FaultKind::TearFrames => packet.marker,
                FaultKind::OnlyKeyFrames => stream.in_key_frame,
                FaultKind::WithholdKeyFrames => !stream.in_key_frame,
                _ => false,
            };
            if spared {
                return None;
            }
            stream.moved -= 1;
            return Some(Effect::Withheld);
        }
        FaultKind::IgnorePause => return None,
        FaultKind::Repeat => return Some(Effect::Copied(packet.ssrc)),
        FaultKind::UnaskedSsrc => return Some(Effect::Copied(packet.ssrc ^ UNASKED)),
        FaultKind::Swap | FaultKind::Echo | FaultKind::OtherKind => packet.payload = other?,
        FaultKind::PayloadType => {
            packet.header[1] = packet.header[1] & 0x80 | fault.amount as u8;
        }
        FaultKind::DamageStamp if stamped => {
            let at = packet.payload.len() - STAMP_LEN / 2;
            packet.payload[at] ^= 0xff;
        }
        FaultKind::DamageStamp => return None,
        FaultKind::DamagePayload => {
            let own = packet.payload.len() - if stamped { STAMP_LEN } else { 0 };
            *packet.payload.get_mut(own / 2)? ^= 0xff;
        }
        FaultKind::Renumber => stream.moved += i64::from(fault.amount),
        FaultKind::ShiftTimestamp => {
            packet.write_timestamp(packet.timestamp().wrapping_add(fault.amount));
        }
        FaultKind::JitterTimestamp => {
            let extra = plan::mixed(stream.frames) % (u64::from(fault.amount) + 1);
            packet.write_timestamp(packet.timestamp().wrapping_add(extra as u32));
        }
        FaultKind::FreezeTimestamp => {
            let frozen = *stream.frozen.get_or_insert(packet.timestamp());
            packet.write_timestamp(frozen);
        }
    }
    Some(Effect::Altered)
}

/// The index with this sequence number that is nearest to the newest one (RFC 3711 §3.3.1).
fn nearest(sequence: u16, newest: u64) -> u64 {
    let step = sequence.wrapping_sub(newest as u16).cast_signed();
    newest.saturating_add_signed(i64::from(step))
}

fn is_stamped(payload: &[u8]) -> bool {
    payload
        .last_chunk::<STAMP_LEN>()
        .is_some_and(|stamp| stamp.starts_with(&STAMP_MAGIC))
}

fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_micros() as u64
}

#[cfg(test)]
mod tests;

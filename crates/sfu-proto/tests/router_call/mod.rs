//! A call in virtual time: one router, peers with SRTP keys known beforehand, and everything that was sent.
//!
//! Without handshakes (see the link tests); a peer is its keys, its address and what it received.
#![allow(dead_code, unused_imports, clippy::unwrap_used, unreachable_pub)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use meeshy_sfu_proto::link::SrtpKeys;
use meeshy_sfu_proto::net::{Destination, Sink, SocketId, classify};
use meeshy_sfu_proto::router::{
    Codec, ConsumerCodec, ConsumerConfig, ConsumerKey, EncodingConfig, Endpoint, MediaKind,
    ProducerCodec, ProducerConfig, ProducerKey, Router, RouterConfig, RouterEvent, TransportConfig,
    TransportKey,
};
use meeshy_sfu_proto::rtp::{
    ExtensionForm, ExtensionUri, HeaderFields, HeaderWriter, RtpHeader, seq,
};
use meeshy_sfu_proto::srtp::{MasterKey, SrtpProfile, SrtpRx, SrtpTx};

mod reports;

pub use reports::{ntp_now, rtcp_packets, sender_infos, sender_report, written};

/// NTP time of the first moment of every test, since 1970.
pub const EPOCH: Duration = Duration::from_secs(1_700_000_000);

pub const MID: ExtensionUri = ExtensionUri::Mid;
pub const LEVEL: ExtensionUri = ExtensionUri::AudioLevel;
pub const TWCC: ExtensionUri = ExtensionUri::TransportWideCc;
pub const SEND_TIME: ExtensionUri = ExtensionUri::AbsSendTime;
pub const RID: ExtensionUri = ExtensionUri::Rid;

/// Everything that ever left, by the key it was encrypted with and its SRTP index: one index is for one text.
///
/// Every test that sends through `Sent` runs under it. A key is known by its destination, as each transport has its
/// own of both.
#[derive(Default)]
pub struct Ledger {
    /// Destination, whether RTCP, SSRC, index.
    texts: HashMap<(Destination, bool, u32, u64), Vec<u8>>,
    /// Newest index by destination and SSRC.
    newest: HashMap<(Destination, u32), u64>,
    /// Datagrams that left again as they were.
    pub repeated: usize,
    /// RTP datagrams that left, and their bytes.
    rtp: (u64, u64),
    /// RTCP datagrams that left.
    rtcp: u64,
}

impl Ledger {
    /// Enters one datagram; panics if its index was used for another text.
    pub fn enter(&mut self, to: &Destination, datagram: &[u8], profile: SrtpProfile) {
        let word = |at: usize| u32::from_be_bytes(datagram[at..at + 4].try_into().unwrap());
        let (rtcp, ssrc, index) = match classify(datagram) {
            meeshy_sfu_proto::net::Class::Rtp => {
                self.rtp = (self.rtp.0 + 1, self.rtp.1 + datagram.len() as u64);
                let (ssrc, sequence) = (word(8), u16::from_be_bytes([datagram[2], datagram[3]]));
                let newest = self.newest.get(&(*to, ssrc)).copied();
                let index = newest.map_or(u64::from(sequence), |newest| {
                    seq::extend_near(sequence, newest).expect("no index below zero")
                });
                let newest = newest.unwrap_or(0).max(index);
                self.newest.insert((*to, ssrc), newest);
                (false, ssrc, index)
            }
            meeshy_sfu_proto::net::Class::Rtcp => {
                self.rtcp += 1;
                let tag = match profile {
                    SrtpProfile::Aes128CmSha1_80 => 10,
                    _ => 0,
                };
                (true, word(4), u64::from(word(datagram.len() - tag - 4)))
            }
            _ => return,
        };
        let known = self.texts.entry((*to, rtcp, ssrc, index)).or_default();
        if known.is_empty() {
            known.extend_from_slice(datagram);
            return;
        }
        assert!(!rtcp, "the SRTCP index {index} of {ssrc} was used twice");
        assert_eq!(
            known, datagram,
            "the SRTP index {index} of SSRC {ssrc} left with two texts"
        );
        self.repeated += 1;
    }

    /// The newest index sent to a destination under an SSRC.
    pub fn newest(&self, to: &Destination, ssrc: u32) -> Option<u64> {
        self.newest.get(&(*to, ssrc)).copied()
    }

    /// RTP packets entered.
    pub fn len(&self) -> usize {
        self.texts.keys().filter(|(_, rtcp, ..)| !rtcp).count()
    }
}

/// Datagrams as they were sent, and the trains they were sent in.
pub struct Sent {
    buffer: Vec<u8>,
    pub ledger: Ledger,
    /// The profile of all peers.
    pub profile: SrtpProfile,
    pub datagrams: Vec<(Destination, Vec<u8>)>,
    /// Lengths of the datagrams of each train.
    pub trains: Vec<Vec<usize>>,
    /// Where forwarded packets of which kind go, and when the first of them arrived.
    pub marks: Vec<(Destination, usize, Instant)>,
    open: Option<Destination>,
}

impl Default for Sent {
    fn default() -> Self {
        Self {
            buffer: Vec::new(),
            ledger: Ledger::default(),
            profile: SrtpProfile::AeadAes128Gcm,
            datagrams: Vec::new(),
            trains: Vec::new(),
            marks: Vec::new(),
            open: None,
        }
    }
}

impl Sink for Sent {
    fn space(&mut self, max: usize) -> &mut [u8] {
        assert!(max <= 2048);
        self.buffer.resize(2048, 0);
        self.buffer.fill(0xee);
        &mut self.buffer[..max]
    }

    fn commit(&mut self, to: &Destination, len: usize) {
        self.ledger.enter(to, &self.buffer[..len], self.profile);
        let extends = self.open == Some(*to)
            && self.trains.last().is_some_and(|train| {
                len <= train[0] && train.last() == train.first() && train.len() < 64
            });
        if extends {
            self.trains.last_mut().unwrap().push(len);
        } else {
            self.trains.push(vec![len]);
        }
        self.open = Some(*to);
        self.datagrams.push((*to, self.buffer[..len].to_vec()));
    }

    fn end_train(&mut self) {
        self.open = None;
    }

    fn mark_arrival(&mut self, to: &Destination, kind: usize, arrived: Instant) {
        self.marks.push((*to, kind, arrived));
    }
}

/// One RTP packet a peer received, decrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub ssrc: u32,
    pub payload_type: u8,
    pub sequence: u16,
    pub index: u64,
    pub timestamp: u32,
    pub marker: bool,
    pub padded: bool,
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// Without padding.
    pub payload: Vec<u8>,
    pub two_byte: bool,
}

impl Received {
    pub fn extension(&self, id: u8) -> Option<&[u8]> {
        let found = self.extensions.iter().find(|(known, _)| *known == id);
        found.map(|(_, value)| value.as_slice())
    }
}

/// One packet to send.
#[derive(Clone, Debug, Default)]
pub struct Packet {
    pub ssrc: u32,
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub extensions: Vec<(u8, Vec<u8>)>,
    pub payload: Vec<u8>,
    /// Bytes of RTP padding behind the payload.
    pub padding: u8,
    /// The last byte claims more padding than the packet has.
    pub broken_padding: bool,
}

/// The far end of one transport.
pub struct Peer {
    pub transport: TransportKey,
    pub address: Destination,
    pub profile: SrtpProfile,
    tx: SrtpTx,
    rx: SrtpRx,
    /// Newest index sent, by SSRC.
    sent: HashMap<u32, u64>,
}

impl Peer {
    /// Encrypts a packet as this peer would send it.
    pub fn protect(&mut self, packet: &Packet) -> Vec<u8> {
        let mut out = vec![0; 2048];
        let fields = HeaderFields {
            padding: packet.padding > 0 || packet.broken_padding,
            marker: packet.marker,
            payload_type: packet.payload_type,
            sequence: packet.sequence,
            timestamp: packet.timestamp,
            ssrc: packet.ssrc,
        };
        let wide = packet
            .extensions
            .iter()
            .any(|(id, value)| !ExtensionForm::OneByte.fits(*id, value.len()));
        let form = if wide {
            ExtensionForm::TwoByte
        } else {
            ExtensionForm::OneByte
        };
        let mut writer = HeaderWriter::new(&mut out, &fields, form).unwrap();
        for (id, value) in &packet.extensions {
            writer.extension(*id, value).unwrap();
        }
        let header_len = writer.finish();
        let mut plain = packet.payload.clone();
        if packet.padding > 0 {
            plain.resize(plain.len() + usize::from(packet.padding), 0);
            *plain.last_mut().unwrap() = packet.padding;
        }
        if packet.broken_padding {
            plain.push(255);
        }
        let newest = self.sent.get(&packet.ssrc).copied();
        let index = newest.map_or(u64::from(packet.sequence), |newest| {
            seq::extend_near(packet.sequence, newest).unwrap()
        });
        self.sent
            .insert(packet.ssrc, newest.unwrap_or(0).max(index));
        let len = self
            .tx
            .protect_rtp(&mut out, header_len, &plain, packet.ssrc, index);
        out.truncate(len);
        out
    }

    pub fn protect_rtcp(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut out = vec![0; plain.len() + 64];
        out[..plain.len()].copy_from_slice(plain);
        let len = self.tx.protect_rtcp(&mut out, plain.len());
        out.truncate(len);
        out
    }

    /// Decrypts RTP; panics on what is not authentic or comes twice.
    pub fn open(&mut self, datagram: &[u8]) -> Received {
        let header = RtpHeader::parse(datagram).unwrap();
        let mut payload = vec![0; 2048];
        let (index, len) = self
            .rx
            .unprotect_rtp(datagram, header.header_len(), &mut payload)
            .expect("authentic and new");
        payload.truncate(len);
        let unpadded = header.unpadded_len(&payload).unwrap();
        payload.truncate(unpadded);
        Received {
            ssrc: header.ssrc,
            payload_type: header.payload_type,
            sequence: header.sequence,
            index,
            timestamp: header.timestamp,
            marker: header.marker,
            padded: header.padding,
            extensions: header
                .extensions()
                .map(|(id, value)| (id, value.to_vec()))
                .collect(),
            payload,
            two_byte: header.extension && datagram[12..14] == [0x10, 0],
        }
    }

    pub fn open_rtcp(&mut self, datagram: &[u8]) -> Vec<u8> {
        let mut plain = datagram.to_vec();
        let len = self
            .rx
            .unprotect_rtcp(&mut plain)
            .expect("authentic and new");
        plain.truncate(len);
        plain
    }
}

/// What a peer received.
#[derive(Default)]
pub struct Inbox {
    pub rtp: Vec<Received>,
    /// Plain compounds.
    pub rtcp: Vec<Vec<u8>>,
}

/// One router and its virtual time.
///
/// When it ends, the figures of the router must be those of what it was given and what left.
pub struct Call {
    pub router: Router,
    pub start: Instant,
    pub now: Instant,
    pub sent: Sent,
    peers: u16,
    profile: SrtpProfile,
}

impl Drop for Call {
    fn drop(&mut self) {
        let (stats, ledger) = (self.router.stats(), &self.sent.ledger);
        // Meshes send into a sink of their own.
        if std::thread::panicking() || ledger.rtp.0 + ledger.rtcp == 0 {
            return;
        }
        let counted = (stats.packets_out, stats.bytes_out, stats.rtcp_out);
        assert_eq!(
            counted,
            (ledger.rtp.0, ledger.rtp.1, ledger.rtcp),
            "packets, bytes and RTCP datagrams that left"
        );
    }
}

impl Call {
    pub fn new() -> Self {
        Self::with_profile(SrtpProfile::AeadAes128Gcm)
    }

    pub fn with_profile(profile: SrtpProfile) -> Self {
        let start = Instant::now();
        Self {
            router: Router::new(RouterConfig::new((start, EPOCH), 7)),
            start,
            now: start,
            sent: Sent {
                profile,
                ..Sent::default()
            },
            peers: 0,
            profile,
        }
    }

    pub fn peer(&mut self) -> Peer {
        self.peer_with(false, None)
    }

    pub fn peer_with(&mut self, padding: bool, max_incoming_bps: Option<u32>) -> Peer {
        self.peers += 1;
        let number = self.peers;
        let profile = self.profile;
        let key = |side: u8| MasterKey {
            key: (0..profile.key_len())
                .map(|at| at as u8 ^ number as u8 ^ side)
                .collect(),
            salt: (0..profile.salt_len())
                .map(|at| at as u8 ^ number as u8 ^ side)
                .collect(),
        };
        let remote: SocketAddr = format!("10.0.{}.{}:4000", number >> 8, number & 0xff)
            .parse()
            .unwrap();
        let address = Destination {
            socket: SocketId::UDP_V4,
            remote,
        };
        let transport = self.router.create_transport(
            TransportConfig {
                endpoint: Endpoint::Preset {
                    keys: SrtpKeys {
                        profile,
                        local: key(0x40),
                        remote: key(0x80),
                    },
                    destination: address,
                },
                max_incoming_bps,
                padding,
            },
            self.now,
        );
        Peer {
            transport,
            address,
            profile,
            tx: SrtpTx::new(profile, &key(0x80)),
            rx: SrtpRx::new(profile, &key(0x40)),
            sent: HashMap::new(),
        }
    }

    pub fn produce(&mut self, peer: &Peer, config: ProducerConfig) -> ProducerKey {
        self.router
            .produce(peer.transport, config, self.now)
            .expect("a valid producer")
    }

    pub fn consume(
        &mut self,
        peer: &Peer,
        producer: ProducerKey,
        config: ConsumerConfig,
    ) -> ConsumerKey {
        self.router
            .consume(peer.transport, producer, config, self.now)
            .expect("a valid consumer")
    }

    /// Makes two peers: what the first produces, the second consumes.
    pub fn pair(
        &mut self,
        source: ProducerConfig,
        copy: ConsumerConfig,
    ) -> (Peer, Peer, ProducerKey, ConsumerKey) {
        let (from, to) = (self.peer(), self.peer());
        let producer = self.produce(&from, source);
        let consumer = self.consume(&to, producer, copy);
        (from, to, producer, consumer)
    }

    /// Makes two peers: the second consumes audio 1000 of the first as 5000, and video 2000 as 6000.
    pub fn sound_and_picture(&mut self) -> (Peer, Peer, ProducerKey, ProducerKey) {
        let (from, to) = (self.peer(), self.peer());
        let sound = self.produce(&from, audio(1000));
        let picture = self.produce(&from, video(2000));
        self.consume(&to, sound, audio_consumer(5000, "0"));
        self.consume(&to, picture, video_consumer(6000, "1"));
        (from, to, sound, picture)
    }

    /// Hands one datagram to the router.
    pub fn deliver(&mut self, peer: &Peer, datagram: &[u8]) {
        self.deliver_from(peer, datagram, peer.address);
    }

    pub fn deliver_from(&mut self, peer: &Peer, datagram: &[u8], from: Destination) {
        let mut bytes = datagram.to_vec();
        let class = classify(&bytes);
        self.router.handle_datagram(
            peer.transport,
            class,
            &mut bytes,
            from,
            self.now,
            &mut self.sent,
        );
    }

    /// Sends one packet and flushes.
    pub fn send(&mut self, peer: &mut Peer, packet: &Packet) {
        let datagram = peer.protect(packet);
        self.deliver(peer, &datagram);
        self.flush();
    }

    pub fn send_rtcp(&mut self, peer: &mut Peer, plain: &[u8]) {
        let datagram = peer.protect_rtcp(plain);
        self.deliver(peer, &datagram);
    }

    pub fn flush(&mut self) {
        self.router.flush(self.now, &mut self.sent);
    }

    /// Lets time pass, with every timer at its moment.
    pub fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        let mut steps = 0;
        while let Some(due) = self.router.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.router.handle_timeout(self.now, &mut self.sent);
            steps += 1;
            assert!(steps < 100_000, "timers run in circles");
        }
        self.now = end;
    }

    /// Takes what was sent to a peer.
    pub fn inbox(&mut self, peer: &mut Peer) -> Inbox {
        let mut inbox = Inbox::default();
        self.sent.datagrams.retain(|(to, datagram)| {
            if *to != peer.address {
                return true;
            }
            match classify(datagram) {
                meeshy_sfu_proto::net::Class::Rtp => inbox.rtp.push(peer.open(datagram)),
                meeshy_sfu_proto::net::Class::Rtcp => inbox.rtcp.push(peer.open_rtcp(datagram)),
                class => panic!("{class:?} sent to a peer with preset keys"),
            }
            false
        });
        inbox
    }

    pub fn events(&mut self) -> Vec<RouterEvent> {
        std::iter::from_fn(|| self.router.poll_event()).collect()
    }
}

pub fn video(ssrc: u32) -> ProducerConfig {
    ProducerConfig {
        kind: MediaKind::Video,
        mid: Some("v".into()),
        codecs: vec![ProducerCodec {
            codec: Some(Codec::Vp8),
            payload_type: 96,
            mapped_payload_type: 101,
            clock_rate: 90_000,
            rtx_payload_type: Some(97),
            nack: true,
            pli: true,
            fir: true,
            transport_cc: true,
            remb: true,
            in_band_fec: false,
        }],
        header_extensions: vec![(MID, 4), (SEND_TIME, 2), (TWCC, 3)],
        encodings: vec![EncodingConfig {
            ssrc: Some(ssrc),
            rid: None,
            rtx_ssrc: Some(ssrc + 1),
        }],
        cname: "alice".into(),
        paused: false,
    }
}

pub fn audio(ssrc: u32) -> ProducerConfig {
    ProducerConfig {
        kind: MediaKind::Audio,
        mid: Some("a".into()),
        codecs: vec![ProducerCodec {
            codec: Some(Codec::Opus),
            payload_type: 111,
            mapped_payload_type: 100,
            clock_rate: 48_000,
            rtx_payload_type: None,
            nack: false,
            pli: false,
            fir: false,
            transport_cc: true,
            remb: false,
            in_band_fec: false,
        }],
        header_extensions: vec![(MID, 4), (LEVEL, 1), (TWCC, 3)],
        encodings: vec![EncodingConfig {
            ssrc: Some(ssrc),
            rid: None,
            rtx_ssrc: None,
        }],
        cname: "alice".into(),
        paused: false,
    }
}

pub fn video_consumer(ssrc: u32, mid: &str) -> ConsumerConfig {
    ConsumerConfig {
        ssrc,
        rtx_ssrc: Some(ssrc + 1),
        codecs: vec![ConsumerCodec {
            payload_type: 101,
            rtx_payload_type: Some(102),
            nack: true,
            pli: true,
            fir: true,
            transport_cc: true,
            remb: false,
        }],
        header_extensions: vec![(MID, 1), (SEND_TIME, 4), (TWCC, 5)],
        mid: mid.into(),
        cname: "alice".into(),
        paused: false,
    }
}

pub fn audio_consumer(ssrc: u32, mid: &str) -> ConsumerConfig {
    ConsumerConfig {
        ssrc,
        rtx_ssrc: None,
        codecs: vec![ConsumerCodec {
            payload_type: 100,
            rtx_payload_type: None,
            nack: false,
            pli: false,
            fir: false,
            transport_cc: false,
            remb: false,
        }],
        header_extensions: vec![(MID, 1), (SEND_TIME, 4), (LEVEL, 6)],
        mid: mid.into(),
        cname: "alice".into(),
        paused: false,
    }
}

/// Two or more encodings of one camera, told apart by RID: "r0", "r1", … of SSRCs that were not announced.
pub fn simulcast(encodings: usize) -> ProducerConfig {
    let mut config = video(0);
    config.header_extensions.push((RID, 10));
    config.encodings = (0..encodings)
        .map(|number| EncodingConfig {
            rid: Some(format!("r{number}")),
            ..EncodingConfig::default()
        })
        .collect();
    config
}

/// A packet of one encoding of `simulcast`.
pub fn encoding_packet(
    encoding: usize,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    key_frame: bool,
) -> Packet {
    let mut packet = video_packet(ssrc, sequence, timestamp, key_frame);
    packet.extensions = vec![
        (4, b"v".to_vec()),
        (10, format!("r{encoding}").into_bytes()),
    ];
    packet
}

/// A consumer whose lost packets go again in its own stream.
pub fn without_rtx(mut config: ConsumerConfig) -> ConsumerConfig {
    config.rtx_ssrc = None;
    for codec in &mut config.codecs {
        codec.rtx_payload_type = None;
        codec.nack = true;
    }
    config
}

/// A VP8 payload of `len` bytes that starts a frame.
pub fn vp8(key_frame: bool, len: usize) -> Vec<u8> {
    let mut payload = vec![0x5a; len];
    // S=1, PID=0; then the frame header whose lowest bit is 0 for a key frame.
    payload[0] = 0x10;
    payload[1] = u8::from(!key_frame);
    payload
}

pub fn video_packet(ssrc: u32, sequence: u16, timestamp: u32, key_frame: bool) -> Packet {
    Packet {
        ssrc,
        payload_type: 96,
        sequence,
        timestamp,
        marker: true,
        payload: vp8(key_frame, 200),
        ..Packet::default()
    }
}

pub fn audio_packet(ssrc: u32, sequence: u16, timestamp: u32, level: u8) -> Packet {
    Packet {
        ssrc,
        payload_type: 111,
        sequence,
        timestamp,
        extensions: vec![(4, b"a".to_vec()), (1, vec![level])],
        payload: vec![0xa0; 80],
        ..Packet::default()
    }
}

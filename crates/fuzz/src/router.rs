//! A call of two under any sequence of authentic packets, reports and pauses: what parsers let through must
//! not break the state behind them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use meeshy_sfu_proto::link::SrtpKeys;
use meeshy_sfu_proto::net::{Destination, Sink, SocketId, classify};
use meeshy_sfu_proto::router::{
    Codec, ConsumerCodec, ConsumerConfig, ConsumerKey, EncodingConfig, Endpoint, MediaKind,
    ProducerCodec, ProducerConfig, ProducerKey, Router, RouterConfig, TransportConfig,
    TransportKey,
};
use meeshy_sfu_proto::rtcp::nack;
use meeshy_sfu_proto::rtp::{ExtensionUri, RtpHeader, seq};
use meeshy_sfu_proto::srtp::{MasterKey, SrtpProfile, SrtpRx, SrtpTx};

const PROFILE: SrtpProfile = SrtpProfile::AeadAes128Gcm;
/// Sends with SSRC 1000 and 1001, and what it has by mid alone.
const SENDER: usize = 0;
const RECEIVER: usize = 1;

/// Datagrams as they were sent.
#[derive(Default)]
struct Sent {
    buffer: Vec<u8>,
    datagrams: Vec<(Destination, Vec<u8>)>,
}

impl Sink for Sent {
    fn space(&mut self, max: usize) -> &mut [u8] {
        assert!(max <= 2048);
        self.buffer.resize(2048, 0);
        &mut self.buffer[..max]
    }

    fn commit(&mut self, to: &Destination, len: usize) {
        self.datagrams.push((*to, self.buffer[..len].to_vec()));
    }

    fn end_train(&mut self) {}
}

/// The far end of one transport.
struct Peer {
    transport: TransportKey,
    address: Destination,
    tx: SrtpTx,
    rx: SrtpRx,
    newest: HashMap<u32, u64>,
}

struct Call {
    router: Router,
    now: Instant,
    sent: Sent,
    peers: Vec<Peer>,
    producers: Vec<ProducerKey>,
    consumers: Vec<ConsumerKey>,
    /// Sequence number of what came last, by SSRC.
    received: HashMap<u32, u16>,
    /// What consumers without RTX sent, by SSRC and sequence number.
    repeatable: HashMap<(u32, u16), Vec<u8>>,
}

fn key(byte: u8) -> MasterKey {
    MasterKey {
        key: vec![byte; PROFILE.key_len()],
        salt: vec![byte; PROFILE.salt_len()],
    }
}

impl Call {
    fn new() -> Self {
        let now = Instant::now();
        let epoch = Duration::from_secs(1_700_000_000);
        let mut call = Self {
            router: Router::new(RouterConfig::new((now, epoch), 7)),
            now,
            sent: Sent::default(),
            peers: Vec::new(),
            producers: Vec::new(),
            consumers: Vec::new(),
            received: HashMap::new(),
            repeatable: HashMap::new(),
        };
        call.join(1, false);
        call.join(2, true);
        let sender = call.peers[SENDER].transport;
        let tracks = [
            track(MediaKind::Video, Codec::Vp8, 96, "v", Some(1000)),
            track(MediaKind::Audio, Codec::Opus, 111, "a", Some(2000)),
            track(MediaKind::Video, Codec::H264, 98, "w", None),
        ];
        for (position, track) in tracks.into_iter().enumerate() {
            let producer = call.router.produce(sender, track, now).expect("a producer");
            call.producers.push(producer);
            // With RTX, and where packets go again under their own numbers.
            for rtx in [true, false] {
                let receiver = call.peers[RECEIVER].transport;
                let config = copy(position, rtx);
                let consumer = call.router.consume(receiver, producer, config, now);
                call.consumers.push(consumer.expect("a consumer"));
            }
        }
        call
    }

    fn join(&mut self, number: u8, padding: bool) {
        let address = Destination {
            socket: SocketId::UDP_V4,
            remote: ([10, 0, 0, number], 4000).into(),
        };
        let (ours, theirs) = (key(number), key(number | 0x80));
        let endpoint = Endpoint::Preset {
            keys: SrtpKeys {
                profile: PROFILE,
                local: ours.clone(),
                remote: theirs.clone(),
            },
            destination: address,
        };
        let config = TransportConfig {
            endpoint,
            max_incoming_bps: Some(500_000),
            padding,
        };
        self.peers.push(Peer {
            transport: self.router.create_transport(config, self.now),
            address,
            tx: SrtpTx::new(PROFILE, &theirs),
            rx: SrtpRx::new(PROFILE, &ours),
            newest: HashMap::new(),
        });
    }

    fn step(&mut self, kind: u8, body: &[u8]) {
        match kind % 9 {
            0..=2 => self.rtp(body),
            3 => self.rtcp(SENDER, body),
            4 => self.rtcp(RECEIVER, body),
            5 => self.wait(body.first().copied().unwrap_or(1)),
            6 => self.pause(body.first().copied().unwrap_or(0)),
            7 => self.ask_again(body),
            _ => self.router.flush(self.now, &mut self.sent),
        }
        while self.router.poll_event().is_some() {}
        self.check();
    }

    /// The body is a packet in the clear.
    fn rtp(&mut self, body: &[u8]) {
        let Ok(header) = RtpHeader::parse(body) else {
            return;
        };
        let peer = &mut self.peers[SENDER];
        let newest = peer.newest.get(&header.ssrc).copied();
        let near = newest.and_then(|newest| seq::extend_near(header.sequence, newest));
        let index = near.unwrap_or(u64::from(header.sequence));
        peer.newest.insert(
            header.ssrc,
            newest.map_or(index, |newest| newest.max(index)),
        );
        let mut out = vec![0; body.len() + 16];
        let header_len = header.header_len();
        out[..header_len].copy_from_slice(&body[..header_len]);
        let plain = &body[header_len..];
        let len = peer
            .tx
            .protect_rtp(&mut out, header_len, plain, header.ssrc, index);
        out.truncate(len);
        self.deliver(SENDER, &mut out);
    }

    /// The body is a compound in the clear.
    fn rtcp(&mut self, from: usize, body: &[u8]) {
        if body.len() < 8 {
            return;
        }
        let mut out = body.to_vec();
        out.resize(body.len() + 32, 0);
        let len = self.peers[from].tx.protect_rtcp(&mut out, body.len());
        out.truncate(len);
        self.deliver(from, &mut out);
    }

    fn deliver(&mut self, from: usize, datagram: &mut [u8]) {
        let (transport, address) = (self.peers[from].transport, self.peers[from].address);
        let class = classify(datagram);
        self.router.handle_datagram(
            transport,
            class,
            datagram,
            address,
            self.now,
            &mut self.sent,
        );
    }

    /// NACKs for what a consumer sent lately: which, and how far back.
    fn ask_again(&mut self, body: &[u8]) {
        let &[which, ref back @ ..] = body else {
            return;
        };
        let ssrcs = [5000, 5020, 6000, 6010, 6020];
        let ssrc = ssrcs[usize::from(which) % ssrcs.len()];
        let Some(newest) = self.received.get(&ssrc) else {
            return;
        };
        let wanted: Vec<u16> = back
            .iter()
            .map(|back| newest.wrapping_sub(u16::from(*back)))
            .collect();
        let mut out = [0; 1200];
        if let Some(written) = nack::write(1, ssrc, &wanted, &mut out) {
            self.rtcp(RECEIVER, &out[..written.len]);
        }
    }

    /// From a few milliseconds to half a minute, with every timer at its moment.
    fn wait(&mut self, length: u8) {
        let end = self.now + Duration::from_millis(u64::from(length) * u64::from(length) / 2);
        let mut steps = 0;
        while let Some(due) = self.router.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.router.handle_timeout(self.now, &mut self.sent);
            steps += 1;
            assert!(steps < 10_000, "timers run in circles");
        }
        self.now = end;
    }

    fn pause(&mut self, choice: u8) {
        let (which, paused) = (usize::from(choice >> 2), choice & 1 != 0);
        if choice & 2 == 0 {
            let consumer = self.consumers[which % self.consumers.len()];
            let _ = self.router.set_consumer_paused(consumer, paused, self.now);
        } else {
            let producer = self.producers[which % self.producers.len()];
            let _ = self.router.set_producer_paused(producer, paused, self.now);
        }
    }

    /// What was sent is well-formed, and under one number there is one datagram.
    fn check(&mut self) {
        for (to, mut datagram) in std::mem::take(&mut self.sent.datagrams) {
            let peer = self.peers.iter_mut().find(|peer| peer.address == to);
            let peer = peer.expect("a peer's address");
            if matches!(classify(&datagram), meeshy_sfu_proto::net::Class::Rtcp) {
                peer.rx.unprotect_rtcp(&mut datagram).expect("own report");
                continue;
            }
            let header = RtpHeader::parse(&datagram).expect("own header");
            let mut plain = [0; 2048];
            let opened = peer
                .rx
                .unprotect_rtp(&datagram, header.header_len(), &mut plain);
            if let Ok((_, len)) = opened {
                self.received.insert(header.ssrc, header.sequence);
                header.unpadded_len(&plain[..len]).expect("own padding");
            }
            // Consumers without RTX repeat a packet under its own number, byte for byte: a nonce must not see two.
            let place = (header.ssrc, header.sequence);
            match self.repeatable.get(&place) {
                Some(before) => assert!(*before == datagram, "another {place:?}"),
                None => assert!(opened.is_ok(), "{opened:?} of {place:?}"),
            }
            if header.ssrc >= 6000 {
                self.repeatable.insert(place, datagram);
            }
        }
    }
}

fn track(
    kind: MediaKind,
    codec: Codec,
    payload_type: u8,
    mid: &str,
    ssrc: Option<u32>,
) -> ProducerConfig {
    let video = kind == MediaKind::Video;
    ProducerConfig {
        kind,
        mid: Some(mid.into()),
        codecs: vec![ProducerCodec {
            codec: Some(codec),
            payload_type,
            mapped_payload_type: payload_type,
            clock_rate: if video { 90_000 } else { 48_000 },
            rtx_payload_type: video.then_some(payload_type + 1),
            nack: true,
            pli: video,
            fir: video,
            transport_cc: video,
            remb: video,
            in_band_fec: !video,
        }],
        header_extensions: vec![
            (ExtensionUri::Mid, 1),
            (ExtensionUri::AbsSendTime, 2),
            (ExtensionUri::TransportWideCc, 3),
            (ExtensionUri::AudioLevel, 4),
            (ExtensionUri::VideoOrientation, 5),
            (ExtensionUri::AbsCaptureTime, 6),
        ],
        encodings: vec![EncodingConfig {
            ssrc,
            rid: None,
            rtx_ssrc: ssrc.filter(|_| video).map(|ssrc| ssrc + 1),
        }],
        cname: "sender".into(),
        paused: false,
    }
}

/// Consumers with RTX send from SSRC 5000 on, the others from 6000.
fn copy(position: usize, rtx: bool) -> ConsumerConfig {
    let payload_type = [96, 111, 98][position];
    let ssrc = if rtx { 5000 } else { 6000 } + 10 * position as u32;
    let rtx = rtx && position != 1;
    ConsumerConfig {
        ssrc,
        rtx_ssrc: rtx.then_some(ssrc + 1),
        codecs: vec![ConsumerCodec {
            payload_type,
            rtx_payload_type: rtx.then_some(payload_type + 1),
            nack: ssrc != 5010,
            pli: true,
            fir: true,
            transport_cc: true,
            remb: false,
        }],
        header_extensions: vec![
            (ExtensionUri::Mid, 1),
            (ExtensionUri::AbsSendTime, 2),
            (ExtensionUri::TransportWideCc, 3),
            (ExtensionUri::AudioLevel, 4),
            (ExtensionUri::VideoOrientation, 20),
            (ExtensionUri::AbsCaptureTime, 6),
        ],
        mid: format!("{ssrc}"),
        cname: "sender".into(),
        paused: false,
    }
}

/// The data is steps: what to do, the length of what it is done with in one byte, and that.
pub(super) fn call(mut data: &[u8]) {
    let mut call = Call::new();
    while let Some((&[kind, len], rest)) = data.split_first_chunk::<2>() {
        let (body, rest) = rest.split_at(rest.len().min(usize::from(len)));
        data = rest;
        call.step(kind, body);
    }
    call.wait(100);
    call.check();
}

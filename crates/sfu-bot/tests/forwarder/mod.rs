//! A forwarder as small as one can be: the other end that bots need in tests, made of the same protocol crate but
//! none of the server's forwarding code.
//!
//! It terminates ICE-lite, DTLS and SRTP on one UDP port, copies every packet of a producer to its consumers under
//! their SSRCs and the same sequence numbers, answers NACK with RTX, asks producers for what
//! is missing, and hands PLI to them.

#![allow(unreachable_pub)]

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use meeshy_sfu_bot::params::DtlsParameters;
use meeshy_sfu_bot::{ConnectParameters, Kind, RtpParameters};
use meeshy_sfu_io::{RecvBatch, SendBatch, UdpOptions, UdpSocket, clock};
use meeshy_sfu_proto::dtls::{Certificate, DtlsRole, Fingerprint, HashAlgorithm};
use meeshy_sfu_proto::ice::{IceCandidate, IceParameters, IceProtocol};
use meeshy_sfu_proto::link::{Link, LinkEvent, username_of};
use meeshy_sfu_proto::net::{Class, Destination, SocketId, classify};
use meeshy_sfu_proto::rtcp::{self, Packet, Pli, packets};
use meeshy_sfu_proto::rtp::{ExtensionForm, HeaderFields, HeaderWriter, RtpHeader};
use meeshy_sfu_proto::srtp::{SrtpRx, SrtpTx};
use serde_json::json;

const TRANSPORT_CC: u8 = 5;

/// What the forwarder saw of RTCP, by kind.
#[derive(Debug, Default, Clone, Copy)]
pub struct Seen {
    pub sender_reports: u64,
    pub receiver_blocks: u64,
    pub lost_blocks: u64,
    pub feedbacks: u64,
    pub feedback_arrivals: u64,
    pub nacked: u64,
    pub plis: u64,
    pub byes: u64,
    pub reference_times: u64,
    pub uploads_lost: u64,
    pub uploads_repaired: u64,
}

pub struct Forwarder {
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    socket: UdpSocket,
    address: SocketAddr,
    certificate: Arc<Certificate>,
    transports: Vec<Transport>,
    by_address: HashMap<SocketAddr, usize>,
    by_ufrag: HashMap<String, usize>,
    consumers: Vec<Consumer>,
    by_producer: HashMap<u32, Vec<usize>>,
    pending: Vec<Stored>,
    out: SendBatch,
    history: HashMap<u32, VecDeque<Stored>>,
    newest: HashMap<u32, u64>,
    next_ssrc: u32,
    seen: Seen,
}

struct Transport {
    link: Link,
    tx: Option<SrtpTx>,
    rx: Option<SrtpRx>,
    remote: Option<SocketAddr>,
    transport_sequence: u16,
}

struct Consumer {
    transport: usize,
    producer_transport: usize,
    producer: u32,
    ssrc: u32,
    video: bool,
    rtx_index: u64,
}

#[derive(Clone)]
struct Stored {
    fields: HeaderFields,
    index: u64,
    payload: Vec<u8>,
}

impl Forwarder {
    pub fn start() -> Self {
        let socket =
            UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &UdpOptions::default()).unwrap();
        let state = Arc::new(Mutex::new(State {
            address: socket.local_addr(),
            socket,
            certificate: Arc::new(Certificate::generate().unwrap()),
            transports: Vec::new(),
            by_address: HashMap::new(),
            by_ufrag: HashMap::new(),
            consumers: Vec::new(),
            by_producer: HashMap::new(),
            pending: Vec::new(),
            out: SendBatch::new(),
            history: HashMap::new(),
            newest: HashMap::new(),
            next_ssrc: 1_000_000,
            seen: Seen::default(),
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (state, stop) = (state.clone(), stop.clone());
            move || {
                let mut batch = RecvBatch::new(64);
                while !stop.load(Ordering::Relaxed) {
                    state.lock().unwrap().turn(&mut batch);
                    clock::sleep_until(Instant::now() + Duration::from_millis(1));
                }
            }
        });
        Self {
            state,
            stop,
            thread: Some(thread),
        }
    }

    /// Makes a transport for a bot with this DTLS fingerprint; gives its number and what the bot must know.
    pub fn transport(&self, bot: &DtlsParameters) -> (usize, ConnectParameters) {
        let mut state = self.state.lock().unwrap();
        let number = state.transports.len();
        let now = Instant::now();
        let parameters = IceParameters {
            username_fragment: format!("server{number:04}"),
            password: "0123456789abcdef0123456789abcdef".into(),
            ice_lite: true,
        };
        let candidate = IceCandidate {
            foundation: "udp".into(),
            priority: 1_076_302_079,
            address: state.address.ip(),
            port: state.address.port(),
            protocol: IceProtocol::Udp,
            tcp_type: None,
        };
        let mut link = Link::server(
            state.certificate.clone(),
            parameters.clone(),
            vec![candidate],
            now,
        );
        let fingerprint = Fingerprint {
            algorithm: HashAlgorithm::from_name(&bot.fingerprints[0].algorithm).unwrap(),
            value: bot.fingerprints[0].value.clone(),
        };
        let role = match serde_json::to_value(bot.role).unwrap().as_str().unwrap() {
            "client" => DtlsRole::Client,
            _ => DtlsRole::Server,
        };
        link.connect(role, &[fingerprint], now).unwrap();
        state
            .by_ufrag
            .insert(parameters.username_fragment.clone(), number);
        state.transports.push(Transport {
            link,
            tx: None,
            rx: None,
            remote: None,
            transport_sequence: 0,
        });
        let fingerprint = state.certificate.fingerprint(HashAlgorithm::Sha256);
        let wire = json!({
            "iceParameters": {"usernameFragment": parameters.username_fragment, "password": parameters.password,
                              "iceLite": true},
            "iceCandidates": [{"foundation": "udp", "priority": 1_076_302_079, "ip": state.address.ip(),
                               "address": state.address.ip(), "port": state.address.port(), "protocol": "udp",
                               "type": "host"}],
            "dtlsParameters": {"role": "auto", "fingerprints": [
                {"algorithm": fingerprint.algorithm.as_str(), "value": fingerprint.value}]}
        });
        (number, serde_json::from_value(wire).unwrap())
    }

    /// Forwards a producer to a transport; gives the consumer's rtpParameters.
    pub fn consume(
        &self,
        transport: usize,
        from: usize,
        produced: &RtpParameters,
        kind: Kind,
    ) -> RtpParameters {
        let mut state = self.state.lock().unwrap();
        let ssrc = state.next_ssrc;
        state.next_ssrc += 2;
        let video = kind == Kind::Video;
        let number = state.consumers.len();
        let producer = produced.encodings[0].ssrc.unwrap();
        state.by_producer.entry(producer).or_default().push(number);
        state.consumers.push(Consumer {
            transport,
            producer_transport: from,
            producer,
            ssrc,
            video,
            rtx_index: 0,
        });
        let wire = if video {
            json!({
                "codecs": [{"mimeType": "video/VP8", "payloadType": 101, "clockRate": 90000,
                            "rtcpFeedback": [{"type": "nack"}, {"type": "nack", "parameter": "pli"},
                                             {"type": "transport-cc"}]},
                           {"mimeType": "video/rtx", "payloadType": 102, "clockRate": 90000,
                            "parameters": {"apt": 101}}],
                "headerExtensions": [{
                    "uri": "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
                    "id": TRANSPORT_CC}],
                "encodings": [{"ssrc": ssrc, "rtx": {"ssrc": ssrc + 1}}]
            })
        } else {
            json!({
                "codecs": [{"mimeType": "audio/opus", "payloadType": 100, "clockRate": 48000, "channels": 2}],
                "encodings": [{"ssrc": ssrc}]
            })
        };
        serde_json::from_value(wire).unwrap()
    }

    pub fn seen(&self) -> Seen {
        self.state.lock().unwrap().seen
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

impl State {
    fn turn(&mut self, batch: &mut RecvBatch) {
        loop {
            let count = batch.recv(&self.socket).unwrap();
            for at in 0..count {
                let message = batch.message(at);
                let from = message.remote;
                for datagram in message.segments() {
                    self.datagram(datagram, from);
                }
            }
            if count < batch.capacity() {
                break;
            }
        }
        self.flush();
        for number in 0..self.transports.len() {
            let now = Instant::now();
            let link = &mut self.transports[number].link;
            if link.poll_timeout().is_some_and(|at| at <= now) {
                link.handle_timeout(now);
                self.drain(number);
            }
        }
    }

    fn datagram(&mut self, datagram: &mut [u8], from: SocketAddr) {
        let class = classify(datagram);
        let known = self.by_address.get(&from).copied();
        let number = known.or_else(|| {
            (class == Class::Stun)
                .then(|| self.by_ufrag.get(username_of(datagram)?).copied())
                .flatten()
        });
        let Some(number) = number else { return };
        match class {
            Class::Stun | Class::Dtls => {
                self.by_address.insert(from, number);
                let from = Destination {
                    socket: SocketId::UDP_V4,
                    remote: from,
                };
                self.transports[number]
                    .link
                    .handle(class, datagram, from, Instant::now());
                self.drain(number);
            }
            Class::Rtp => self.rtp(number, datagram),
            Class::Rtcp => self.rtcp(number, datagram),
            Class::Unknown => {}
        }
    }

    fn drain(&mut self, number: usize) {
        let transport = &mut self.transports[number];
        let mut buffer = [0; 2048];
        loop {
            while let Some((length, to)) = transport.link.poll_transmit(&mut buffer) {
                let _ = self.socket.send_to(&buffer[..length], to.remote);
            }
            match transport.link.poll_event() {
                Some(LinkEvent::Selected(to)) => transport.remote = Some(to.remote),
                Some(LinkEvent::Keys(keys)) => {
                    transport.tx = Some(SrtpTx::new(keys.profile, &keys.local));
                    transport.rx = Some(SrtpRx::new(keys.profile, &keys.remote));
                }
                Some(LinkEvent::Failed(failure)) => panic!("forwarder: {failure}"),
                Some(_) => {}
                None => return,
            }
        }
    }

    fn rtp(&mut self, number: usize, datagram: &[u8]) {
        let header = RtpHeader::parse(datagram).unwrap();
        let mut plain = [0; 2048];
        let rx = self.transports[number].rx.as_mut().unwrap();
        let (index, length) = rx
            .unprotect_rtp(datagram, header.header_len(), &mut plain)
            .expect("authentic");
        let stored = Stored {
            fields: HeaderFields {
                marker: header.marker,
                payload_type: header.payload_type,
                sequence: header.sequence,
                timestamp: header.timestamp,
                ssrc: header.ssrc,
                padding: false,
            },
            index,
            payload: plain[..length].to_vec(),
        };
        let stored = if header.payload_type == 102 {
            self.repaired(stored)
        } else {
            stored
        };
        let newest = self
            .newest
            .entry(stored.fields.ssrc)
            .or_insert(stored.index);
        let missing: Vec<u16> = (*newest + 1..stored.index)
            .map(|index| index as u16)
            .collect();
        *newest = stored.index.max(*newest);
        if stored.fields.payload_type == 101 {
            self.seen.uploads_lost += missing.len() as u64;
            self.ask(number, stored.fields.ssrc, &missing);
        }
        self.pending.push(stored);
    }

    /// The original that an RTX packet of a bot carries; bots count RTX SSRCs one above their media's.
    fn repaired(&mut self, mut stored: Stored) -> Stored {
        self.seen.uploads_repaired += 1;
        let payload = stored.payload.split_off(2);
        stored.fields.sequence = u16::from_be_bytes([stored.payload[0], stored.payload[1]]);
        stored.fields.ssrc -= 1;
        stored.fields.payload_type = 101;
        let near = self.newest[&stored.fields.ssrc];
        stored.index =
            meeshy_sfu_proto::rtp::seq::extend_near(stored.fields.sequence, near).unwrap();
        Stored { payload, ..stored }
    }

    fn ask(&mut self, number: usize, media_ssrc: u32, sequences: &[u16]) {
        let transport = &mut self.transports[number];
        let (Some(tx), Some(remote)) = (&mut transport.tx, transport.remote) else {
            return;
        };
        let mut out = [0; 1200];
        let Some(nack) = rtcp::nack::write(1, media_ssrc, sequences, &mut out[..1100]) else {
            return;
        };
        let length = tx.protect_rtcp(&mut out, nack.len);
        let _ = self.socket.send_to(&out[..length], remote);
    }

    /// Copies what came in to all consumers, destination by destination, so that equal sizes leave as trains.
    fn flush(&mut self) {
        let mut pending = std::mem::take(&mut self.pending);
        let mut lists = vec![Vec::new(); self.transports.len()];
        for (packet, stored) in pending.iter().enumerate() {
            for &consumer in self
                .by_producer
                .get(&stored.fields.ssrc)
                .into_iter()
                .flatten()
            {
                lists[self.consumers[consumer].transport].push((packet, consumer));
            }
        }
        for (packet, consumer) in lists.into_iter().flatten() {
            let stored = &pending[packet];
            let fields = HeaderFields {
                ssrc: self.consumers[consumer].ssrc,
                ..stored.fields
            };
            self.send(consumer, &fields, stored.index, &stored.payload);
        }
        self.out.flush(&[&self.socket]);
        for stored in pending.drain(..) {
            let history = self.history.entry(stored.fields.ssrc).or_default();
            history.push_back(stored);
            if history.len() > 512 {
                history.pop_front();
            }
        }
        self.pending = pending;
    }

    fn send(&mut self, consumer: usize, fields: &HeaderFields, index: u64, payload: &[u8]) {
        let Consumer {
            transport, video, ..
        } = self.consumers[consumer];
        let transport = &mut self.transports[transport];
        let (Some(tx), Some(remote)) = (&transport.tx, transport.remote) else {
            return;
        };
        if self.out.is_full() {
            self.out.flush(&[&self.socket]);
        }
        let out = self.out.space(2048);
        let mut writer = HeaderWriter::new(out, fields, ExtensionForm::OneByte).unwrap();
        if video {
            writer
                .extension(TRANSPORT_CC, &transport.transport_sequence.to_be_bytes())
                .unwrap();
            transport.transport_sequence = transport.transport_sequence.wrapping_add(1);
        }
        let header = writer.finish();
        let length = tx.protect_rtp(out, header, payload, fields.ssrc, index);
        self.out.commit(0, remote, length);
    }

    fn rtcp(&mut self, number: usize, datagram: &mut [u8]) {
        let rx = self.transports[number].rx.as_mut().unwrap();
        let length = rx.unprotect_rtcp(datagram).expect("authentic");
        for packet in packets(&datagram[..length]) {
            match packet.expect("well-formed") {
                Packet::SenderReport(_) => self.seen.sender_reports += 1,
                Packet::ReceiverReport(report) => {
                    self.seen.receiver_blocks += report.reports().len() as u64;
                    self.seen.lost_blocks += report
                        .reports()
                        .filter(|block| block.cumulative_lost > 0)
                        .count() as u64;
                }
                Packet::TransportCc(feedback) => {
                    self.seen.feedbacks += 1;
                    self.seen.feedback_arrivals += feedback
                        .arrivals()
                        .filter(|arrival| arrival.at_us.is_some())
                        .count() as u64;
                }
                Packet::Nack(nack) => {
                    let sequences: Vec<u16> = nack.sequences().collect();
                    self.seen.nacked += sequences.len() as u64;
                    sequences
                        .into_iter()
                        .for_each(|sequence| self.resend(nack.media_ssrc, sequence));
                }
                Packet::Pli(pli) => {
                    self.seen.plis += 1;
                    self.forward_pli(pli.media_ssrc);
                }
                Packet::Bye(bye) => self.seen.byes += bye.ssrcs().len() as u64,
                Packet::Xr(_) => self.seen.reference_times += 1,
                _ => {}
            }
        }
    }

    fn resend(&mut self, ssrc: u32, sequence: u16) {
        let Some(at) = self
            .consumers
            .iter()
            .position(|consumer| consumer.ssrc == ssrc)
        else {
            return;
        };
        let history = self
            .history
            .get(&self.consumers[at].producer)
            .cloned()
            .unwrap_or_default();
        let Some(stored) = history
            .into_iter()
            .find(|stored| stored.index as u16 == sequence)
        else {
            // Lost on the way up already.
            let Consumer {
                producer_transport,
                producer,
                ..
            } = self.consumers[at];
            return self.ask(producer_transport, producer, &[sequence]);
        };
        let index = self.consumers[at].rtx_index;
        self.consumers[at].rtx_index += 1;
        let fields = HeaderFields {
            ssrc: ssrc + 1,
            payload_type: 102,
            sequence: index as u16,
            ..stored.fields
        };
        let mut payload = sequence.to_be_bytes().to_vec();
        payload.extend_from_slice(&stored.payload);
        self.send(at, &fields, index, &payload);
    }

    fn forward_pli(&mut self, ssrc: u32) {
        let Some(consumer) = self.consumers.iter().find(|consumer| consumer.ssrc == ssrc) else {
            return;
        };
        let transport = &mut self.transports[consumer.producer_transport];
        let (Some(tx), Some(remote)) = (&mut transport.tx, transport.remote) else {
            return;
        };
        let mut out = [0; 256];
        let pli = Pli {
            sender_ssrc: 1,
            media_ssrc: consumer.producer,
        };
        let length = rtcp::Pli::write(&pli, &mut out).unwrap();
        let length = tx.protect_rtcp(&mut out, length);
        let _ = self.socket.send_to(&out[..length], remote);
    }
}

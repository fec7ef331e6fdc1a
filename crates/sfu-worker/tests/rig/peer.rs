//! A client made of str0m, with its own ICE, DTLS and SRTP, over a real socket.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use meeshy_sfu_worker::command::{Fingerprint, Protocol, TransportCreated};
use str0m::config::{DtlsVersion, Fingerprint as PeerFingerprint};
use str0m::format::{Codec, FormatParams};
use str0m::ice::IceCreds;
use str0m::media::{Frequency, KeyframeRequestKind, MediaKind, Mid, Pt};
use str0m::net::{Protocol as PeerProtocol, Receive, TcpType};
use str0m::rtp::{ExtensionValues, RtpPacket, RtpWrite, Ssrc};
use str0m::{Candidate, Event, Input, Output, Rtc};

use super::Way;

/// One end of a transport.
pub struct Peer {
    rtc: Rtc,
    wire: Wire,
    fingerprint: Fingerprint,
    local: SocketAddr,
    remote: SocketAddr,
    connected: bool,
    timeout: Instant,
    /// Incoming RTP datagrams to lose.
    pub lose: usize,
    pub received: Vec<RtpPacket>,
    pub key_frame_requests: usize,
    /// STUN messages sent.
    pub checks: u64,
}

enum Wire {
    Udp(UdpSocket),
    Tcp(TcpStream, Vec<u8>),
}

impl Peer {
    pub fn new(created: &TransportCreated, server: &Fingerprint, way: Way) -> Peer {
        static CRYPTO: std::sync::Once = std::sync::Once::new();
        CRYPTO.call_once(|| str0m::crypto::from_feature_flags().install_process_default());
        let remote = way.find(&created.ice_candidates);
        let wire = Wire::open(remote, way.protocol);
        let local = wire.local();
        let now = Instant::now();
        let mut config = Rtc::builder()
            .clear_codecs()
            .set_rtp_mode(true)
            .set_dtls_version(DtlsVersion::Dtls12)
            .set_stats_interval(None);
        add_codecs(&mut config);
        let mut rtc = config.build(now);
        let (own, theirs) = candidates(local, remote, way.protocol);
        rtc.add_local_candidate(own);
        rtc.add_remote_candidate(theirs);
        let mut api = rtc.direct_api();
        api.set_ice_controlling(true);
        api.set_remote_ice_credentials(IceCreds {
            ufrag: created.ice_parameters.username_fragment.clone(),
            pass: created.ice_parameters.password.clone(),
        });
        api.set_remote_fingerprint(PeerFingerprint {
            hash_func: server.algorithm.clone(),
            bytes: server
                .value
                .split(':')
                .map(|b| u8::from_str_radix(b, 16).unwrap())
                .collect(),
        });
        api.start_dtls(way.active).unwrap();
        api.enable_twcc_feedback();
        let own = api.local_dtls_fingerprint().clone();
        let bytes: Vec<String> = own.bytes.iter().map(|b| format!("{b:02X}")).collect();
        let fingerprint = Fingerprint {
            algorithm: own.hash_func,
            value: bytes.join(":"),
        };
        Peer {
            rtc,
            wire,
            fingerprint,
            local,
            remote,
            connected: false,
            timeout: now,
            lose: 0,
            received: Vec::new(),
            key_frame_requests: 0,
            checks: 0,
        }
    }

    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.clone()
    }

    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Announces what this peer will send.
    pub fn sends(&mut self, mid: &str, kind: MediaKind, ssrc: u32) {
        let mut api = self.rtc.direct_api();
        api.declare_media(Mid::from(mid), kind);
        let rtx = (kind == MediaKind::Video).then(|| Ssrc::from(ssrc + 1));
        api.declare_stream_tx(ssrc.into(), rtx, Mid::from(mid), None)
            .set_unpaced(true);
    }

    /// Announces what this peer will receive.
    pub fn receives(&mut self, mid: &str, kind: MediaKind, ssrc: u32) {
        let mut api = self.rtc.direct_api();
        api.declare_media(Mid::from(mid), kind);
        let rtx = (kind == MediaKind::Video).then(|| Ssrc::from(ssrc + 1));
        api.expect_stream_rx(ssrc.into(), rtx, Mid::from(mid), None);
    }

    /// Sends one packet.
    pub fn write(&mut self, ssrc: u32, pt: u8, number: u64, payload: Vec<u8>) {
        let mut api = self.rtc.direct_api();
        let stream = api.stream_tx(&ssrc.into()).expect("announced");
        let values = ExtensionValues {
            audio_level: Some(-20),
            voice_activity: Some(true),
            ..ExtensionValues::default()
        };
        let write = RtpWrite::new(
            pt.into(),
            number.into(),
            number as u32 * 960,
            Instant::now(),
            payload,
        )
        .marker(true)
        .nackable(pt != super::AUDIO_PT)
        .ext_vals(values);
        stream.write_rtp(write);
        self.poll();
    }

    /// Asks for a key frame.
    pub fn request_key_frame(&mut self, ssrc: u32) {
        let mut api = self.rtc.direct_api();
        let stream = api.stream_rx(&ssrc.into()).expect("announced");
        stream.request_keyframe(KeyframeRequestKind::Pli);
        self.poll();
    }

    /// Takes what came in and does what is due.
    pub fn pump(&mut self) {
        while let Some(datagram) = self.wire.read() {
            let rtp = datagram.len() > 1
                && (128..192).contains(&datagram[0])
                && !(192..224).contains(&datagram[1]);
            if rtp && self.lose > 0 {
                self.lose -= 1;
                continue;
            }
            let proto = match self.wire {
                Wire::Udp(_) => PeerProtocol::Udp,
                Wire::Tcp(..) => PeerProtocol::Tcp,
            };
            let receive = Receive {
                proto,
                source: self.remote,
                destination: self.local,
                contents: datagram.as_slice().try_into().unwrap(),
            };
            self.rtc
                .handle_input(Input::Receive(Instant::now(), receive))
                .unwrap();
            self.poll();
        }
        let now = Instant::now();
        if now >= self.timeout {
            self.rtc.handle_input(Input::Timeout(now)).unwrap();
            self.poll();
        }
    }

    /// Goes on from another port, as behind a NAT that forgot us: only the server can notice.
    pub fn move_to_another_port(&mut self) {
        self.wire = Wire::open(self.remote, Protocol::Udp);
    }

    /// Sends raw bytes from this peer's address.
    pub fn send_raw(&mut self, datagram: &[u8]) {
        self.wire.write(self.remote, datagram);
    }

    fn poll(&mut self) {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(at) => {
                    self.timeout = at.min(Instant::now() + Duration::from_millis(50));
                    return;
                }
                Output::Transmit(t) => {
                    self.checks += u64::from(t.contents[0] < 4);
                    self.wire.write(t.destination, &t.contents);
                }
                Output::Event(Event::Connected) => self.connected = true,
                Output::Event(Event::RtpPacket(packet)) => self.received.push(packet),
                Output::Event(Event::KeyframeRequest(_)) => self.key_frame_requests += 1,
                Output::Event(_) => {}
            }
        }
    }
}

impl Wire {
    fn open(remote: SocketAddr, protocol: Protocol) -> Wire {
        match protocol {
            Protocol::Udp => {
                let any = if remote.is_ipv6() {
                    "[::1]:0"
                } else {
                    "127.0.0.1:0"
                };
                let socket = UdpSocket::bind(any).unwrap();
                socket.set_nonblocking(true).unwrap();
                Wire::Udp(socket)
            }
            Protocol::Tcp => {
                let stream = TcpStream::connect(remote).unwrap();
                stream.set_nodelay(true).unwrap();
                stream.set_nonblocking(true).unwrap();
                Wire::Tcp(stream, Vec::new())
            }
        }
    }

    fn local(&self) -> SocketAddr {
        match self {
            Wire::Udp(socket) => socket.local_addr().unwrap(),
            Wire::Tcp(stream, _) => stream.local_addr().unwrap(),
        }
    }

    fn read(&mut self) -> Option<Vec<u8>> {
        let mut buffer = [0; 4096];
        match self {
            Wire::Udp(socket) => {
                let (n, _) = socket.recv_from(&mut buffer).ok()?;
                Some(buffer[..n].to_vec())
            }
            Wire::Tcp(stream, unread) => {
                match stream.read(&mut buffer) {
                    Ok(n) => unread.extend_from_slice(&buffer[..n]),
                    Err(e) => assert_eq!(e.kind(), ErrorKind::WouldBlock),
                }
                let length = usize::from(u16::from_be_bytes(*unread.first_chunk::<2>()?));
                if unread.len() < length + 2 {
                    return None;
                }
                Some(unread.drain(..length + 2).skip(2).collect())
            }
        }
    }

    fn write(&mut self, to: SocketAddr, datagram: &[u8]) {
        match self {
            Wire::Udp(socket) => {
                socket.send_to(datagram, to).unwrap();
            }
            Wire::Tcp(stream, _) => {
                let length = u16::try_from(datagram.len()).unwrap().to_be_bytes();
                stream.write_all(&[&length, datagram].concat()).unwrap();
            }
        }
    }
}

fn candidates(local: SocketAddr, remote: SocketAddr, protocol: Protocol) -> (Candidate, Candidate) {
    let make = |address, tcp| match protocol {
        Protocol::Udp => Candidate::builder().udp().host(address).build().unwrap(),
        Protocol::Tcp => Candidate::builder()
            .tcp()
            .host(address)
            .tcptype(tcp)
            .build()
            .unwrap(),
    };
    (make(local, TcpType::Active), make(remote, TcpType::Passive))
}

/// The payload types of publishers, and those the router maps them to.
fn add_codecs(config: &mut str0m::RtcConfig) {
    let codecs = config.codec_config();
    for pt in [super::AUDIO_PT, 100] {
        let format = FormatParams::default();
        codecs.add_config(
            pt.into(),
            None,
            Codec::Opus,
            Frequency::FORTY_EIGHT_KHZ,
            Some(2),
            format,
        );
    }
    for (pt, rtx) in [(super::VIDEO_PT, super::RTX_PT), (101, 102)] {
        let (pt, rtx): (Pt, Pt) = (pt.into(), rtx.into());
        let format = FormatParams::default();
        codecs.add_config(
            pt,
            Some(rtx),
            Codec::Vp8,
            Frequency::NINETY_KHZ,
            None,
            format,
        );
    }
}

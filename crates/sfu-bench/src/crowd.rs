//! The clients of a case: generate SRTP at the pace of a call and drain what comes back.
//!
//! # Job
//! One thread, made cheap: keys are preset, payloads constant, received datagrams only counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use meeshy_sfu_io::{BindError, RecvBatch, UdpOptions, UdpSocket, thread};
use meeshy_sfu_proto::srtp::SrtpTx;

use crate::call::{key_of, ssrc_of};
use crate::case::{Case, Receivers, Sizes};

/// Header with one-byte extensions: level 1, abs-send-time 2, transport-wide 3, mid 4.
pub(crate) const HEADER: usize = 28;
const AUDIO_BYTES: usize = 120;
const VIDEO_BYTES: usize = 1100;
const AUDIO_EVERY: Duration = Duration::from_millis(20);
const VIDEO_EVERY: Duration = Duration::from_millis(50);
/// Packets of one video picture, in turn: 40 a second.
const PICTURES: [u32; 4] = [1, 2, 2, 3];
/// 512 packets of a history in a third of a second.
const FILLING_PACE: u32 = 40;
/// Longest delay that is caught up.
const CATCH_UP: Duration = Duration::from_millis(20);
const PAUSE: Duration = Duration::from_micros(150);

/// What the measured thread tells and asks the crowd.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Send as much as fills the histories of the producers soon.
    pub(crate) filling: AtomicBool,
    /// Send media.
    pub(crate) sending: AtomicBool,
    /// End.
    pub(crate) stop: AtomicBool,
    /// Datagrams received by all clients.
    pub(crate) received: AtomicU64,
    /// Datagrams sent by all clients.
    pub(crate) sent: AtomicU64,
}

/// Sockets and keys of the clients.
pub(crate) struct Crowd {
    clients: Vec<Client>,
    publishers: usize,
    /// How many times the pace of one call.
    pace: u32,
    varied: bool,
    server: SocketAddr,
    shared: Arc<Shared>,
}

struct Client {
    socket: UdpSocket,
    protect: SrtpTx,
    audio: Stream,
    video: Stream,
}

struct Stream {
    ssrc: u32,
    index: u64,
    due: Instant,
    picture: usize,
}

impl Crowd {
    pub(crate) fn new(
        clients: usize,
        publishers: usize,
        pace: u32,
        case: &Case,
    ) -> Result<Crowd, BindError> {
        let now = Instant::now();
        let profile = case.profile;
        let options = UdpOptions {
            gro: case.receivers == Receivers::Trains,
            ..UdpOptions::default()
        };
        let make = |number: usize| {
            let socket = UdpSocket::bind(([127, 0, 0, 1], 0).into(), &options)?;
            let stream = |video: bool| Stream {
                ssrc: ssrc_of(number, video),
                index: 1000,
                due: now,
                picture: number,
            };
            Ok(Client {
                socket,
                protect: SrtpTx::new(profile, &key_of(number, true, profile)),
                audio: stream(false),
                video: stream(true),
            })
        };
        let clients: Result<Vec<Client>, BindError> = (0..clients).map(make).collect();
        Ok(Crowd {
            clients: clients?,
            publishers,
            pace,
            varied: case.sizes != Sizes::Even,
            server: ([127, 0, 0, 1], 0).into(),
            shared: Arc::default(),
        })
    }

    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.clients.iter().map(|c| c.socket.local_addr()).collect()
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Works on its own thread, on `cpu`, until told to stop.
    pub(crate) fn start(mut self, server: SocketAddr, cpu: usize) -> std::thread::JoinHandle<()> {
        self.server = server;
        std::thread::spawn(move || {
            // Without a second CPU the figures are worse, not wrong.
            let _ = thread::pin(cpu);
            thread::set_timer_slack(Duration::from_micros(1));
            let mut batch = RecvBatch::new(64);
            let mut was_filling = false;
            while !self.shared.stop.load(Relaxed) {
                let sending = self.shared.sending.load(Relaxed);
                let now = Instant::now();
                let filling = self.shared.filling.load(Relaxed);
                if was_filling && !filling {
                    self.spread(now);
                }
                was_filling = filling;
                if sending {
                    self.resume(now);
                    self.send(now);
                }
                self.drain(&mut batch);
                std::thread::sleep(PAUSE);
            }
        })
    }

    /// Lets the clients not move in step.
    fn spread(&mut self, now: Instant) {
        for (number, client) in self.clients.iter_mut().enumerate() {
            let part = number as u32 * 13 % 50;
            client.audio.due = now + AUDIO_EVERY * part / 50;
            client.video.due = now + VIDEO_EVERY * part / 50;
        }
    }

    /// After a pause, or when held up for long, goes on as if no time had passed: a burst to catch up would
    /// be no call.
    fn resume(&mut self, now: Instant) {
        let publishers = &self.clients[..self.publishers];
        let streams = publishers.iter().flat_map(|c| [c.audio.due, c.video.due]);
        let Some(first) = streams.min() else { return };
        let late = now.saturating_duration_since(first);
        if late > CATCH_UP {
            for client in &mut self.clients {
                client.audio.due += late;
                client.video.due += late;
            }
        }
    }

    fn send(&mut self, now: Instant) {
        let mut sent = 0;
        let pace = if self.shared.filling.load(Relaxed) {
            self.pace.max(FILLING_PACE)
        } else {
            self.pace
        };
        for client in &mut self.clients[..self.publishers] {
            while client.audio.due <= now {
                client.audio.due += AUDIO_EVERY / pace;
                let vary = if self.varied {
                    client.audio.index * 37 % 80
                } else {
                    36
                };
                client.send(false, AUDIO_BYTES - 36 + vary as usize, true, self.server);
                sent += 1;
            }
            while client.video.due <= now {
                client.video.due += VIDEO_EVERY / pace;
                client.video.picture += 1;
                let packets = PICTURES[client.video.picture % PICTURES.len()];
                // All packets of one picture are equally large; a picture of one packet may be small.
                let vary = match (self.varied, packets) {
                    (false, _) => 0,
                    (true, 1) => client.video.picture * 131 % 800,
                    (true, _) => client.video.picture * 131 % 400,
                };
                for packet in 1..=packets {
                    client.send(true, VIDEO_BYTES - vary, packet == packets, self.server);
                    sent += 1;
                }
            }
        }
        self.shared.sent.fetch_add(sent, Relaxed);
    }

    fn drain(&mut self, batch: &mut RecvBatch) {
        let mut received = 0;
        for client in &self.clients {
            while let Ok(count) = batch.recv(&client.socket) {
                for index in 0..count {
                    let message = batch.message(index);
                    received += message.data.len().div_ceil(message.segment);
                }
                if count < batch.capacity() {
                    break;
                }
            }
        }
        self.shared.received.fetch_add(received as u64, Relaxed);
    }
}

impl Client {
    /// Sends one packet of `size` bytes on the wire.
    fn send(&mut self, video: bool, size: usize, marker: bool, to: SocketAddr) {
        let stream = if video {
            &mut self.video
        } else {
            &mut self.audio
        };
        let index = stream.index;
        stream.index += 1;
        let mut out = [0; 2048];
        out[0] = 0x90;
        out[1] = if video { 96 } else { 111 } | u8::from(marker) << 7;
        out[2..4].copy_from_slice(&(index as u16).to_be_bytes());
        out[4..8].copy_from_slice(&(index as u32 * 960).to_be_bytes());
        out[8..12].copy_from_slice(&stream.ssrc.to_be_bytes());
        out[12..16].copy_from_slice(&[0xbe, 0xde, 0, 3]);
        out[16..HEADER].copy_from_slice(&[0x10, 42, 0x22, 0, 0, 0, 0x31, 0, 0, 0x40, b'x', 0]);
        let overhead = HEADER + self.protect.profile().rtp_overhead();
        let mut payload = [0x5a; 1500];
        if video {
            // VP8: start of a partition; every packet a key frame, so that nothing waits for one.
            payload[..7].copy_from_slice(&[0x10, 0, 0, 0, 0x9d, 0x01, 0x2a]);
        }
        let plain = &payload[..size - overhead];
        let len = self
            .protect
            .protect_rtp(&mut out, HEADER, plain, stream.ssrc, index);
        // A full buffer would show as missing packets at the other side.
        let _ = self.socket.send_to(&out[..len], to);
    }
}

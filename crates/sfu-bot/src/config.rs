//! What the control side hands to a pool and gets back: plain values with serde, no behaviour.
//!
//! Keys are snake_case where only our own Python sees them; what also travels to a media server (ICE, DTLS and RTP
//! parameters) lives in [`crate::params`] and is camelCase, as mediasoup writes it.
//!
//! An unknown key is refused by name: a misspelt option must not count as absent. Only in the objects of
//! [`crate::params`] unknown keys are ignored, as other servers than ours may write more.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::params::{DtlsParameters, DtlsRoleName, IceCandidate, IceParameters, RtpParameters};

/// How a pool is built. Every field but `clip_path` has a default.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PoolConfig {
    /// Threads that share the bots round robin. Default 1; one carries about 50 bots of a 50-party call.
    pub threads: usize,
    /// Pause between two drains of the receive sockets, microseconds. Default 5000. Arrival times come from the kernel,
    /// so a longer pause costs accuracy nowhere; below 1000 it costs CPU.
    pub tick_us: u64,
    /// Pause between two looks at the sending schedule, microseconds. Default 1000: media leaves up to this much late.
    pub send_tick_us: u64,
    /// Clip file that every bot plays (format: [`crate::clip`]).
    pub clip_path: PathBuf,
    /// Receive buffer requested per socket, bytes. Default 4 MiB: most of a second of a call of 50; the kernel may grant less (see `health`).
    pub rcvbuf: usize,
    /// Seed of everything that is random: SSRCs, phases, jitter, drops. Default 1.
    pub seed: u64,
    /// Number of the first bot, for runs spread over several generators. Default 0.
    pub first_bot: u16,
    /// Latency samples, and as many sent frames and pauses, kept per thread until they are fetched; beyond it new ones are
    /// counted as dropped. Default 2^20.
    pub sample_capacity: usize,
    /// Use generic receive offload of the kernel (UDP_GRO). Default true; falls back where it is refused.
    pub gro: bool,
    /// How far the wall clock in stamps and records is put forward, milliseconds, as if the pool ran on another host; for
    /// tests. Default 0.
    pub clock_shift_ms: i64,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            threads: 1,
            tick_us: 5000,
            send_tick_us: 1000,
            clip_path: PathBuf::new(),
            rcvbuf: 4 << 20,
            seed: 1,
            first_bot: 0,
            sample_capacity: 1 << 20,
            gro: true,
            clock_shift_ms: 0,
        }
    }
}

/// How the bots of one `spawn` behave.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpawnOptions {
    /// Local address of both sockets. Default 127.0.0.1; an unspecified one lets the route to the server decide.
    pub bind: IpAddr,
    /// DTLS role offered on the send transport. Default client.
    pub send_role: DtlsRoleName,
    /// DTLS role offered on the recv transport. Default client.
    pub recv_role: DtlsRoleName,
    /// Layer of the clip that is sent as video. Default 0.
    pub layer: usize,
    /// Write the latency stamp into the payload. Default true.
    pub stamp: bool,
    /// Request lost video packets and accept them as RTX. Default true.
    pub nack: bool,
    /// Send transport-wide feedback for what is received. Default true.
    pub transport_cc: bool,
    /// Request a key frame when a video stream starts without one or breaks. Default true.
    pub pli: bool,
    /// Every n-th audio packet carries a stamp. Default 10; 1 distinguishes every packet from its copies on other legs.
    pub audio_stamp_every: u64,
    /// Leave silence out of the audio, but for one packet in 400 ms (RFC 7587 §3.1.3). Default false.
    pub dtx: bool,
    /// Make the bot a leg of this participant: all legs of a participant send the same frames with its number in the
    /// stamps, and each received track is shown from one leg at a time. Default none: the bot is a participant by itself.
    pub participant: Option<u16>,
    /// One transport for both directions, towards a peer instead of a media server; it is called `recv`.
    /// Default none.
    pub peer: Option<IceRole>,
    /// Numbers to send audio with (mid, payload type, header extensions), where another side chose them. Default none.
    pub audio: Option<RtpParameters>,
    /// The same for video.
    pub video: Option<RtpParameters>,
}

/// Who nominates the path between two peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IceRole {
    /// The one that made the offer.
    Controlling,
    /// The one that answered.
    Controlled,
}

impl Default for SpawnOptions {
    fn default() -> Self {
        Self {
            bind: IpAddr::from([127, 0, 0, 1]),
            send_role: DtlsRoleName::Client,
            recv_role: DtlsRoleName::Client,
            layer: 0,
            stamp: true,
            nack: true,
            transport_cc: true,
            pli: true,
            audio_stamp_every: 10,
            dtx: false,
            participant: None,
            peer: None,
            audio: None,
            video: None,
        }
    }
}

/// One of a bot's two transports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The bot produces here.
    Send,
    /// The bot consumes here.
    Recv,
}

/// Kind of media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Opus, 20 ms.
    Audio,
    /// VP8.
    Video,
}

/// Parameters of a bot's transports, for signalling to send to the server.
#[derive(Debug, Clone, Serialize)]
pub struct LocalParameters {
    /// Of the send transport; of the only one towards a peer.
    pub send: LocalTransport,
    /// Of the recv transport.
    pub recv: LocalTransport,
}

/// Local half of one transport.
#[derive(Debug, Clone, Serialize)]
pub struct LocalTransport {
    /// Body of the connect request's `dtlsParameters`.
    pub dtls: DtlsParameters,
    /// Own ICE credentials, for an offer or answer.
    pub ice: IceParameters,
    /// Local address; with an unspecified one the route decides.
    pub address: IpAddr,
    /// Local UDP port.
    pub port: u16,
}

/// The server's half of one transport, as it answered to createTransport; both spellings of the keys are taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectParameters {
    /// Server's ufrag and password.
    #[serde(rename = "iceParameters", alias = "ice_parameters")]
    pub ice_parameters: IceParameters,
    /// Server's candidates; UDP ones are used.
    #[serde(rename = "iceCandidates", alias = "ice_candidates")]
    pub ice_candidates: Vec<IceCandidate>,
    /// Server's fingerprints and role.
    #[serde(rename = "dtlsParameters", alias = "dtls_parameters")]
    pub dtls_parameters: DtlsParameters,
}

/// One consumer as the server answered it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumeRequest {
    /// Free number of the caller; names the stream in rows, samples and events. Unique per bot.
    pub tag: u32,
    /// Bot that is expected to be received here; -1 when unknown, then nothing counts as foreign.
    #[serde(default = "unknown_sender")]
    pub sender: i32,
    /// Audio or video.
    pub kind: Kind,
    /// The server's rtpParameters, unchanged.
    #[serde(rename = "rtpParameters", alias = "rtp_parameters")]
    pub rtp_parameters: RtpParameters,
}

fn unknown_sender() -> i32 {
    -1
}

/// An emulated link in one direction; all datagrams of a bot (STUN, DTLS, RTP, RTCP) pass it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinkProfile {
    /// Probability that a datagram is dropped, 0–1. Default 0.
    pub loss: f64,
    /// Fixed one-way delay, milliseconds. Default 0.
    pub delay_ms: f64,
    /// Extra delay between 0 and this, every value equally frequent over time; the order is kept. Default 0.
    pub jitter_ms: f64,
    /// Draw the jitter of each datagram for itself, so that it changes their order. Default false.
    pub reorder: bool,
    /// Link rate, bits per second; 0 (default) is unlimited.
    pub rate_bps: u64,
    /// Queue in front of a limited link, milliseconds of sending time; what does not fit is dropped. Default 0 means 200.
    pub queue_ms: f64,
    /// Seed of the drops and the jitter; the same seed drops the same datagrams. 0 (default) derives one from the pool's.
    pub seed: u64,
}

/// Something that happened to a bot; one flat JSON object `{"bot", "unix_ns", "type", …}`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BotEvent {
    /// The bot.
    pub bot: u16,
    /// When, Unix nanoseconds.
    pub unix_ns: u64,
    /// The event.
    #[serde(flatten)]
    pub what: EventKind,
}

/// An event of a bot; `type` is the variant's name in snake_case.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// ICE state of a transport changed.
    Ice {
        /// The transport.
        which: Direction,
        /// `new`, `connected`, `completed`, `disconnected` or `closed`.
        state: &'static str,
    },
    /// The server answered a check with the credentials of an ICE restart.
    IceRestarted {
        /// The transport.
        which: Direction,
    },
    /// DTLS state of a transport changed.
    Dtls {
        /// The transport.
        which: Direction,
        /// `new`, `connecting`, `connected`, `failed` or `closed`.
        state: &'static str,
        /// Profile agreed on, once connected.
        srtp_profile: Option<&'static str>,
    },
    /// The first packet of a consumer arrived.
    FirstPacket {
        /// The stream.
        tag: u32,
        /// Announced sender, -1 unknown.
        sender: i32,
        /// Audio or video.
        kind: Kind,
    },
    /// The first frame of a video consumer that can be decoded was complete.
    FirstFrame {
        /// The stream.
        tag: u32,
        /// Announced sender, -1 unknown.
        sender: i32,
    },
    /// A track of this sender is shown from this leg from now on.
    Entered {
        /// The stream.
        tag: u32,
        /// The sender, from the stamp.
        sender: u16,
        /// Audio or video.
        kind: Kind,
    },
    /// The server requested a key frame of this bot.
    Pli,
    /// No frame (video) or packet (audio) for more than half a second.
    Freeze {
        /// The stream.
        tag: u32,
        /// Announced sender, -1 unknown.
        sender: i32,
        /// Audio or video.
        kind: Kind,
    },
    /// A frozen stream flows again.
    Thaw {
        /// The stream.
        tag: u32,
        /// How long it was frozen.
        gap_ms: u64,
    },
    /// A transport ended, by the peer or by failure.
    Closed {
        /// The transport.
        which: Direction,
        /// Human-readable reason.
        reason: String,
    },
    /// A command could not be carried out.
    Error {
        /// Human-readable reason.
        message: String,
    },
}

/// The generator's view of itself; a run whose generator was late says nothing about the server.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Health {
    /// One entry per thread.
    pub threads: Vec<ThreadHealth>,
    /// Datagrams the kernel threw away because a bot's receive buffer was full (SO_RXQ_OVFL), all sockets.
    pub socket_drops: u64,
    /// Latency samples, sent frames and pauses that did not fit the buffer.
    pub samples_dropped: u64,
    /// Events that did not fit the queue.
    pub events_dropped: u64,
    /// Bots that are not closed.
    pub bots: u64,
}

/// Self-observation of one thread since the pool began.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ThreadHealth {
    /// The thread runs. False after `stop`, or when it panicked: then its bots are gone and the run is void.
    pub alive: bool,
    /// CPU time of the thread, nanoseconds.
    pub cpu_ns: u64,
    /// Wall time since the thread began, nanoseconds.
    pub wall_ns: u64,
    /// Wake-ups.
    pub ticks: u64,
    /// How late frames left after they were due, and datagrams were read after the kernel received them (less the time
    /// between two looks at a socket): mean, microseconds.
    pub lag_mean_us: f64,
    /// The same, 99th percentile (upper bound of its power-of-√2 bucket).
    pub lag_p99_us: f64,
    /// The same, worst.
    pub lag_max_us: f64,
    /// The same, worst of the present and the last full second.
    pub lag_recent_us: f64,
    /// Length of all stalls, microseconds: times in which something was at least 20 ms late.
    pub stalled_us: f64,
    /// Longest time one tick needed, microseconds.
    pub busy_max_us: f64,
    /// Media packets sent.
    pub packets_sent: u64,
    /// Media packets that left more than 5 ms after their time.
    pub late_sends: u64,
    /// Worst lateness of a media packet, microseconds.
    pub late_max_us: f64,
    /// Datagrams received.
    pub datagrams: u64,
    /// RTP packets received and decrypted.
    pub rtp_packets: u64,
    /// RTP packets that failed authentication.
    pub auth_failures: u64,
    /// RTP packets of an unannounced SSRC.
    pub unknown_ssrc: u64,
    /// Datagrams the send buffer refused.
    pub send_refused: u64,
}

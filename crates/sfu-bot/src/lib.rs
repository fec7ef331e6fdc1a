//! Native bots of load tests: many light WebRTC peers in few threads, which send a clip and measure all they receive.
//!
//! # Job
//! A [`BotPool`] owns threads and bots. Each bot is a mediasoup-style client with a send and a recv transport (one UDP
//! socket each), real ICE, DTLS and SRTP, RTCP both ways, and a latency stamp inside the payload. Signalling is left to
//! the caller: it fetches [`BotPool::local`], talks to the server, and hands the answers to [`BotPool::connect`] and
//! [`BotPool::consume`].
//!
//! A bot may also be one of several legs of a participant ([`SpawnOptions::participant`]): towards a server, or straight
//! to a peer over one transport ([`SpawnOptions::peer`]). Legs of a participant send the same frames, and what they
//! receive is shown from one leg at a time, so that a call can move from one path to another without a gap.
//!
//! # Invariants
//! - No call blocks on the network; `rows`, `sender_rows` and `stop` wait at most for the threads' next tick.
//! - Every RTP packet is decrypted, authenticated and counted; nothing is sampled.
//! - One socket per transport: a single-port media server distinguishes its clients by their remote address.
//!
//! # Left out
//! Decoding and playout delay (bots measure arrival), simulcast upload, TCP candidates, congestion control of the bot's
//! own sending (the clip's bit rate is fixed).

mod arrivals;
mod checksum;
pub mod clip;
mod command;
pub mod config;
mod context;
mod frame_check;
mod impair;
#[cfg(test)]
mod interface;
mod jitter;
mod lag;
pub mod layout;
mod leg_selector;
mod lock;
mod media_clock;
mod negotiation;
mod opus;
pub mod params;
mod peer;
mod pool;
mod port;
mod random;
mod received;
mod receiver;
mod reception;
mod repair;
mod runner;
mod schedule;
mod script;
mod sender;
mod session;
mod ssrc_map;
mod stamp;
mod strangers;
mod vp8;
mod window;

pub use clip::{Clip, ClipError, ClipWriter};
pub use config::{
    BotEvent, ConnectParameters, ConsumeRequest, Direction, EventKind, Health, IceRole, Kind,
    LinkProfile, LocalParameters, PoolConfig, SpawnOptions, ThreadHealth,
};
pub use layout::{
    BotRow, ConsumerRow, NEVER_WHOLE, Pause, SAMPLE_CORRUPT, SAMPLE_SHOWN, SAMPLE_SURPLUS, Sample,
    SenderRow, SentFrame,
};
pub use params::RtpParameters;
pub use pool::{BotPool, PoolError};

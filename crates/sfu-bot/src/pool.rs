//! The pool: what the control side holds in its hands.
//!
//! # Job
//! Keeps the list of bots, makes their keys, sockets and SSRCs, and passes commands to the threads. What a bot does with
//! them belongs to `peer`.

use std::fmt;
use std::io;
use std::os::fd::RawFd;

use crate::clip::ClipError;
use crate::config::{
    BotEvent, ConnectParameters, ConsumeRequest, Direction, Health, Kind, LinkProfile,
    LocalParameters, PoolConfig, SpawnOptions,
};
use crate::params::RtpParameters;

/// A group of bots and the threads that drive them. All methods take `&self` and may be called from any thread.
#[derive(Debug)]
pub struct BotPool {}

/// Why a call on a pool was refused.
#[derive(Debug)]
#[non_exhaustive]
pub enum PoolError {
    /// The clip cannot be used.
    Clip(ClipError),
    /// A socket, thread or event descriptor could not be made.
    Io(io::Error),
    /// No bot has this number, or it is closed.
    UnknownBot(u16),
    /// An argument makes no sense; the text says which and why.
    Invalid(String),
    /// The pool was stopped.
    Stopped,
}

impl BotPool {
    /// Loads the clip and starts the threads.
    pub fn new(_config: PoolConfig) -> Result<Self, PoolError> {
        Err(PoolError::Stopped)
    }

    /// Descriptor that becomes readable when there are events; reset by [`BotPool::events`].
    pub fn event_fd(&self) -> RawFd {
        -1
    }

    /// Makes `count` bots with keys and sockets; nothing is sent yet. Returns their numbers.
    pub fn spawn(&self, _count: usize, _options: &SpawnOptions) -> Result<Vec<u16>, PoolError> {
        Err(PoolError::Stopped)
    }

    /// What signalling must tell the server about a bot.
    pub fn local(&self, _bot: u16) -> Result<LocalParameters, PoolError> {
        Err(PoolError::Stopped)
    }

    /// Starts ICE and DTLS of one transport towards the server's candidates.
    pub fn connect(
        &self,
        _bot: u16,
        _which: Direction,
        _server: ConnectParameters,
    ) -> Result<(), PoolError> {
        Err(PoolError::Stopped)
    }

    /// The rtpParameters for the produce request of this kind; always the same for one bot.
    pub fn produce(&self, _bot: u16, _kind: Kind) -> Result<RtpParameters, PoolError> {
        Err(PoolError::Stopped)
    }

    /// Starts sending media of this kind (once the transport is connected).
    pub fn start_sending(&self, _bot: u16, _kind: Kind) -> Result<(), PoolError> {
        Err(PoolError::Stopped)
    }

    /// Stops sending media of this kind.
    pub fn stop_sending(&self, _bot: u16, _kind: Kind) -> Result<(), PoolError> {
        Err(PoolError::Stopped)
    }

    /// Announces streams the server will send. A tag that is already in use is replaced.
    pub fn consume(&self, _bot: u16, _consumers: Vec<ConsumeRequest>) -> Result<(), PoolError> {
        Err(PoolError::Stopped)
    }

    /// Forgets streams; their rows stay. Unknown tags are ignored.
    pub fn unconsume(&self, _bot: u16, _tags: &[u32]) -> Result<(), PoolError> {
        Err(PoolError::Stopped)
    }

    /// Puts emulated links between a bot's sockets and its protocols; the default profile is a perfect link.
    pub fn impair(&self, _bot: u16, _up: LinkProfile, _down: LinkProfile) -> Result<(), PoolError> {
        Err(PoolError::Stopped)
    }

    /// Says goodbye (BYE, close_notify) and closes both sockets. Idempotent.
    pub fn close_bot(&self, _bot: u16) -> Result<(), PoolError> {
        Err(PoolError::Stopped)
    }

    /// Takes up to `max` events, oldest first.
    pub fn events(&self, _max: usize) -> Vec<BotEvent> {
        Vec::new()
    }

    /// One [`crate::ConsumerRow`] per consumer ever announced, as bytes. Waits for the next tick of each thread.
    pub fn rows(&self) -> Vec<u8> {
        Vec::new()
    }

    /// One [`crate::SenderRow`] per stream ever started, as bytes. Waits for the next tick of each thread.
    pub fn sender_rows(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Takes up to `max` latency samples ([`crate::Sample`]) as bytes, oldest first.
    pub fn samples(&self, _max: usize) -> Vec<u8> {
        Vec::new()
    }

    /// The generator's view of itself.
    pub fn health(&self) -> Health {
        Health::default()
    }

    /// Closes all bots and joins the threads. Idempotent; rows, samples, events and health stay readable.
    pub fn stop(&self) {}
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clip(error) => write!(f, "{error}"),
            Self::Io(error) => write!(f, "bot pool: {error}"),
            Self::UnknownBot(bot) => write!(f, "no open bot has the number {bot}; spawn it first"),
            Self::Invalid(reason) => f.write_str(reason),
            Self::Stopped => f.write_str("the bot pool was stopped; make a new one"),
        }
    }
}

impl std::error::Error for PoolError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Clip(error) => Some(error),
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ClipError> for PoolError {
    fn from(error: ClipError) -> Self {
        Self::Clip(error)
    }
}

impl From<io::Error> for PoolError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

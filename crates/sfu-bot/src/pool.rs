//! The pool: what the control side holds in its hands.
//!
//! # Job
//! Keeps the list of bots, makes their keys, sockets and SSRCs, and passes commands to the threads. What a bot does with
//! them belongs to `peer`.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use meeshy_sfu_proto::dtls::{Certificate, HashAlgorithm};

use crate::clip::{Clip, ClipError};
use crate::command::Command;
use crate::config::{
    BotEvent, ConnectParameters, ConsumeRequest, Direction, Health, Kind, LinkProfile,
    LocalParameters, LocalTransport, PoolConfig, SpawnOptions,
};
use crate::layout::Record;
use crate::leg_selector::LegSelector;
use crate::lock::lock;
use crate::negotiation::Media;
use crate::params::{DtlsParameters, Fingerprint, RtpParameters};
use crate::peer::Peer;
use crate::port::{EventQueue, Port, Records};
use crate::random::Random;
use crate::receiver::{Feedback, Receiver};
use crate::runner::{Rhythm, Runner};
use crate::sender::{Common, Sender, Speaker, first_script};
use crate::session::{Session, SessionConfig};

/// A group of bots and the threads that drive them. All methods take `&self` and may be called from any thread.
#[derive(Debug)]
pub struct BotPool {
    config: PoolConfig,
    clip: Arc<Clip>,
    events: Arc<EventQueue>,
    ports: Vec<Arc<Port>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    bots: Mutex<Bots>,
}

#[derive(Debug, Default)]
struct Bots {
    entries: Vec<Entry>,
    participants: HashMap<u16, Participant>,
    stopped: bool,
}

/// State shared by the legs of one participant.
#[derive(Debug, Clone)]
struct Participant {
    common: Common,
    selector: LegSelector,
    layer: usize,
}

/// What the control side knows of a bot without a command to its thread.
#[derive(Debug)]
struct Entry {
    open: bool,
    /// Number of the thread that drives it.
    thread: usize,
    dtx: bool,
    audio: Media,
    video: Media,
    cname: String,
    local: LocalParameters,
}

impl Entry {
    fn media(&self, kind: Kind) -> &Media {
        match kind {
            Kind::Audio => &self.audio,
            Kind::Video => &self.video,
        }
    }
}

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
    pub fn new(config: PoolConfig) -> Result<Self, PoolError> {
        let clip = Clip::load(&config.clip_path)?;
        Self::with_clip(config, clip)
    }

    /// Starts the threads with a clip that is already in memory; `clip_path` is ignored.
    pub fn with_clip(config: PoolConfig, clip: Clip) -> Result<Self, PoolError> {
        if config.threads == 0 || config.threads > 64 {
            return Err(PoolError::Invalid(format!(
                "threads is {}; 1 to 64 are possible",
                config.threads
            )));
        }
        if config.tick_us == 0 || config.send_tick_us == 0 {
            return Err(PoolError::Invalid(
                "tick_us and send_tick_us are above zero".into(),
            ));
        }
        let rhythm = Rhythm {
            receive_ns: config.tick_us * 1000,
            send_ns: config.send_tick_us * 1000,
            sample_capacity: config.sample_capacity,
            clock_shift_ns: config.clock_shift_ms.saturating_mul(1_000_000),
        };
        let clip = Arc::new(clip);
        let events = Arc::new(EventQueue::new()?);
        let ports: Vec<Arc<Port>> = (0..config.threads).map(|_| Arc::default()).collect();
        let pool = Self {
            config,
            clip: clip.clone(),
            events: events.clone(),
            ports,
            threads: Mutex::default(),
            bots: Mutex::default(),
        };
        for (number, port) in pool.ports.iter().enumerate() {
            let runner = Runner::new(port.clone(), events.clone(), clip.clone(), rhythm);
            let thread = std::thread::Builder::new()
                .name(format!("bots-{number}"))
                .spawn(move || runner.run())?;
            lock(&pool.threads).push(thread);
        }
        Ok(pool)
    }

    /// Descriptor that becomes readable when there are events; reset by [`BotPool::events`].
    pub fn event_fd(&self) -> RawFd {
        self.events.bell.as_raw_fd()
    }

    /// Makes `count` bots with keys and sockets; nothing is sent yet. Returns their numbers.
    pub fn spawn(&self, count: usize, options: &SpawnOptions) -> Result<Vec<u16>, PoolError> {
        if options.layer >= self.clip.layers().len() {
            let layers = self.clip.layers().len();
            return Err(PoolError::Invalid(format!(
                "layer is {}; the clip has {layers}",
                options.layer
            )));
        }
        let mut bots = lock(&self.bots);
        if bots.stopped {
            return Err(PoolError::Stopped);
        }
        // One number is kept free: it stands for "unknown sender".
        let free = usize::from(u16::MAX)
            - usize::from(self.config.first_bot)
            - bots.entries.len().min(65_535);
        if count > free {
            return Err(PoolError::Invalid(format!(
                "count is {count}; {free} bot numbers are left"
            )));
        }
        let mut numbers = Vec::with_capacity(count);
        for _ in 0..count {
            let bot = self.config.first_bot + bots.entries.len() as u16;
            let participant = options
                .participant
                .map(|number| self.participant(&mut bots.participants, number, options));
            let (peer, entry) = self.build(bot, options, participant.transpose()?)?;
            self.ports[entry.thread].send(Command::Adopt(Box::new(peer)));
            bots.entries.push(entry);
            numbers.push(bot);
        }
        Ok(numbers)
    }

    /// Parameters of a bot's transports, for signalling to send to the server.
    pub fn local(&self, bot: u16) -> Result<LocalParameters, PoolError> {
        self.entry(bot, |entry| entry.local.clone())
    }

    /// Starts ICE and DTLS of one transport towards the server's candidates; with other ICE credentials on a
    /// connected transport, restarts ICE.
    pub fn connect(
        &self,
        bot: u16,
        which: Direction,
        server: ConnectParameters,
    ) -> Result<(), PoolError> {
        self.command(bot, Command::Connect(bot, which, Box::new(server)))
    }

    /// The rtpParameters for the produce request of this kind; always the same for one bot.
    pub fn produce(&self, bot: u16, kind: Kind) -> Result<RtpParameters, PoolError> {
        self.entry(bot, |entry| entry.media(kind).rtp_parameters(&entry.cname))
    }

    /// Starts sending media of this kind (once the transport is connected).
    pub fn start_sending(&self, bot: u16, kind: Kind) -> Result<(), PoolError> {
        let media = self.entry(bot, |entry| entry.media(kind).clone())?;
        self.command(bot, Command::Start(bot, media))
    }

    /// Stops sending media of this kind.
    pub fn stop_sending(&self, bot: u16, kind: Kind) -> Result<(), PoolError> {
        self.command(bot, Command::StopSending(bot, kind))
    }

    /// Makes a bot that sends no silence (`dtx`) silent, on all legs of its participant, or lets it talk again.
    pub fn hush(&self, bot: u16, hushed: bool) -> Result<(), PoolError> {
        if !self.entry(bot, |entry| entry.dtx)? {
            return Err(PoolError::Invalid(format!(
                "bot {bot} was spawned without dtx; stop its sending"
            )));
        }
        self.command(bot, Command::Hush(bot, hushed))
    }

    /// Announces streams the server will send. A tag that is already in use is replaced.
    pub fn consume(&self, bot: u16, consumers: Vec<ConsumeRequest>) -> Result<(), PoolError> {
        self.command(bot, Command::Consume(bot, consumers))
    }

    /// Forgets streams; their rows stay. Unknown tags are ignored.
    pub fn unconsume(&self, bot: u16, tags: &[u32]) -> Result<(), PoolError> {
        self.command(bot, Command::Unconsume(bot, tags.to_vec()))
    }

    /// Shows the tracks of a participant from this leg as soon as they can be decoded there; the leg preferred last wins.
    pub fn prefer(&self, bot: u16) -> Result<(), PoolError> {
        self.command(bot, Command::Prefer(bot))
    }

    /// Puts emulated links between a bot's sockets and its protocols; the default profile is a perfect link.
    pub fn impair(&self, bot: u16, up: LinkProfile, down: LinkProfile) -> Result<(), PoolError> {
        for (name, profile) in [("up", &up), ("down", &down)] {
            if !(0.0..=1.0).contains(&profile.loss) {
                return Err(PoolError::Invalid(format!(
                    "{name}.loss is {}; 0 to 1 is possible",
                    profile.loss
                )));
            }
            let milliseconds = [profile.delay_ms, profile.jitter_ms, profile.queue_ms];
            if !milliseconds
                .iter()
                .all(|value| (0.0..=60_000.0).contains(value))
            {
                return Err(PoolError::Invalid(format!(
                    "{name}: delays and queue are 0 to 60000 ms"
                )));
            }
        }
        self.command(bot, Command::Impair(bot, up, down))
    }

    /// Sends BYE and close_notify and closes both sockets. Idempotent.
    pub fn close_bot(&self, bot: u16) -> Result<(), PoolError> {
        let mut bots = lock(&self.bots);
        let at = usize::from(bot).checked_sub(usize::from(self.config.first_bot));
        let entry = at
            .and_then(|at| bots.entries.get_mut(at))
            .ok_or(PoolError::UnknownBot(bot))?;
        if std::mem::take(&mut entry.open) {
            self.ports[entry.thread].send(Command::Close(bot));
        }
        Ok(())
    }

    /// Takes up to `max` events, oldest first.
    pub fn events(&self, max: usize) -> Vec<BotEvent> {
        self.events.take(max)
    }

    /// One [`crate::ConsumerRow`] per consumer ever announced, as bytes. Waits for the next tick of each thread.
    pub fn rows(&self) -> Vec<u8> {
        self.ports
            .iter()
            .flat_map(|port| port.tables().consumers)
            .collect()
    }

    /// One [`crate::SenderRow`] per stream ever started, as bytes. Waits for the next tick of each thread.
    pub fn sender_rows(&self) -> Vec<u8> {
        self.ports
            .iter()
            .flat_map(|port| port.tables().senders)
            .collect()
    }

    /// One [`crate::BotRow`] per bot, as bytes. Waits for the next tick of each thread.
    pub fn bot_rows(&self) -> Vec<u8> {
        self.ports
            .iter()
            .flat_map(|port| port.tables().bots)
            .collect()
    }

    /// Takes up to `max` latency samples ([`crate::Sample`]) as bytes, oldest first within each thread.
    pub fn samples(&self, max: usize) -> Vec<u8> {
        self.take(|port| &port.samples, max)
    }

    /// Takes up to `max` frames that were sent ([`crate::SentFrame`]) as bytes, oldest first within each thread.
    pub fn sent(&self, max: usize) -> Vec<u8> {
        self.take(|port| &port.sent, max)
    }

    /// Takes up to `max` pauses that are over ([`crate::Pause`]) as bytes, oldest first within each thread.
    pub fn pauses(&self, max: usize) -> Vec<u8> {
        self.take(|port| &port.pauses, max)
    }

    /// The generator's view of itself, at most 50 ms old.
    pub fn health(&self) -> Health {
        let mut health = Health {
            events_dropped: self.events.dropped(),
            bots: lock(&self.bots)
                .entries
                .iter()
                .filter(|entry| entry.open)
                .count() as u64,
            ..Health::default()
        };
        for port in &self.ports {
            let (thread, socket_drops, samples_dropped) = port.health();
            health.threads.push(thread);
            health.socket_drops += socket_drops;
            health.samples_dropped += samples_dropped;
        }
        health
    }

    /// Closes all bots and joins the threads. Idempotent; rows, samples, events and health stay readable.
    pub fn stop(&self) {
        {
            let mut bots = lock(&self.bots);
            bots.stopped = true;
            bots.entries.iter_mut().for_each(|entry| entry.open = false);
        }
        self.ports.iter().for_each(|port| port.send(Command::Stop));
        for thread in lock(&self.threads).drain(..) {
            // A thread that panicked has ended too; its rows hold what it measured.
            let _ = thread.join();
        }
    }

    fn take<T: Record>(&self, of: impl Fn(&Port) -> &Records<T>, max: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for port in &self.ports {
            let room = max.saturating_mul(T::LEN).saturating_sub(out.len());
            of(port).take(room, &mut out);
        }
        out
    }

    /// Returns the state the legs of a participant share; creates it with the first leg.
    fn participant(
        &self,
        participants: &mut HashMap<u16, Participant>,
        number: u16,
        options: &SpawnOptions,
    ) -> Result<Participant, PoolError> {
        let participant = participants.entry(number).or_insert_with(|| {
            let mut random = Random::derive(self.config.seed, 0x9e45 << 16 | u64::from(number));
            let script = |kind, random: &mut Random| {
                first_script(kind, options.layer, options.dtx, &self.clip, random)
            };
            Participant {
                common: Common {
                    audio: script(Kind::Audio, &mut random),
                    video: script(Kind::Video, &mut random),
                    seed: random.next(),
                },
                selector: LegSelector::default(),
                layer: options.layer,
            }
        });
        if participant.layer != options.layer {
            return Err(PoolError::Invalid(format!(
                "layer is {}; the other legs of participant {number} send layer {}",
                options.layer, participant.layer
            )));
        }
        Ok(participant.clone())
    }

    fn build(
        &self,
        bot: u16,
        options: &SpawnOptions,
        participant: Option<Participant>,
    ) -> Result<(Peer, Entry), PoolError> {
        if options.audio_stamp_every == 0 {
            return Err(PoolError::Invalid("audio_stamp_every is above zero".into()));
        }
        let seed = Random::derive(self.config.seed, u64::from(bot)).next();
        let mut random = Random::derive(seed, 0xb07);
        let certificate = Certificate::generate().map_err(io::Error::other)?;
        let certificate = Arc::new(certificate);
        let cname = format!("bot-{bot}-{}", random.text(6));
        let mut session = |which, role| {
            Session::open(SessionConfig {
                bot,
                which,
                bind: options.bind,
                role,
                peer: options.peer,
                certificate: certificate.clone(),
                receive_buffer: self.config.rcvbuf,
                gro: self.config.gro,
                seed: random.next(),
            })
        };
        let send = match options.peer {
            None => Some(session(Direction::Send, options.send_role)?),
            Some(_) => None,
        };
        let recv = session(Direction::Recv, options.recv_role)?;
        let fingerprint = certificate.fingerprint(HashAlgorithm::Sha256);
        let local = |role, session: &Session| LocalTransport {
            dtls: DtlsParameters {
                role,
                fingerprints: vec![Fingerprint {
                    algorithm: fingerprint.algorithm.as_str().into(),
                    value: fingerprint.value.clone(),
                }],
            },
            ice: session.ice(),
            address: session.local().ip(),
            port: session.local().port(),
        };
        let local = LocalParameters {
            send: match &send {
                Some(send) => local(options.send_role, send),
                None => local(options.recv_role, &recv),
            },
            recv: local(options.recv_role, &recv),
        };
        let media = |kind, theirs: &Option<RtpParameters>| {
            let ours = Media::new(kind, seed);
            match theirs {
                Some(theirs) => ours.numbered_as(theirs),
                None => ours,
            }
        };
        let (selector, common) = participant
            .map(|participant| (participant.selector, participant.common))
            .unzip();
        let speaker = Speaker {
            number: options.participant.unwrap_or(bot),
            stamp: options.stamp,
            audio_stamp_every: options.audio_stamp_every,
            layer: options.layer,
            dtx: options.dtx,
            common,
        };
        let feedback = Feedback {
            nack: options.nack,
            pli: options.pli,
            transport_cc: options.transport_cc,
        };
        let peer = Peer {
            bot,
            send,
            recv,
            sender: Sender::new(bot, cname.clone(), speaker, random.next()),
            receiver: Receiver::new(
                bot,
                cname.clone(),
                random.next() as u32 | 1,
                feedback,
                selector,
            ),
            due_ns: 0,
        };
        Ok((
            peer,
            Entry {
                open: true,
                // The legs of a participant share a clock, so they share a thread.
                thread: usize::from(options.participant.unwrap_or(bot)) % self.ports.len(),
                dtx: options.dtx,
                audio: media(Kind::Audio, &options.audio),
                video: media(Kind::Video, &options.video),
                cname,
                local,
            },
        ))
    }

    fn entry<T>(&self, bot: u16, read: impl FnOnce(&Entry) -> T) -> Result<T, PoolError> {
        let bots = lock(&self.bots);
        if bots.stopped {
            return Err(PoolError::Stopped);
        }
        let at = usize::from(bot).checked_sub(usize::from(self.config.first_bot));
        let entry = at
            .and_then(|at| bots.entries.get(at))
            .filter(|entry| entry.open);
        entry.map(read).ok_or(PoolError::UnknownBot(bot))
    }

    fn command(&self, bot: u16, command: Command) -> Result<(), PoolError> {
        let thread = self.entry(bot, |entry| entry.thread)?;
        self.ports[thread].send(command);
        Ok(())
    }
}

impl Drop for BotPool {
    fn drop(&mut self) {
        self.stop();
    }
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

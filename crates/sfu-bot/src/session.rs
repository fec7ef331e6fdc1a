//! One transport of a bot: its socket, the emulated links, ICE, DTLS and the SRTP keys.
//!
//! # Job
//! Gets datagrams in and out and opens and seals them. What is in the RTP belongs to `sender` and `receiver`.
//!
//! # Invariants
//! - Every datagram, of whatever protocol, passes the emulated link of its direction.
//! - Media goes only to the path ICE selected, and is taken only from there.
//!
//! # Cost
//! A perfect link costs one comparison; a datagram sent is one system call (a bot sends few to one place at a time).

use std::net::{IpAddr, SocketAddr, UdpSocket as StdSocket};
use std::sync::Arc;

use meeshy_sfu_io::{RecvBatch, UdpOptions, UdpSocket};
use meeshy_sfu_proto::dtls::{Certificate, DtlsRole, DtlsState, Fingerprint, HashAlgorithm};
use meeshy_sfu_proto::ice::{IceCandidate, IceParameters, IceProtocol, IceState};
use meeshy_sfu_proto::link::{Link, LinkEvent};
use meeshy_sfu_proto::net::{Class, Destination, SocketId, classify};
use meeshy_sfu_proto::srtp::{SrtpProfile, SrtpRx, SrtpTx};

use crate::config::{ConnectParameters, Direction, EventKind, IceRole, LinkProfile};
use crate::context::{Context, DATAGRAM, Now, unix_ns};
use crate::impair::EmulatedLink;
use crate::params::{self, DtlsRoleName};
use crate::random::Random;

/// Datagrams of an unknown peer that are kept.
const MAX_EARLY: usize = 8;

/// What a session is made with.
#[derive(Debug, Clone)]
pub(crate) struct SessionConfig {
    pub(crate) bot: u16,
    pub(crate) which: Direction,
    pub(crate) bind: IpAddr,
    pub(crate) role: DtlsRoleName,
    /// The other side is a peer, not a server; who nominates the path.
    pub(crate) peer: Option<IceRole>,
    pub(crate) certificate: Arc<Certificate>,
    pub(crate) receive_buffer: usize,
    pub(crate) gro: bool,
    pub(crate) seed: u64,
}

/// Keys of both directions.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) tx: SrtpTx,
    pub(crate) rx: SrtpRx,
}

/// One transport of a bot.
#[derive(Debug)]
pub(crate) struct Session {
    config: SessionConfig,
    socket: UdpSocket,
    link: Option<Link>,
    /// What a peer sent before it was known: its checks may come before its answer does.
    early: Vec<(Vec<u8>, SocketAddr)>,
    pub(crate) keys: Option<Keys>,
    remote: Option<SocketAddr>,
    up: EmulatedLink,
    down: EmulatedLink,
    ufrag: IceParameters,
    /// Drops of this socket as last reported by the kernel.
    drops: u32,
    refused: u64,
    over: bool,
    told_over: bool,
    /// ICE and DTLS were given something by the control side: they may have something to send.
    stirred: bool,
}

impl Session {
    pub(crate) fn open(config: SessionConfig) -> std::io::Result<Self> {
        let options = UdpOptions {
            receive_buffer: config.receive_buffer,
            send_buffer: config.receive_buffer,
            gso: false,
            gro: config.gro,
            timestamps: true,
        };
        let socket = UdpSocket::bind(SocketAddr::new(config.bind, 0), &options)
            .map_err(std::io::Error::other)?;
        let mut random = Random::derive(config.seed, 0x1ce);
        let ufrag = IceParameters {
            username_fragment: random.text(8),
            password: random.text(24),
            ice_lite: false,
        };
        Ok(Self {
            config,
            socket,
            link: None,
            early: Vec::new(),
            keys: None,
            remote: None,
            up: EmulatedLink::new(LinkProfile::default()),
            down: EmulatedLink::new(LinkProfile::default()),
            ufrag,
            drops: 0,
            refused: 0,
            over: false,
            told_over: false,
            stirred: false,
        })
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    pub(crate) fn ice(&self) -> params::IceParameters {
        params::IceParameters {
            username_fragment: self.ufrag.username_fragment.clone(),
            password: self.ufrag.password.clone(),
            ice_lite: false,
        }
    }

    /// Starts ICE towards the server's UDP candidates, and DTLS as soon as there is a path.
    pub(crate) fn connect(&mut self, server: &ConnectParameters, now: &Now) -> Result<(), String> {
        self.stirred = true;
        let candidates = candidates(&server.ice_candidates)?;
        let fingerprints = fingerprints(&server.dtls_parameters.fingerprints)?;
        let remote = IceParameters {
            username_fragment: server.ice_parameters.username_fragment.clone(),
            password: server.ice_parameters.password.clone(),
            ice_lite: server.ice_parameters.ice_lite,
        };
        if let Some(link) = &mut self.link {
            // Other credentials on a live transport are an ICE restart; DTLS goes on.
            link.set_remote_ice(&remote, &candidates, now.instant);
            return Ok(());
        }
        let local = self
            .local_towards(&candidates[0])
            .map_err(|error| error.to_string())?;
        let mut link = Link::peer(
            self.config.certificate.clone(),
            self.ufrag.clone(),
            local,
            role(self.config.role),
            self.config.peer != Some(IceRole::Controlled),
            now.instant,
        );
        link.set_remote_ice(&remote, &candidates, now.instant);
        let theirs = role_of_server(self.config.role, server.dtls_parameters.role);
        link.connect(theirs, &fingerprints, now.instant)
            .map_err(|error| error.to_string())?;
        for (datagram, from) in self.early.drain(..) {
            let from = Destination {
                socket: SocketId::udp_for(&from),
                remote: from,
            };
            link.handle(classify(&datagram), &datagram, from, now.instant);
        }
        self.link = Some(link);
        Ok(())
    }

    pub(crate) fn impair(&mut self, up: LinkProfile, down: LinkProfile) {
        self.up.set_profile(self.seeded(up, 0));
        self.down.set_profile(self.seeded(down, 1));
    }

    /// ICE and DTLS are up and media may flow.
    pub(crate) fn is_ready(&self) -> bool {
        self.keys.is_some() && self.remote.is_some() && !self.over
    }

    /// The other side ended it, or it failed, since the last call of this.
    pub(crate) fn has_just_ended(&mut self) -> bool {
        self.over && !std::mem::replace(&mut self.told_over, true)
    }

    /// The handshake is under way: look at it more often.
    pub(crate) fn is_connecting(&self) -> bool {
        self.link.is_some() && self.keys.is_none() && !self.over
    }

    /// Receives what waits in the socket into `batch`.
    pub(crate) fn receive(&mut self, batch: &mut RecvBatch) -> usize {
        let count = batch.recv(&self.socket).unwrap_or(0);
        self.drops = batch.reported_drops().unwrap_or(self.drops);
        count
    }

    /// Whether datagrams from the socket go straight to [`Session::accept`].
    pub(crate) fn is_direct(&self) -> bool {
        self.down.is_perfect()
    }

    /// Puts a datagram from the socket on the emulated link.
    pub(crate) fn delay(&mut self, datagram: &[u8], from: SocketAddr, arrival_ns: u64) {
        self.down.push(datagram, from, arrival_ns);
    }

    /// Takes the next datagram that came through the emulated link.
    pub(crate) fn delayed(&mut self, now: &Now) -> Option<crate::impair::UnderWay> {
        self.down.pop(now.unix_ns)
    }

    pub(crate) fn recycle(&mut self, bytes: Vec<u8>) {
        self.down.recycle(bytes);
    }

    /// Handles STUN and DTLS; returns whether the datagram is media from the selected path.
    #[inline]
    pub(crate) fn accept(
        &mut self,
        class: Class,
        datagram: &[u8],
        from: SocketAddr,
        ctx: &mut Context<'_>,
    ) -> bool {
        match class {
            Class::Rtp | Class::Rtcp => self.remote == Some(from) && !self.over,
            Class::Stun | Class::Dtls => {
                if let Some(link) = &mut self.link {
                    let from = Destination {
                        socket: SocketId::udp_for(&from),
                        remote: from,
                    };
                    link.handle(class, datagram, from, ctx.now.instant);
                    self.drain_link(ctx);
                } else if self.config.peer.is_some() && self.early.len() < MAX_EARLY {
                    self.early.push((datagram.to_vec(), from));
                }
                false
            }
            Class::Unknown => false,
        }
    }

    /// Whether a datagram that was not accepted should not have come: the path is decided, and a server has no other.
    pub(crate) fn is_strange(&self, class: Class, from: SocketAddr) -> bool {
        self.config.peer.is_none()
            && self.is_ready()
            && match class {
                Class::Rtp | Class::Rtcp => self.remote != Some(from),
                Class::Stun | Class::Dtls => false,
                Class::Unknown => true,
            }
    }

    /// Does what is due: ICE and DTLS timers, datagrams that leave the emulated link.
    pub(crate) fn poll(&mut self, ctx: &mut Context<'_>) {
        if let Some(link) = &mut self.link {
            let timer = link.poll_timeout().is_some_and(|at| at <= ctx.now.instant);
            if timer {
                link.handle_timeout(ctx.now.instant);
            }
            // What comes of datagrams was taken out when they came.
            if std::mem::take(&mut self.stirred) || timer || self.keys.is_none() {
                self.drain_link(ctx);
            }
        }
        while let Some(leaving) = self.up.pop(ctx.now.unix_ns) {
            self.refused += u64::from(self.socket.send_to(&leaving.bytes, leaving.peer).is_err());
            self.up.recycle(leaving.bytes);
        }
    }

    /// Monotonic time of the next ICE or DTLS timer; `u64::MAX` if there is none.
    pub(crate) fn next_timer_ns(&self, now: &Now) -> u64 {
        let at = self.link.as_ref().and_then(Link::poll_timeout);
        at.map_or(u64::MAX, |at| {
            now.mono_ns + at.saturating_duration_since(now.instant).as_nanos() as u64
        })
    }

    /// When a datagram leaves or arrives through an emulated link, Unix nanoseconds.
    pub(crate) fn next_due_ns(&self) -> Option<u64> {
        match (self.up.next_due_ns(), self.down.next_due_ns()) {
            (Some(up), Some(down)) => Some(up.min(down)),
            (up, down) => up.or(down),
        }
    }

    /// Seals the compound in `out[..length]` and sends it. Nothing happens before the transport is ready.
    pub(crate) fn send_rtcp(&mut self, out: &mut [u8; DATAGRAM], length: usize) {
        let Some(keys) = &mut self.keys else { return };
        let length = keys.tx.protect_rtcp(out, length);
        self.send_media(&out[..length]);
    }

    /// Sends a sealed datagram to the selected path.
    #[inline]
    pub(crate) fn send_media(&mut self, datagram: &[u8]) {
        if let (Some(remote), false) = (self.remote, self.over || datagram.is_empty()) {
            self.put(datagram, remote);
        }
    }

    /// Sends close_notify; the socket closes when the session is dropped.
    pub(crate) fn close(&mut self, ctx: &mut Context<'_>) {
        if let Some(link) = &mut self.link {
            link.close(ctx.now.instant);
            self.drain_link(ctx);
        }
        self.over = true;
    }

    /// Datagrams dropped by the kernel, and datagrams it refused to send.
    pub(crate) fn drop_counts(&self) -> (u64, u64) {
        (u64::from(self.drops), self.refused)
    }

    /// The profile with a seed of its own for each direction and transport: one seed given for a bot must not drop
    /// the same datagrams everywhere.
    fn seeded(&self, profile: LinkProfile, direction: u64) -> LinkProfile {
        let given = if profile.seed == 0 {
            self.config.seed
        } else {
            profile.seed
        };
        let part = 0x11a0 | u64::from(self.config.which == Direction::Recv) << 1 | direction;
        LinkProfile {
            seed: Random::derive(given, part).next(),
            ..profile
        }
    }

    fn put(&mut self, datagram: &[u8], to: SocketAddr) {
        if self.up.is_perfect() {
            self.refused += u64::from(self.socket.send_to(datagram, to).is_err());
        } else {
            // Not the time the tick began: the stamp in the packet says when it left the bot.
            self.up.push(datagram, to, unix_ns());
        }
    }

    fn drain_link(&mut self, ctx: &mut Context<'_>) {
        let Some(mut link) = self.link.take() else {
            return;
        };
        let mut buffer = [0; DATAGRAM];
        loop {
            while let Some((length, to)) = link.poll_transmit(&mut buffer) {
                self.put(&buffer[..length], to.remote);
            }
            let Some(event) = link.poll_event() else {
                break;
            };
            self.on_event(event, ctx);
        }
        self.link = Some(link);
    }

    fn on_event(&mut self, event: LinkEvent, ctx: &mut Context<'_>) {
        let (bot, which) = (self.config.bot, self.config.which);
        match event {
            LinkEvent::Ice(state) => ctx.report(
                bot,
                EventKind::Ice {
                    which,
                    state: ice_name(state),
                },
            ),
            LinkEvent::Selected(destination) => self.remote = Some(destination.remote),
            LinkEvent::Keys(keys) => {
                self.keys = Some(Keys {
                    tx: SrtpTx::new(keys.profile, &keys.local),
                    rx: SrtpRx::new(keys.profile, &keys.remote),
                });
            }
            LinkEvent::Dtls(state) => {
                let srtp_profile = self
                    .keys
                    .as_ref()
                    .map(|keys| profile_name(keys.tx.profile()));
                ctx.report(
                    bot,
                    EventKind::Dtls {
                        which,
                        state: dtls_name(state),
                        srtp_profile,
                    },
                );
                if state == DtlsState::Closed && !self.over {
                    self.over = true;
                    ctx.report(
                        bot,
                        EventKind::Closed {
                            which,
                            reason: "the server closed DTLS".into(),
                        },
                    );
                }
            }
            LinkEvent::Failed(failure) => {
                self.over = true;
                ctx.report(
                    bot,
                    EventKind::Closed {
                        which,
                        reason: failure.to_string(),
                    },
                );
            }
            LinkEvent::IceRestarted => ctx.report(bot, EventKind::IceRestarted { which }),
            LinkEvent::CheckRefused(_) => {}
        }
    }

    /// The address ICE names as ours; for an unspecified one the route to the server decides, without a packet sent.
    fn local_towards(&self, candidate: &IceCandidate) -> std::io::Result<SocketAddr> {
        let bound = self.socket.local_addr();
        if !bound.ip().is_unspecified() {
            return Ok(bound);
        }
        let probe = StdSocket::bind(SocketAddr::new(bound.ip(), 0))?;
        probe.connect((candidate.address, candidate.port))?;
        Ok(SocketAddr::new(probe.local_addr()?.ip(), bound.port()))
    }
}

fn candidates(wire: &[params::IceCandidate]) -> Result<Vec<IceCandidate>, String> {
    let mut usable = Vec::new();
    for candidate in wire
        .iter()
        .filter(|candidate| candidate.protocol.eq_ignore_ascii_case("udp"))
    {
        let text = candidate.address.as_ref().or(candidate.ip.as_ref());
        let text = text.ok_or("iceCandidates: a candidate needs an address")?;
        let address = text
            .parse()
            .map_err(|_| format!("iceCandidates: {text} is no IP address"))?;
        usable.push(IceCandidate {
            foundation: candidate.foundation.clone(),
            priority: candidate.priority,
            address,
            port: candidate.port,
            protocol: IceProtocol::Udp,
            tcp_type: None,
        });
    }
    if usable.is_empty() {
        return Err("iceCandidates: bots need a UDP candidate".into());
    }
    Ok(usable)
}

fn fingerprints(wire: &[params::Fingerprint]) -> Result<Vec<Fingerprint>, String> {
    let known = |wire: &params::Fingerprint| {
        let algorithm = HashAlgorithm::from_name(&wire.algorithm)
            .ok_or_else(|| format!("dtlsParameters: hash {} is unknown", wire.algorithm))?;
        Ok(Fingerprint {
            algorithm,
            value: wire.value.clone(),
        })
    };
    wire.iter().map(known).collect()
}

fn role(name: DtlsRoleName) -> DtlsRole {
    match name {
        DtlsRoleName::Auto => DtlsRole::Auto,
        DtlsRoleName::Client => DtlsRole::Client,
        DtlsRoleName::Server => DtlsRole::Server,
    }
}

/// The server's role as it follows from ours: it publishes `auto` and takes the other role (RFC 8842 §5.1).
fn role_of_server(ours: DtlsRoleName, theirs: DtlsRoleName) -> DtlsRole {
    match (ours, theirs) {
        (DtlsRoleName::Client, DtlsRoleName::Auto) => DtlsRole::Server,
        (DtlsRoleName::Server | DtlsRoleName::Auto, DtlsRoleName::Auto) => DtlsRole::Client,
        (_, fixed) => role(fixed),
    }
}

fn ice_name(state: IceState) -> &'static str {
    match state {
        IceState::New => "new",
        IceState::Connected => "connected",
        IceState::Completed => "completed",
        IceState::Disconnected => "disconnected",
        IceState::Closed => "closed",
    }
}

fn dtls_name(state: DtlsState) -> &'static str {
    match state {
        DtlsState::New => "new",
        DtlsState::Connecting => "connecting",
        DtlsState::Connected => "connected",
        DtlsState::Failed => "failed",
        DtlsState::Closed => "closed",
    }
}

fn profile_name(profile: SrtpProfile) -> &'static str {
    match profile {
        SrtpProfile::AeadAes256Gcm => "AEAD_AES_256_GCM",
        SrtpProfile::AeadAes128Gcm => "AEAD_AES_128_GCM",
        SrtpProfile::Aes128CmSha1_80 => "AES_CM_128_HMAC_SHA1_80",
    }
}

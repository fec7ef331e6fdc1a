//! One bot: two transports towards a server or one towards a peer, a sending and a receiving half.
//!
//! # Job
//! Leads each datagram to the half it concerns and polls what is due. When to do so belongs to `runner`.
//!
//! # Invariants
//! - `due_ns` is never later than the next thing to do, so a bot with nothing due costs one comparison a tick.

use std::net::SocketAddr;

use meeshy_sfu_io::RecvBatch;
use meeshy_sfu_proto::net::{Class, classify};
use meeshy_sfu_proto::rtcp::packets;

use crate::config::{ConnectParameters, ConsumeRequest, Direction, EventKind, Kind, LinkProfile};
use crate::context::{Context, Now, shifted, unix_ns};
use crate::layout::{BotRow, ConsumerRow, SenderRow};
use crate::negotiation::{Incoming, Media};
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::session::Session;

/// One bot.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) bot: u16,
    /// None towards a peer: then `recv` carries both directions.
    pub(crate) send: Option<Session>,
    pub(crate) recv: Session,
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    /// Monotonic time of the next thing to do.
    pub(crate) due_ns: u64,
}

impl Peer {
    pub(crate) fn connect(
        &mut self,
        which: Direction,
        server: &ConnectParameters,
        ctx: &mut Context<'_>,
    ) {
        let result = self.session(which).connect(server, &ctx.now);
        if let Err(message) = result {
            ctx.report(self.bot, EventKind::Error { message });
        }
        self.due_ns = 0;
    }

    pub(crate) fn start(&mut self, media: Media, ctx: &mut Context<'_>) {
        self.sender.start(media, ctx.clip, &ctx.now);
        self.due_ns = 0;
    }

    pub(crate) fn stop(&mut self, kind: Kind) {
        self.sender.stop(kind);
    }

    pub(crate) fn consume(&mut self, consumers: &[ConsumeRequest], ctx: &mut Context<'_>) {
        for request in consumers {
            match Incoming::from_request(request) {
                Ok(incoming) => self.receiver.add(incoming, &ctx.now),
                Err(reason) => {
                    let message = format!("consumer {}: {reason}", request.tag);
                    ctx.report(self.bot, EventKind::Error { message });
                }
            }
        }
        self.due_ns = 0;
    }

    pub(crate) fn impair(&mut self, up: LinkProfile, down: LinkProfile) {
        if let Some(send) = &mut self.send {
            send.impair(up, down);
        }
        self.recv.impair(up, down);
        self.due_ns = 0;
    }

    pub(crate) fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.send.iter().chain([&self.recv])
    }

    /// Drains the socket of one transport, which is looked at every `period_ns`.
    pub(crate) fn drain(
        &mut self,
        which: Direction,
        period_ns: u64,
        batch: &mut RecvBatch,
        ctx: &mut Context<'_>,
    ) {
        if which == Direction::Send && self.send.is_none() {
            return;
        }
        loop {
            let count = self.session(which).receive(batch);
            if count > 0 {
                // The first has waited longest.
                let waited_ns = batch.message(0).received.map_or(0, |time| {
                    unix_ns().saturating_sub(shifted(time.as_nanos() as u64))
                });
                ctx.lag
                    .add(waited_ns.saturating_sub(period_ns), ctx.now.mono_ns);
            }
            for at in 0..count {
                let message = batch.message(at);
                let from = message.remote;
                let arrival_ns = message
                    .received
                    .map_or(ctx.now.unix_ns, |time| shifted(time.as_nanos() as u64));
                let direct = self.session(which).is_direct();
                if direct && which == Direction::Recv && message.data.len() > message.segment {
                    self.receiver.anticipate(message.data, message.segment);
                }
                for datagram in message.segments() {
                    ctx.health.datagrams += 1;
                    if direct {
                        self.take(which, datagram, from, arrival_ns, ctx);
                    } else {
                        self.session(which).delay(datagram, from, arrival_ns);
                    }
                }
            }
            if count > 0 {
                self.due_ns = self.due_ns.min(self.receiver.next_due_ns());
            }
            if count < batch.capacity() {
                return;
            }
        }
    }

    /// Does all that is due at this moment, and finds out when to come back.
    pub(crate) fn poll(&mut self, ctx: &mut Context<'_>) {
        for which in [Direction::Send, Direction::Recv] {
            // Towards a peer the first look takes all there is.
            while let Some(mut arrived) = self.session(which).delayed(&ctx.now) {
                let which = if self.send.is_none() {
                    Direction::Recv
                } else {
                    which
                };
                self.take(which, &mut arrived.bytes, arrived.peer, arrived.due_ns, ctx);
                self.session(which).recycle(arrived.bytes);
            }
        }
        self.sender
            .poll(self.send.as_mut().unwrap_or(&mut self.recv), ctx);
        self.receiver.poll(&mut self.recv, ctx);
        if let Some(send) = &mut self.send {
            send.poll(ctx);
        }
        self.recv.poll(ctx);
        if self.recv.has_just_ended() {
            self.receiver.retire();
        }
        let mut due_ns = u64::MAX;
        if self.send.as_ref().unwrap_or(&self.recv).is_ready() {
            due_ns = due_ns.min(self.sender.next_due_ns());
        }
        if self.recv.is_ready() {
            due_ns = due_ns.min(self.receiver.next_due_ns());
        }
        for session in self.send.iter().chain([&self.recv]) {
            due_ns = due_ns.min(session.next_timer_ns(&ctx.now));
            if let Some(at_ns) = session.next_due_ns() {
                due_ns = due_ns.min(ctx.now.mono_ns + at_ns.saturating_sub(ctx.now.unix_ns));
            }
        }
        self.due_ns = due_ns;
    }

    /// Sends BYE and close_notify on both transports. The sockets close when the value is dropped.
    pub(crate) fn close(&mut self, ctx: &mut Context<'_>) {
        self.sender
            .send_bye(self.send.as_mut().unwrap_or(&mut self.recv), ctx);
        self.receiver.remove_all(ctx);
        if let Some(send) = &mut self.send {
            send.close(ctx);
        }
        self.recv.close(ctx);
    }

    pub(crate) fn is_connecting(&self) -> bool {
        self.sessions().any(Session::is_connecting)
    }

    /// Rows that [`Peer::rows`] returns.
    pub(crate) fn stream_count(&self) -> usize {
        self.receiver.stream_count()
    }

    pub(crate) fn rows(&self, ctx: &Context<'_>) -> impl Iterator<Item = ConsumerRow> + '_ {
        self.receiver.rows(&ctx.now)
    }

    /// What cannot be told stream by stream.
    pub(crate) fn bot_row(&self, now: &Now) -> BotRow {
        let mut row = self.receiver.bot_row(now);
        if self.send.as_ref().unwrap_or(&self.recv).is_ready() {
            (row.receiver_report_wait_ms, row.feedback_wait_ms) = self.sender.waits_ms(now);
        }
        row
    }

    pub(crate) fn sender_rows(&self) -> impl Iterator<Item = SenderRow> + '_ {
        self.sender.rows()
    }

    /// Takes one datagram that has come through the emulated link.
    #[inline]
    fn take(
        &mut self,
        which: Direction,
        datagram: &mut [u8],
        from: SocketAddr,
        arrival_ns: u64,
        ctx: &mut Context<'_>,
    ) {
        let class = classify(datagram);
        if !self.session(which).accept(class, datagram, from, ctx) {
            self.receiver.unexpected.malformed +=
                u64::from(self.session(which).is_strange(class, from));
            self.due_ns = 0;
            return;
        }
        match (class, which) {
            (Class::Rtp, Direction::Recv) => {
                if let Some(keys) = &self.recv.keys {
                    self.receiver.on_rtp(keys, datagram, arrival_ns, ctx);
                }
            }
            (Class::Rtcp, _) => self.on_rtcp(which, datagram, ctx),
            _ => {
                ctx.health.unknown_ssrc += 1;
                self.receiver.unexpected.malformed += 1;
            }
        }
    }

    fn on_rtcp(&mut self, which: Direction, datagram: &mut [u8], ctx: &mut Context<'_>) {
        let Some(keys) = &mut self.session(which).keys else {
            return;
        };
        let Ok(length) = keys.rx.unprotect_rtcp(datagram) else {
            ctx.health.auth_failures += 1;
            self.receiver.unexpected.unauthentic += 1;
            return;
        };
        for packet in packets(&datagram[..length]).map_while(Result::ok) {
            match (which, &mut self.send) {
                (Direction::Send, Some(send)) => self.sender.on_rtcp(&packet, send, ctx),
                (Direction::Recv, Some(_)) => self.receiver.on_rtcp(&packet, ctx),
                (_, None) => {
                    self.sender.on_rtcp(&packet, &mut self.recv, ctx);
                    self.receiver.on_rtcp(&packet, ctx);
                }
            }
        }
    }

    #[inline]
    fn session(&mut self, which: Direction) -> &mut Session {
        match (which, &mut self.send) {
            (Direction::Send, Some(send)) => send,
            _ => &mut self.recv,
        }
    }
}

//! A call in virtual time that shows what receivers see: a simulcast sender, the real router with SRTP, links that
//! lose and delay, and receivers with a model decoder.
//!
//! Sans-I/O and seeded: one queue of events in order of time; the router's timers run at their moments. A second of a
//! call takes a few milliseconds.
#![allow(dead_code, clippy::unwrap_used, unreachable_pub)]

pub mod camera;
pub mod decoder;
pub mod encoder;
pub mod link;
pub mod viewer;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use meeshy_sfu_proto::net::{Class, Destination, classify};
use meeshy_sfu_proto::router::{Codec, Layers, ProducerKey};
use meeshy_sfu_proto::rtp::ExtensionUri;

use crate::router_call::{Call, simulcast, video_consumer};
use camera::Camera;
use link::{Link, Path};
use viewer::Viewer;

/// Microseconds since the call began.
pub type Micros = u64;
/// Between two captures: 30 pictures a second.
pub const PICTURE: Micros = 33_333;
pub const TICKS_PER_PICTURE: u32 = 3000;
pub const MS: Micros = 1000;
pub const SECOND: Micros = 1_000_000;
/// kbit/s of the encodings.
pub const LADDER: [u64; 3] = [150, 400, 1200];
const TICK: Micros = 10 * MS;
const SENDER: usize = usize::MAX;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Capture,
    Reports,
    /// Feedback of a viewer.
    Tick(usize),
    /// A datagram leaves the sender.
    Leave(Vec<u8>),
    /// A datagram reaches the router.
    Arrive(usize, Vec<u8>),
    /// A datagram of the router reaches a peer.
    Deliver(usize, Vec<u8>),
}

/// One sender, its viewers, and all that is under way.
pub struct Stage {
    pub call: Call,
    pub camera: Camera,
    pub viewers: Vec<Viewer>,
    pub producer: ProducerKey,
    /// From the sender to the router, and back.
    pub uplink: (Link, Link),
    codec: Codec,
    seed: u64,
    events: BinaryHeap<Reverse<(Micros, u64, Event)>>,
    order: u64,
    now: Micros,
}

impl Stage {
    pub fn new(codec: Codec, seed: u64, viewers: usize, path: Path) -> Self {
        let mut call = Call::new();
        let sender = call.peer();
        let mut config = simulcast(LADDER.len());
        config.codecs[0].codec = Some(codec);
        config
            .header_extensions
            .push((ExtensionUri::RepairedRid, 11));
        let producer = call.produce(&sender, config);
        let mut stage = Self {
            call,
            camera: Camera::new(sender, codec, &LADDER, seed),
            viewers: Vec::new(),
            producer,
            uplink: (
                Link::new(Path::CLEAN, seed ^ 1),
                Link::new(Path::CLEAN, seed ^ 2),
            ),
            codec,
            seed,
            events: BinaryHeap::new(),
            order: 0,
            now: 0,
        };
        stage.at(0, Event::Capture);
        stage.at(SECOND / 2, Event::Reports);
        for _ in 0..viewers {
            stage.join(path);
        }
        stage
    }

    /// Adds a viewer.
    pub fn join(&mut self, path: Path) {
        let peer = self.call.peer();
        let config = video_consumer(viewer::SSRC, "0");
        let consumer = self.call.consume(&peer, self.producer, config);
        let who = self.viewers.len();
        let seed = self.seed ^ (who as u64 + 1) << 8;
        self.viewers.push(Viewer::new(
            peer,
            consumer,
            self.codec,
            Link::new(path, seed),
            Link::new(path, seed ^ 1),
        ));
        self.at(self.now + TICK, Event::Tick(who));
    }

    pub fn now(&self) -> Micros {
        self.now
    }

    pub fn viewer(&self) -> &Viewer {
        &self.viewers[0]
    }

    /// Stops an encoding with a BYE.
    pub fn stop_with_bye(&mut self, encoding: usize) {
        self.camera.set_on(encoding, false);
        let datagram = self.camera.bye(encoding);
        // Behind the packets that are on their way.
        self.at(self.now + 40 * MS, Event::Leave(datagram));
    }

    /// Sets the preferred layer of a viewer.
    pub fn prefer(&mut self, who: usize, spatial: u8) {
        let layers = Layers {
            spatial,
            temporal: None,
        };
        let (consumer, now) = (self.viewers[who].consumer, self.call.now);
        let router = &mut self.call.router;
        router
            .set_preferred_layers(consumer, Some(layers), now)
            .unwrap();
    }

    /// Turns all encodings on, one after the other as bandwidth grows, and lets the call settle.
    pub fn ramp(&mut self) {
        self.run(SECOND);
        self.camera.set_on(1, true);
        self.run(SECOND);
        self.camera.set_on(2, true);
        self.run(SECOND);
    }

    fn at(&mut self, when: Micros, event: Event) {
        self.order += 1;
        self.events.push(Reverse((when, self.order, event)));
    }

    /// Lets this much time pass.
    pub fn run(&mut self, time: Micros) {
        let end = self.now + time;
        let start = self.call.start;
        loop {
            let event = self.events.peek().map(|Reverse((at, ..))| *at);
            let timer = self.call.router.poll_timeout();
            let timer = timer.map(|due| (due - start).as_micros() as Micros);
            let next = match (event, timer) {
                (Some(event), Some(timer)) => event.min(timer.max(self.now)),
                (Some(event), None) => event,
                (None, timer) => timer.unwrap_or(end),
            };
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            self.call.now = start + Duration::from_micros(self.now);
            if event.is_some_and(|at| at <= self.now) {
                let Reverse((_, _, event)) = self.events.pop().unwrap();
                self.handle(event);
            } else {
                let now = self.call.now;
                self.call.router.handle_timeout(now, &mut self.call.sent);
            }
            self.collect();
        }
        self.now = end;
        self.call.now = start + Duration::from_micros(end);
    }

    fn handle(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Capture => {
                for (at, datagram) in self.camera.capture(now) {
                    self.at(at, Event::Leave(datagram));
                }
                self.at(now + PICTURE, Event::Capture);
            }
            Event::Reports => {
                for datagram in self.camera.reports(now) {
                    self.at(now, Event::Leave(datagram));
                }
                self.at(now + SECOND, Event::Reports);
            }
            Event::Tick(who) => {
                let viewer = &mut self.viewers[who];
                for datagram in viewer.tick(now) {
                    if let Some(at) = self.viewers[who].up.send(datagram.len(), now) {
                        self.at(at, Event::Arrive(who, datagram));
                    }
                }
                self.at(now + TICK, Event::Tick(who));
            }
            // A BYE is not lost: what its loss costs is that of an encoding that stops without one.
            Event::Leave(datagram) if classify(&datagram) == Class::Rtcp => {
                let delay = self.uplink.0.path.delay;
                self.at(now + delay, Event::Arrive(SENDER, datagram));
            }
            Event::Leave(datagram) => {
                if let Some(at) = self.uplink.0.send(datagram.len(), now) {
                    self.at(at, Event::Arrive(SENDER, datagram));
                }
            }
            Event::Arrive(who, datagram) => {
                let viewer = self.viewers.get(who).map(|viewer| &viewer.peer);
                let peer = viewer.unwrap_or(&self.camera.peer);
                self.call.deliver(peer, &datagram);
                self.call.flush();
                while self.call.router.poll_event().is_some() {}
            }
            Event::Deliver(SENDER, datagram) => {
                for datagram in self.camera.feedback(&datagram, now) {
                    self.at(now, Event::Leave(datagram));
                }
            }
            Event::Deliver(who, datagram) => match classify(&datagram) {
                Class::Rtp => self.viewers[who].take_rtp(&datagram, now),
                _ => self.viewers[who].take_rtcp(&datagram, now),
            },
        }
    }

    /// Puts what the router sent on its way.
    fn collect(&mut self) {
        for (to, datagram) in std::mem::take(&mut self.call.sent.datagrams) {
            let now = self.now;
            let (who, link) = self.link_to(&to);
            if let Some(at) = link.send(datagram.len(), now) {
                self.at(at, Event::Deliver(who, datagram));
            }
        }
        self.call.sent.trains.clear();
        self.call.sent.marks.clear();
    }

    fn link_to(&mut self, to: &Destination) -> (usize, &mut Link) {
        if *to == self.camera.peer.address {
            return (SENDER, &mut self.uplink.1);
        }
        let mut viewers = self.viewers.iter_mut().enumerate();
        let found = viewers.find(|(_, viewer)| viewer.peer.address == *to);
        let (who, viewer) = found.expect("a datagram to a peer");
        (who, &mut viewer.down)
    }
}

//! Simulcast through a worker over real sockets: a receiver chooses its layer, is notified, and gets other media.
#![allow(clippy::unwrap_used)]

mod rig;

use meeshy_sfu_worker::Event;
use meeshy_sfu_worker::command::*;
use rig::peer::Peer;
use rig::{Rig, VIDEO_PT, Way, consume, consume_one, number_of, produce, vp8};
use serde_json::Value;
use str0m::media::MediaKind as PeerKind;

const ENCODINGS: [u32; 3] = [1110, 1120, 1130];
const OUT: u32 = 71_110;
const ROUTER: RouterId = RouterId(1);
const CONSUMER: ConsumerId = ConsumerId(1);
/// Numbers of packets tell their encodings by this.
const PER_ENCODING: u32 = 1_000_000;

/// A publisher of three encodings and one subscriber.
struct Call {
    rig: Rig,
    publisher: Peer,
    subscriber: Peer,
    sent: u32,
    /// Key frame requests that were obeyed.
    obeyed: usize,
}

impl Call {
    fn new() -> Call {
        let mut rig = Rig::new(|_| {});
        rig.create_router(1);
        let mut publisher = rig.join(1, 1, Way::UDP);
        let mut subscriber = rig.join(1, 2, Way::UDP);
        for (position, ssrc) in ENCODINGS.iter().enumerate() {
            publisher.sends(&format!("v{position}"), PeerKind::Video, *ssrc);
        }
        subscriber.receives("v", PeerKind::Video, OUT);
        rig.connect(&mut [&mut publisher, &mut subscriber]);
        let mut producer = produce(1, 1, 1, MediaKind::Video, ENCODINGS[0]);
        producer.encodings = (ENCODINGS.iter())
            .map(|ssrc| Encoding {
                ssrc: Some(*ssrc),
                rid: None,
                rtx_ssrc: Some(ssrc + 1),
                mapped_ssrc: ssrc + 100_000,
            })
            .collect();
        producer.mid = None;
        rig.tell(Command::Produce(producer));
        let one = consume_one(1, 1, MediaKind::Video, OUT);
        let results: ConsumeResults = rig.ask(consume(1, 2, vec![one]));
        assert!(results.results[0].ok, "{results:?}");
        Call {
            rig,
            publisher,
            subscriber,
            sent: 0,
            obeyed: 0,
        }
    }

    fn prefer(&mut self, spatial_layer: u8) {
        self.rig.tell(Command::SetPreferredLayers {
            router: ROUTER,
            consumer: CONSUMER,
            layers: Some(Layers {
                spatial_layer,
                temporal_layer: None,
            }),
        });
    }

    /// Sends a packet of each of the first `live` encodings, and passes on what is due. Requests for key frames are obeyed.
    fn step(&mut self, live: usize) {
        let key = self.sent == 0 || self.publisher.key_frame_requests > self.obeyed;
        self.obeyed = self.publisher.key_frame_requests;
        for (position, ssrc) in ENCODINGS.iter().enumerate().take(live) {
            let number = position as u32 * PER_ENCODING + self.sent;
            let payload = vp8(number, key);
            self.publisher
                .write(*ssrc, VIDEO_PT, u64::from(self.sent), payload);
        }
        self.sent += 1;
        std::thread::sleep(std::time::Duration::from_millis(5));
        let mut peers = [&mut self.publisher, &mut self.subscriber];
        self.rig.until(&mut peers, "a step", |_, _| true);
    }

    /// Encodings of the packets received since, in the order of arrival, repetitions taken out.
    fn take_received(&mut self) -> Vec<u32> {
        let mut all: Vec<u32> = (self.subscriber.received.drain(..))
            .map(|packet| number_of(&packet.payload) / PER_ENCODING)
            .collect();
        all.dedup();
        all
    }

    fn last_layers(&self) -> Option<Option<u8>> {
        let of = |e: &Event| match e {
            Event::LayersChanged { layers, .. } => Some(layers.map(|l| l.spatial_layer)),
            _ => None,
        };
        self.rig.events.iter().rev().find_map(of)
    }

    fn dumped_layer(&mut self) -> Value {
        let dump: Value = self.rig.ask(Command::Dump { router: ROUTER });
        dump["consumers"][0]["stats"]["current_layers"]["spatial_layer"].clone()
    }

    /// Sends until the layer was reported, then on for a while; returns the encodings received after the report.
    fn settle_on(&mut self, layer: u8, live: usize) -> Vec<u32> {
        for _ in 0..1000 {
            self.step(live);
            if self.last_layers() == Some(Some(layer)) {
                self.take_received();
                for _ in 0..20 {
                    self.step(live);
                }
                return self.take_received();
            }
        }
        panic!(
            "layer {layer} was not reported; events: {:?}",
            self.rig.events
        );
    }
}

#[test]
fn a_receiver_gets_the_layer_it_prefers_and_is_notified_of_each_switch() {
    let mut call = Call::new();
    assert_eq!(call.settle_on(2, 3), [2], "the highest without a wish");
    assert_eq!(call.dumped_layer(), 2);
    call.prefer(0);
    assert_eq!(call.settle_on(0, 3), [0]);
    assert_eq!(call.dumped_layer(), 0);
    call.prefer(2);
    assert_eq!(call.settle_on(2, 3), [2]);
    call.prefer(1);
    assert_eq!(call.settle_on(1, 3), [1]);
    call.prefer(200);
    assert_eq!(call.settle_on(2, 3), [2], "the highest there is");
}

#[test]
fn a_layer_that_falls_silent_gives_way_to_the_next_one_below() {
    let mut call = Call::new();
    assert_eq!(call.settle_on(2, 3), [2]);
    assert_eq!(call.settle_on(1, 2), [1]);
    assert_eq!(call.settle_on(2, 3), [2], "and comes back");
}

#[test]
fn a_paused_receiver_has_no_layer() {
    let mut call = Call::new();
    assert_eq!(call.settle_on(2, 3), [2]);
    call.rig.tell(Command::PauseConsumers {
        router: ROUTER,
        consumers: vec![CONSUMER],
    });
    for _ in 0..5 {
        call.step(3);
    }
    assert_eq!(call.last_layers(), Some(None));
    assert_eq!(call.dumped_layer(), Value::Null);
    call.rig.tell(Command::ResumeConsumers {
        router: ROUTER,
        consumers: vec![CONSUMER],
    });
    assert_eq!(call.settle_on(2, 3), [2]);
}

#[test]
fn the_bitrate_of_each_layer_is_measured() {
    let mut call = Call::new();
    let began = std::time::Instant::now();
    let mut packets_per_s = 1.0;
    while began.elapsed() < std::time::Duration::from_millis(2500) {
        let live = if call.sent.is_multiple_of(4) { 3 } else { 1 };
        call.step(live);
        packets_per_s = f64::from(call.sent) / began.elapsed().as_secs_f64();
    }
    let dump: Value = call.rig.ask(Command::Dump { router: ROUTER });
    let by_layer = &dump["producers"][0]["stats"]["bitrate_by_layer"];
    let bps: Vec<f64> = ["0", "1", "2"]
        .map(|layer| by_layer[layer].as_f64().unwrap())
        .into();
    // packets of 700 bytes
    let expected = packets_per_s * 700.0 * 8.0;
    assert!(
        (0.7..1.4).contains(&(bps[0] / expected)),
        "{bps:?} of {expected}"
    );
    for layer in [1, 2] {
        assert!((0.15..0.35).contains(&(bps[layer] / bps[0])), "{bps:?}");
    }
}

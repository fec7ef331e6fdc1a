//! Simulcast through a worker over real sockets.
#![allow(clippy::unwrap_used)]

mod rig;

use meeshy_sfu_worker::command::*;
use rig::peer::Peer;
use rig::{Rig, VIDEO_PT, Way, consume, consume_one, produce, vp8};
use serde_json::Value;
use str0m::media::MediaKind as PeerKind;

const ENCODINGS: [u32; 3] = [1110, 1120, 1130];
const OUT: u32 = 71_110;
const ROUTER: RouterId = RouterId(1);
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

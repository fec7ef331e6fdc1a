//! What comes goes again. Alone in its process, for it counts the descriptors of all.
#![allow(clippy::unwrap_used)]

mod rig;

use meeshy_sfu_worker::command::*;
use rig::{Rig, Way, consume, consume_one, descriptors, produce};

#[test]
fn a_thousand_joins_and_leaves_leave_nothing() {
    let mut rig = Rig::new(|_| {});
    rig.create_router(1);
    let mut settled = None;
    for round in 0..1000u64 {
        let id = round + 10;
        rig.create_transport(1, id);
        rig.tell(Command::Produce(produce(1, id, id, MediaKind::Audio, 5)));
        rig.ask::<ConsumeResults>(consume(
            1,
            id,
            vec![consume_one(id, id, MediaKind::Audio, 6)],
        ));
        if round % 100 == 0 {
            let way = if round % 200 == 0 { Way::UDP } else { Way::TCP };
            let mut peer = rig.join(1, id + 100_000, way);
            rig.connect(&mut [&mut peer]);
            let transport = TransportId(id + 100_000);
            rig.tell(Command::CloseTransport {
                router: RouterId(1),
                transport,
            });
        }
        if round % 3 == 0 {
            rig.tell(Command::CloseRouter {
                router: RouterId(1),
            });
            rig.create_router(1);
        } else {
            let (router, transport) = (RouterId(1), TransportId(id));
            rig.tell(Command::CloseTransport { router, transport });
        }
        rig.events.clear();
        let stats = rig.stats();
        let left = (
            stats.routers,
            stats.transports,
            stats.producers,
            stats.consumers,
            stats.remotes,
            stats.tcp_connections,
            stats.rings_bytes,
        );
        assert_eq!(left, (1, 0, 0, 0, 0, 0, 0));
        assert_eq!(*settled.get_or_insert_with(descriptors), descriptors());
    }
}

//! What a round costs when most calls have nothing to do, and how much of it a storm gets: counted, not timed.

use meeshy_sfu_proto::link::SrtpKeys;
use meeshy_sfu_proto::router::{ProducerConfig, Router, RouterConfig};
use meeshy_sfu_proto::srtp::{MasterKey, SrtpProfile};

use super::*;
use crate::call::Call;
use crate::command::{Command, Request, RouterId};
use crate::harness::{self, Harness};
use crate::share::SHARE;

pub(crate) fn worker() -> Loop {
    Harness::new(harness::config().unwrap()).unwrap().inner
}

/// A call of one participant with path, keys and a microphone.
fn call(id: u64, now: Instant) -> Call {
    let mut router = Router::new(RouterConfig::new((now, Duration::from_secs(1)), id));
    let profile = SrtpProfile::AeadAes128Gcm;
    let key = MasterKey {
        key: vec![1; profile.key_len()],
        salt: vec![2; profile.salt_len()],
    };
    let keys = SrtpKeys {
        profile,
        local: key.clone(),
        remote: key,
    };
    let destination = Destination {
        socket: SocketId::UDP_V4,
        remote: ([127, 0, 0, 1], 9).into(),
    };
    let config = harness::preset_transport(keys, destination, false);
    let transport = router.create_transport(config, now);
    let microphone = ProducerConfig {
        header_extensions: Vec::new(),
        ..harness::producer(false, 1000)
    };
    router.produce(transport, microphone, now).unwrap();
    Call::new(RouterId(id), router)
}

/// Entries of the heap compared per round in which one of `calls` calls is dirty.
fn looks_per_round(calls: u64) -> u64 {
    let mut worker = worker();
    let core = &mut worker.core;
    let now = Instant::now();
    for id in 0..calls {
        assert!(core.calls.insert(call(id, now)));
        core.mark_dirty(id as u32);
    }
    core.flush(now);
    core.timers(now, Share::new(|| now));
    core.flush(now);
    assert_eq!(
        core.calls.timers.len() as u64,
        calls,
        "all wait for something"
    );
    let (before, ran) = (core.calls.timers.looked_at(), core.totals.timers_run);
    for _ in 0..1000 {
        core.mark_dirty(0);
        core.timers(now, Share::new(|| now));
        assert_eq!(core.dirty, [0]);
        core.flush(now);
    }
    assert_eq!(core.totals.timers_run, ran, "nothing was due");
    (core.calls.timers.looked_at() - before) / 1000
}

#[test]
fn the_cost_of_a_round_does_not_grow_with_the_calls_that_are_idle() {
    let (one, many) = (looks_per_round(1), looks_per_round(3000));
    assert!(
        many <= one + 36,
        "{one} looks with 1 call, {many} with 3,000"
    );
}

#[test]
fn silent_rooms_do_not_wake_the_worker() {
    let mut worker = worker();
    let core = &mut worker.core;
    let start = Instant::now();
    for id in 0..1000 {
        assert!(core.calls.insert(call(id, start)));
        core.mark_dirty(id as u32);
    }
    core.flush(start);
    // A minute in which the worker wakes exactly when a timer is due.
    let (mut now, mut wakes) = (start, 0);
    while let Some(due) = core.calls.timers.first()
        && due < start + Duration::from_secs(60)
    {
        now = now.max(due);
        core.timers(now, Share::new(|| now));
        core.flush(now);
        wakes += 1;
    }
    // What began with the rooms ends within the first seconds.
    assert!(wakes < 50 * 60, "{wakes} wake-ups in a minute");
    assert!(
        now < start + Duration::from_secs(5),
        "the last after {:?}",
        now - start
    );
}

#[test]
fn a_storm_of_commands_takes_at_most_its_share_of_a_round() {
    let mut worker = worker();
    let core = &mut worker.core;
    let now = Instant::now();
    let storm = 100;
    for id in 0..storm {
        let command = Command::CreateRouter {
            router: RouterId(id),
        };
        core.queues.request(Request { id, command }).unwrap();
    }
    let step = Duration::from_micros(100);
    let most = SHARE.as_micros() as u64 / step.as_micros() as u64;
    let (mut clock, mut rounds) = (now, 0);
    loop {
        let before = core.totals.requests;
        core.carry_out(
            now,
            Share::new(|| {
                clock += step;
                clock
            }),
        );
        let done = core.totals.requests - before;
        assert!(done <= most, "{done} requests in one round");
        if core.totals.requests == storm {
            break;
        }
        rounds += 1;
        assert_eq!(done, most);
        // The bell still rings: the next round begins at once.
        assert!(bell_rings(core));
    }
    assert_eq!(rounds, storm / most - 1);
    core.carry_out(now, Share::new(|| now));
    assert!(!bell_rings(core));
    assert_eq!(core.calls.positions().len() as u64, storm);
}

fn bell_rings(core: &mut Core) -> bool {
    let ready = core.poller.wait(Some(Duration::ZERO)).unwrap();
    ready.into_iter().any(|event| event.token == BELL)
}

#[test]
fn timers_that_come_due_together_share_rounds_with_packets() {
    let mut worker = worker();
    let core = &mut worker.core;
    let start = Instant::now();
    for id in 0..100 {
        assert!(core.calls.insert(call(id, start)));
        core.mark_dirty(id as u32);
    }
    core.flush(start);
    let now = start + Duration::from_secs(10);
    let mut clock = now;
    let mut step = || {
        clock += Duration::from_micros(100);
        clock
    };
    core.timers(now, Share::new(&mut step));
    assert_eq!(core.totals.timers_run, 10);
    core.flush(now);
    assert!(core.calls.timers.first().is_some_and(|due| due <= now));
    while core.calls.timers.first().is_some_and(|due| due <= now) {
        core.timers(now, Share::new(&mut step));
        core.flush(now);
    }
    assert!(core.totals.timers_run >= 100);
}

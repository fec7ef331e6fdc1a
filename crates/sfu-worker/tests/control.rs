//! The control side of a worker: answers, errors, deaths, leaks.
#![allow(clippy::unwrap_used)]

mod rig;

use std::time::{Duration, Instant};

use meeshy_sfu_worker::command::*;
use meeshy_sfu_worker::{Event, FaultLog, RequestError, StartError, Worker, WorkerConfig};
use rig::{Rig, Way, consume, consume_one, produce};
use serde_json::Value;
use str0m::media::MediaKind as PeerKind;

fn code(rig: &mut Rig, command: Command) -> ErrorCode {
    let error = rig.try_ask::<Value>(command).unwrap_err();
    assert!(!error.message.is_empty());
    error.code
}

#[test]
fn the_first_event_says_what_clients_are_offered() {
    let mut rig = Rig::new(|c| c.announced = Some("192.0.2.9".into()));
    rig.stats();
    let Some(Event::Ready {
        pid,
        port,
        candidates,
        ..
    }) = rig.events.first()
    else {
        panic!("{:?}", rig.events)
    };
    assert_eq!(*pid, std::process::id());
    assert_eq!(*port, rig.worker.port());
    assert_eq!(candidates.len(), 2);
    assert!(
        candidates
            .iter()
            .all(|c| c.address == "192.0.2.9" && c.port == *port)
    );
}

#[test]
fn handles_that_name_nothing_are_answered_with_errors() {
    let mut rig = Rig::new(|_| {});
    let (router, transport) = (RouterId(9), TransportId(9));
    let (producer, consumers) = (ProducerId(9), vec![ConsumerId(9)]);
    rig.create_router(1);
    for router in [router, RouterId(1)] {
        let unknown_router = router == RouterId(9);
        let commands = [
            Command::ConnectTransport {
                router,
                transport,
                role: DtlsRole::Auto,
                fingerprints: vec![],
            },
            Command::RestartIce { router, transport },
            Command::SetMaxIncomingBitrate {
                router,
                transport,
                bps: None,
            },
            Command::CloseTransport { router, transport },
            Command::Produce(produce(router.0, 9, 9, MediaKind::Audio, 1)),
            Command::PauseProducer { router, producer },
            Command::ResumeProducer { router, producer },
            Command::CloseProducer { router, producer },
            consume(router.0, 9, vec![]),
            Command::SetPreferredLayers {
                router,
                consumer: ConsumerId(9),
                layers: None,
            },
            Command::Panic {
                transport: Some((router, transport)),
            },
        ];
        for command in commands {
            assert_eq!(code(&mut rig, command), ErrorCode::NotFound);
        }
        let lists = [
            Command::PauseConsumers {
                router,
                consumers: consumers.clone(),
            },
            Command::ResumeConsumers {
                router,
                consumers: consumers.clone(),
            },
            Command::CloseConsumers {
                router,
                consumers: consumers.clone(),
            },
            Command::RequestKeyFrame {
                router,
                consumers: consumers.clone(),
            },
        ];
        for command in lists {
            match rig.try_ask::<Touched>(command) {
                Ok(touched) => assert_eq!(touched.missing, consumers),
                Err(error) => {
                    assert!(unknown_router);
                    assert_eq!(error.code, ErrorCode::NotFound);
                }
            }
        }
    }
    assert_eq!(
        code(&mut rig, Command::Dump { router }),
        ErrorCode::NotFound
    );
    assert_eq!(
        code(&mut rig, Command::CloseRouter { router }),
        ErrorCode::NotFound
    );
}

#[test]
fn taken_handles_and_wrong_moments_are_refused() {
    let mut rig = Rig::new(|_| {});
    rig.create_router(1);
    let taken = Command::CreateRouter {
        router: RouterId(1),
    };
    assert_eq!(code(&mut rig, taken), ErrorCode::AlreadyExists);
    let peer = rig.join(1, 1, Way::UDP);
    let transport = |tcp, udp, id| {
        Command::CreateTransport(CreateTransport {
            router: RouterId(1),
            transport: TransportId(id),
            tcp,
            udp,
            max_incoming_bps: None,
            padding: false,
        })
    };
    assert_eq!(
        code(&mut rig, transport(true, true, 1)),
        ErrorCode::AlreadyExists
    );
    assert_eq!(
        code(&mut rig, transport(false, false, 2)),
        ErrorCode::NoPort
    );
    let connect = |fingerprints| Command::ConnectTransport {
        router: RouterId(1),
        transport: TransportId(1),
        role: DtlsRole::Auto,
        fingerprints,
    };
    assert_eq!(code(&mut rig, connect(vec![])), ErrorCode::InvalidArgument);
    let again = connect(vec![peer.fingerprint()]);
    assert_eq!(code(&mut rig, again), ErrorCode::InvalidState);
    let odd = Fingerprint {
        algorithm: "md2".into(),
        value: "AA".into(),
    };
    assert_eq!(
        code(&mut rig, connect(vec![odd])),
        ErrorCode::InvalidArgument
    );

    let audio = produce(1, 1, 1, MediaKind::Audio, 5);
    rig.tell(Command::Produce(audio.clone()));
    assert_eq!(
        code(&mut rig, Command::Produce(audio.clone())),
        ErrorCode::AlreadyExists
    );
    let same_ssrc = Produce {
        producer: ProducerId(2),
        mid: Some("x".into()),
        ..audio.clone()
    };
    assert_eq!(
        code(&mut rig, Command::Produce(same_ssrc)),
        ErrorCode::AlreadyExists
    );
    let nothing = Produce {
        producer: ProducerId(2),
        codecs: vec![],
        ..audio
    };
    assert_eq!(
        code(&mut rig, Command::Produce(nothing)),
        ErrorCode::InvalidArgument
    );

    let entries = vec![
        consume_one(1, 1, MediaKind::Audio, 100),
        consume_one(2, 77, MediaKind::Audio, 200),
        consume_one(1, 1, MediaKind::Audio, 300),
    ];
    rig.create_transport(1, 2);
    let results: ConsumeResults = rig.ask(consume(1, 2, entries));
    let codes: Vec<_> = results
        .results
        .iter()
        .map(|r| r.error.as_ref().map(|e| e.code))
        .collect();
    assert_eq!(
        codes,
        [
            None,
            Some(ErrorCode::NotFound),
            Some(ErrorCode::AlreadyExists)
        ]
    );
}

#[test]
fn a_restart_gives_new_credentials() {
    let mut rig = Rig::new(|_| {});
    rig.create_router(1);
    let created = rig.create_transport(1, 1);
    let restart = Command::RestartIce {
        router: RouterId(1),
        transport: TransportId(1),
    };
    let fresh: IceParameters = rig.ask(restart);
    assert!(fresh.ice_lite);
    assert_ne!(fresh, created.ice_parameters);
    assert!(fresh.username_fragment.len() >= 4 && fresh.password.len() >= 22);
}

#[test]
fn closing_a_transport_closes_what_hangs_on_it() {
    let mut rig = Rig::new(|_| {});
    rig.create_router(1);
    rig.create_transport(1, 1);
    rig.create_transport(1, 2);
    rig.tell(Command::Produce(produce(1, 1, 1, MediaKind::Audio, 5)));
    let entries = vec![consume_one(1, 1, MediaKind::Audio, 100)];
    rig.ask::<ConsumeResults>(consume(1, 2, entries));
    let close = Command::CloseTransport {
        router: RouterId(1),
        transport: TransportId(1),
    };
    rig.tell(close.clone());
    assert_eq!(code(&mut rig, close), ErrorCode::NotFound);
    let stats = rig.stats();
    assert_eq!(
        (stats.transports, stats.producers, stats.consumers),
        (1, 0, 0)
    );
    let pause = Command::PauseConsumers {
        router: RouterId(1),
        consumers: vec![ConsumerId(1)],
    };
    assert_eq!(rig.ask::<Touched>(pause).missing, [ConsumerId(1)]);
    // The handles are free again.
    rig.create_transport(1, 1);
    rig.tell(Command::Produce(produce(1, 1, 1, MediaKind::Audio, 5)));
}

#[test]
fn a_panic_in_the_input_of_a_transport_closes_that_transport_alone() {
    let mut rig = Rig::new(|_| {});
    rig.create_router(1);
    let mut broken = rig.join(1, 1, Way::UDP);
    let mut other = rig.join(1, 2, Way::UDP);
    rig.connect(&mut [&mut broken, &mut other]);
    other.sends("a", PeerKind::Audio, 5);
    rig.tell(Command::Produce(produce(1, 1, 1, MediaKind::Audio, 5)));
    rig.tell(Command::Panic {
        transport: Some((RouterId(1), TransportId(1))),
    });
    rig.until(&mut [&mut broken, &mut other], "the panic", |rig, _| {
        rig.saw(|e| {
            matches!(e, Event::TransportClosed { transport: TransportId(1), reason, .. } if reason == "panic")
        })
    });
    assert!(rig.worker.is_alive());
    let stats = rig.stats();
    assert_eq!(
        (stats.transport_panics, stats.transports, stats.producers),
        (1, 1, 0)
    );
    rig.tell(Command::Produce(produce(1, 2, 1, MediaKind::Audio, 5)));
    other.write(5, rig::AUDIO_PT, 1, vec![0; 50]);
    rig.until(&mut [&mut other], "media of the other", |rig, _| {
        let dump: Value = rig.ask(Command::Dump {
            router: RouterId(1),
        });
        dump["producers"][0]["stats"]["streams"][0]["packets"] == 1
    });
}

#[test]
fn a_dead_worker_says_so_and_others_live() {
    let (mut doomed, mut other) = (Rig::new(|c| c.index = 3), Rig::new(|_| {}));
    doomed.create_router(1);
    doomed
        .worker
        .request(Request {
            id: 900,
            command: Command::Panic { transport: None },
        })
        .unwrap();
    // Requests in flight are answered all the same.
    let late = doomed.worker.request(Request {
        id: 901,
        command: Command::Stats {},
    });
    let deadline = Instant::now() + rig::PATIENCE;
    while doomed.worker.is_alive() || doomed.events.is_empty() {
        assert!(Instant::now() < deadline);
        doomed.listen();
        std::thread::sleep(Duration::from_millis(1));
    }
    doomed.listen();
    let Some(Event::Died { index: 3, message }) = doomed.events.last() else {
        panic!("{:?}", doomed.events)
    };
    assert!(message.contains("asked to panic"));
    let answered = |id| doomed.saw(|e| matches!(e, Event::Reply(r) if r.id == id));
    assert!(answered(900), "the request that killed it");
    assert!(late.is_err() || answered(901));
    let refused = doomed.worker.request(Request {
        id: 902,
        command: Command::Stats {},
    });
    assert_eq!(refused, Err(RequestError::Closed));
    doomed.worker.close();
    other.create_router(1);
    assert_eq!(other.stats().routers, 1);
}

#[test]
fn panics_on_request_need_permission() {
    let mut rig = Rig::new(|c| c.allow_panic = false);
    assert_eq!(
        code(&mut rig, Command::Panic { transport: None }),
        ErrorCode::InvalidState
    );
}

#[test]
fn faults_need_permission_and_are_checked_as_a_whole() {
    let withhold = |share| {
        serde_json::from_value(serde_json::json!({
            "type": "inject_faults", "seed": 1,
            "faults": [{ "kind": "withhold" }, { "kind": "repeat", "share": share }],
        }))
        .unwrap()
    };
    let mut rig = Rig::new(|c| c.allow_faults = false);
    assert_eq!(code(&mut rig, withhold(1.0)), ErrorCode::InvalidState);
    let none: FaultLog = rig.ask(Command::FaultLog {});
    assert_eq!(none, FaultLog::default());
    let mut rig = Rig::new(|c| c.allow_faults = true);
    assert_eq!(code(&mut rig, withhold(1.5)), ErrorCode::InvalidArgument);
    let none: FaultLog = rig.ask(Command::FaultLog {});
    assert!(none.reach.is_empty(), "none of them was taken");
    rig.tell(withhold(1.0));
    let log: FaultLog = rig.ask(Command::FaultLog {});
    assert_eq!(log.reach.len(), 2);
}

#[test]
fn closing_is_idempotent_and_frees_the_port() {
    let before = Rig::new(|_| {});
    let port = before.worker.port();
    before.worker.close();
    before.worker.close();
    assert!(!before.worker.is_alive());
    let refused = before.worker.request(Request {
        id: 1,
        command: Command::Stats {},
    });
    assert_eq!(refused, Err(RequestError::Closed));
    assert!(!before.saw(|e| matches!(e, Event::Died { .. })));
    let again = Rig::new(|c| c.port = port);
    assert_eq!(again.worker.port(), port);
}

#[test]
fn what_cannot_start_says_why_and_leaves_nothing() {
    let rig = Rig::new(|_| {});
    let taken = WorkerConfig {
        port: rig.worker.port(),
        ..rig::config()
    };
    let error = Worker::start(taken).unwrap_err();
    assert!(
        error.to_string().contains(&rig.worker.port().to_string()),
        "{error}"
    );
    let nowhere = WorkerConfig {
        pin_cpu: Some(1000),
        ..rig::config()
    };
    assert!(matches!(
        Worker::start(nowhere).unwrap_err(),
        StartError::Cpu { cpu: 1000, .. }
    ));
    let keyless = WorkerConfig {
        private_key: vec![1, 2, 3],
        ..rig::config()
    };
    assert!(matches!(
        Worker::start(keyless).unwrap_err(),
        StartError::Certificate(_)
    ));
}

#[test]
fn statistics_come_by_themselves_once_a_second() {
    let mut rig = Rig::new(|_| {});
    let started = Instant::now();
    rig.until(&mut [], "two reports", |rig, _| {
        rig.events
            .iter()
            .filter(|e| matches!(e, Event::Stats(_)))
            .count()
            >= 2
    });
    assert!(started.elapsed() >= Duration::from_millis(1900));
}

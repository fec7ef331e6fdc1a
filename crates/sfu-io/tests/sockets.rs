//! Datagrams and frames over loopback.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use meeshy_sfu_io::{
    BindError, EventFd, FramedStream, Interest, Poller, RecvBatch, SendBatch, UdpOptions,
    UdpSocket, listen_tcp, probe,
};

fn socket(address: &str, options: &UdpOptions) -> UdpSocket {
    UdpSocket::bind(address.parse().unwrap(), options).unwrap()
}

/// All datagrams until `count` came, with the number of kernel messages they came in.
fn collect(socket: &UdpSocket, count: usize) -> (Vec<Vec<u8>>, usize) {
    let mut batch = RecvBatch::new(64);
    let (mut datagrams, mut messages) = (Vec::new(), 0);
    let deadline = Instant::now() + Duration::from_secs(5);
    while datagrams.len() < count {
        assert!(
            Instant::now() < deadline,
            "{} of {count} came",
            datagrams.len()
        );
        for index in 0..batch.recv(socket).unwrap() {
            messages += 1;
            datagrams.extend(batch.message(index).segments().map(|d| d.to_vec()));
        }
    }
    (datagrams, messages)
}

fn push(out: &mut SendBatch, to: SocketAddr, datagram: &[u8]) {
    out.space(datagram.len()).copy_from_slice(datagram);
    out.commit(0, to, datagram.len());
}

#[test]
fn a_train_arrives_in_order_with_a_shorter_last_datagram() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        for gso in [true, false] {
            let options = UdpOptions {
                gso,
                ..UdpOptions::default()
            };
            let (a, b) = (
                socket(address, &options),
                socket(address, &UdpOptions::default()),
            );
            let mut out = SendBatch::new();
            let sizes = [300usize, 300, 300, 120, 300, 400, 300];
            for (n, size) in sizes.iter().enumerate() {
                push(&mut out, b.local_addr(), &vec![n as u8; *size]);
            }
            out.flush(&[&a]);
            let (datagrams, _) = collect(&b, sizes.len());
            for (n, size) in sizes.iter().enumerate() {
                assert_eq!(datagrams[n], vec![n as u8; *size]);
            }
            let counters = out.counters();
            assert_eq!(counters.datagrams, 7);
            assert_eq!(counters.bytes, sizes.iter().sum::<usize>() as u64);
            // 300×3+120 | 300 | 400+300
            assert_eq!(counters.trains, if a.gso() { 3 } else { 7 });
        }
    }
}

#[test]
fn a_train_is_cut_at_64_datagrams_and_at_the_largest_packet() {
    let (a, b) = (
        socket("127.0.0.1:0", &UdpOptions::default()),
        socket("127.0.0.1:0", &UdpOptions::default()),
    );
    let mut out = SendBatch::new();
    for n in 0..130u8 {
        push(&mut out, b.local_addr(), &[n; 20]);
    }
    out.flush(&[&a]);
    assert_eq!(collect(&b, 130).0.last().unwrap(), &[129; 20]);
    if a.gso() {
        assert_eq!(out.counters().trains, 3);
    }
    for n in 0..70u8 {
        push(&mut out, b.local_addr(), &[n; 1400]);
    }
    out.flush(&[&a]);
    assert_eq!(collect(&b, 70).0.last().unwrap(), &[69; 1400]);
    assert_eq!(out.counters().datagrams, 200);
    assert_eq!(out.counters().trains_split, 0);
}

#[test]
fn coalesced_trains_are_given_back_datagram_by_datagram() {
    let (a, b) = (
        socket("127.0.0.1:0", &UdpOptions::default()),
        socket("127.0.0.1:0", &UdpOptions::default()),
    );
    let mut out = SendBatch::new();
    for n in 0..10u8 {
        push(&mut out, b.local_addr(), &[n; 500]);
    }
    out.flush(&[&a]);
    let (datagrams, messages) = collect(&b, 10);
    assert_eq!(
        datagrams,
        (0..10u8).map(|n| vec![n; 500]).collect::<Vec<_>>()
    );
    if a.gso() && b.gro() {
        assert_eq!(messages, 1);
    }
}

#[test]
fn trains_go_out_by_the_socket_they_were_committed_to() {
    let (a4, a6) = (
        socket("127.0.0.1:0", &UdpOptions::default()),
        socket("[::1]:0", &UdpOptions::default()),
    );
    let (b4, b6) = (
        socket("127.0.0.1:0", &UdpOptions::default()),
        socket("[::1]:0", &UdpOptions::default()),
    );
    let mut out = SendBatch::new();
    for n in 0..6u8 {
        let (index, to) = if n % 2 == 0 { (0, &b4) } else { (1, &b6) };
        out.space(1)[0] = n;
        out.commit(index, to.local_addr(), 1);
    }
    out.flush(&[&a4, &a6]);
    assert_eq!(collect(&b4, 3).0, [[0], [2], [4]]);
    assert_eq!(collect(&b6, 3).0, [[1], [3], [5]]);
}

#[test]
fn a_refused_destination_costs_only_its_own_datagrams() {
    let (a, b) = (
        socket("127.0.0.1:0", &UdpOptions::default()),
        socket("127.0.0.1:0", &UdpOptions::default()),
    );
    let mut out = SendBatch::new();
    push(&mut out, b.local_addr(), b"before");
    push(
        &mut out,
        "255.255.255.255:9".parse().unwrap(),
        b"needs SO_BROADCAST",
    );
    push(&mut out, "[::1]:9".parse().unwrap(), b"of another family");
    push(&mut out, b.local_addr(), b"after!");
    out.flush(&[&a]);
    assert_eq!(collect(&b, 2).0, [b"before", b"after!"]);
    assert_eq!(out.counters().dropped_refused, 2);
}

#[test]
fn a_socket_that_refuses_trains_sends_singly_and_soon_stops_trying() {
    let (a, b) = (
        socket("127.0.0.1:0", &UdpOptions::default()),
        socket("127.0.0.1:0", &UdpOptions::default()),
    );
    if !a.gso() {
        return;
    }
    // The kernel answers EINVAL to trains on sockets that send no checksums.
    let on = 1i32;
    // SAFETY: `on` lives through the call and its size is given; the descriptor is open.
    let result = unsafe {
        let value = (&raw const on).cast();
        libc::setsockopt(a.as_raw_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, value, 4)
    };
    assert_eq!(result, 0);
    let mut out = SendBatch::new();
    for round in 0..20u8 {
        for n in 0..5 {
            push(&mut out, b.local_addr(), &[round, n, 0, 0]);
        }
        out.flush(&[&a]);
    }
    let (datagrams, _) = collect(&b, 100);
    for (index, datagram) in datagrams.iter().enumerate() {
        assert_eq!(datagram[..2], [index as u8 / 5, index as u8 % 5]);
    }
    assert!(!a.gso());
    let counters = out.counters();
    assert_eq!((counters.datagrams, counters.trains), (100, 100));
    assert_eq!(counters.trains_split, 8);
}

#[test]
fn the_kernel_reports_what_it_dropped() {
    let a = socket("127.0.0.1:0", &UdpOptions::default());
    let small = UdpOptions {
        receive_buffer: 4096,
        ..UdpOptions::default()
    };
    let b = socket("127.0.0.1:0", &small);
    for _ in 0..200 {
        a.send_to(&[0; 1000], b.local_addr()).unwrap();
    }
    let mut batch = RecvBatch::new(64);
    while batch.recv(&b).unwrap() > 0 {}
    a.send_to(&[0; 1000], b.local_addr()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while batch.recv(&b).unwrap() == 0 {
        assert!(Instant::now() < deadline);
    }
    assert!(batch.kernel_drops() > 100, "{}", batch.kernel_drops());
}

#[test]
fn a_timestamp_is_the_wall_clock_of_arrival() {
    let options = UdpOptions {
        timestamps: true,
        ..UdpOptions::default()
    };
    let (a, b) = (
        socket("127.0.0.1:0", &options),
        socket("127.0.0.1:0", &options),
    );
    a.send_to(b"x", b.local_addr()).unwrap();
    let mut batch = RecvBatch::new(1);
    while batch.recv(&b).unwrap() == 0 {}
    let stamp = batch.message(0).received.unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap();
    assert!(now.abs_diff(stamp) < Duration::from_secs(1));
}

#[test]
fn what_waited_in_the_socket_arrived_when_it_came() {
    for timestamps in [true, false] {
        let options = UdpOptions {
            timestamps,
            ..UdpOptions::default()
        };
        let (a, b) = (
            socket("127.0.0.1:0", &options),
            socket("127.0.0.1:0", &options),
        );
        let mut sent = Vec::new();
        for _ in 0..3 {
            let before = Instant::now();
            a.send_to(b"x", b.local_addr()).unwrap();
            sent.push((before, Instant::now()));
            std::thread::sleep(Duration::from_millis(20));
        }
        let read = Instant::now();
        let mut batch = RecvBatch::new(8);
        assert_eq!(batch.recv(&b).unwrap(), 3);
        let tolerance = Duration::from_millis(2);
        for (index, (before, after)) in sent.into_iter().enumerate() {
            let arrived = batch.message(index).arrived;
            if timestamps {
                assert!(arrived + tolerance >= before, "{:?}", before - arrived);
                assert!(arrived <= after + tolerance, "{:?}", arrived - after);
            } else {
                assert!(arrived >= read, "no stamp: when it was read");
            }
        }
    }
}

#[test]
fn a_taken_port_is_named() {
    let a = socket("127.0.0.1:0", &UdpOptions::default());
    let error = UdpSocket::bind(a.local_addr(), &UdpOptions::default()).unwrap_err();
    assert!(matches!(error, BindError::PortInUse { .. }));
    assert!(
        error
            .to_string()
            .contains(&a.local_addr().port().to_string()),
        "{error}"
    );
    let listener = listen_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    let error = listen_tcp(listener.local_addr().unwrap()).unwrap_err();
    assert!(matches!(error, BindError::PortInUse { .. }));
    let error =
        UdpSocket::bind("192.0.2.1:0".parse().unwrap(), &UdpOptions::default()).unwrap_err();
    assert!(matches!(error, BindError::NoSuchAddress { .. }));
}

#[test]
fn a_wildcard_ipv6_socket_leaves_ipv4_alone() {
    let six = socket("[::]:0", &UdpOptions::default());
    let port = six.local_addr().port();
    UdpSocket::bind(([0, 0, 0, 0], port).into(), &UdpOptions::default()).unwrap();
}

#[test]
fn the_bell_wakes_a_poller_once() {
    let mut poller = Poller::new().unwrap();
    let bell = EventFd::new().unwrap();
    poller
        .add(std::os::fd::AsFd::as_fd(&bell), 7, Interest::Readable)
        .unwrap();
    assert_eq!(poller.wait(Some(Duration::ZERO)).unwrap().count(), 0);
    bell.notify();
    bell.notify();
    let tokens: Vec<u64> = poller.wait(None).unwrap().map(|e| e.token).collect();
    assert_eq!(tokens, [7]);
    assert!(bell.drain());
    assert!(!bell.drain());
    let before = Instant::now();
    assert_eq!(
        poller
            .wait(Some(Duration::from_micros(1500)))
            .unwrap()
            .count(),
        0
    );
    assert!(before.elapsed() >= Duration::from_micros(1500));
}

fn tcp_pair() -> (FramedStream, TcpStream) {
    let listener = listen_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let server = loop {
        match listener.accept() {
            Ok((stream, _)) => break stream,
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(e) => panic!("{e}"),
        }
    };
    (FramedStream::new(server).unwrap(), client)
}

#[test]
fn frames_survive_being_cut_anywhere() {
    let (mut server, mut client) = tcp_pair();
    client.set_nodelay(true).unwrap();
    let bytes = [&[0, 3][..], b"abc", &[0, 0], &[0, 1], b"d", &[0, 2], b"ef"].concat();
    let mut frames = Vec::new();
    for byte in bytes {
        client.write_all(&[byte]).unwrap();
        while !server.fill().unwrap() {}
        while let Some(frame) = server.next_frame().unwrap() {
            frames.push(frame.to_vec());
        }
    }
    assert_eq!(frames, [&b"abc"[..], b"d", b"ef"]);
    drop(client);
    let deadline = Instant::now() + Duration::from_secs(5);
    while server.fill().is_ok() {
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn a_frame_that_is_too_long_is_an_error() {
    let (mut server, mut client) = tcp_pair();
    client.write_all(&[0xff, 0xff, 1, 2, 3]).unwrap();
    while !server.fill().unwrap() {}
    assert!(server.next_frame().is_err());
}

#[test]
fn a_peer_that_does_not_read_costs_bounded_memory_and_whole_frames_only() {
    let (mut server, mut client) = tcp_pair();
    let mut accepted = 0;
    for n in 0..20_000u32 {
        let mut frame = [0u8; 1000];
        frame[..4].copy_from_slice(&n.to_be_bytes());
        accepted += u32::from(server.push(&frame));
        server.flush().unwrap();
        assert!(server.pending() <= 256 << 10);
    }
    assert!(server.dropped() > 0);
    client
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut frame = [0u8; 1002];
    let mut last = None;
    for _ in 0..accepted {
        server.flush().unwrap();
        client.read_exact(&mut frame).unwrap();
        assert_eq!(frame[..2], 1000u16.to_be_bytes());
        let n = u32::from_be_bytes(frame[2..6].try_into().unwrap());
        assert!(last < Some(n));
        last = Some(n);
    }
}

#[test]
fn the_probe_answers() {
    let features = probe::kernel().unwrap();
    assert!(features.receive_buffer_bytes > 0);
    assert!(features.gso || !features.gro);
}

#[test]
fn what_a_peer_does_not_read_is_not_heaped_up_in_the_kernel() {
    let (mut server, client) = tcp_pair();
    let (mut taken, mut refused) = (0, 0);
    // Until the path has been full for a while: the kernel's own buffer would grow to megabytes.
    while refused < 100 {
        if server.push(&[7; 1200]) {
            taken += 1202;
        } else {
            refused += 1;
            std::thread::sleep(Duration::from_millis(1));
        }
        server.flush().unwrap();
        assert!(
            taken < 64 << 20,
            "the client does not read, yet {taken} bytes were taken"
        );
    }
    let received: usize = {
        let mut waiting = 0i32;
        // SAFETY: FIONREAD writes one integer, which lives through the call.
        unsafe { libc::ioctl(client.as_raw_fd(), libc::FIONREAD, &raw mut waiting) };
        waiting as usize
    };
    let heaped = taken - received - server.pending();
    assert!(
        heaped < 256 << 10,
        "{heaped} of {taken}, {received} arrived"
    );
}

#[test]
fn a_delay_ends_at_the_send_call_of_its_train() {
    let receiver = socket("127.0.0.1:0", &UdpOptions::default());
    let sender = socket("127.0.0.1:0", &UdpOptions::default());
    let to = receiver.local_addr();
    let mut out = SendBatch::new();
    let counted = |out: &SendBatch| out.delays().map(|one| one.counts.iter().sum::<u64>());
    let since = Instant::now() - Duration::from_millis(30);
    // One mark of each kind for the first train; none for those after it.
    out.mark(0, since);
    out.mark(1, Instant::now());
    push(&mut out, to, b"one");
    push(&mut out, to, b"two");
    out.end_train();
    push(&mut out, to, b"three");
    assert_eq!(counted(&out), [0, 0], "nothing was sent yet");
    out.flush(&[&sender]);
    assert_eq!(counted(&out), [1, 1]);
    let [old, young] = *out.delays();
    assert!(old.sum >= Duration::from_millis(30), "{old:?}");
    assert!(young.sum < Duration::from_millis(30), "{young:?}");
    assert_eq!(old.counts[..11].iter().sum::<u64>(), 0, "{old:?}");
    // A mark that no datagram follows ends with its train, and counts nothing later.
    out.mark(0, since);
    out.end_train();
    push(&mut out, to, b"four");
    out.flush(&[&sender]);
    assert_eq!(counted(&out), [1, 1]);
    // One whose datagram has to wait for room goes with the next flush.
    out.mark(0, since);
    out.flush(&[&sender]);
    push(&mut out, to, b"five");
    out.flush(&[&sender]);
    assert_eq!(counted(&out), [2, 1]);
    // More trains than one call takes: each delay is counted once.
    for _ in 0..200 {
        out.mark(1, since);
        push(&mut out, to, b"six");
        out.end_train();
    }
    out.flush(&[&sender]);
    assert_eq!(counted(&out), [2, 201]);
}

//! The ports of a worker: UDP and TCP on one number, and what is offered to clients.
//!
//! # Job
//! Binds every address once for UDP and once for TCP and makes the ICE candidates of them.
//!
//! RFC 8445 §5.1.2 (priorities), RFC 6544 §4.2 (those of TCP).

use std::net::{IpAddr, SocketAddr, TcpListener};

use meeshy_sfu_io::{BindError, UdpOptions, UdpSocket, interfaces, listen_tcp};

use crate::command::{CandidateType, IceCandidate, Protocol, TcpType};
use crate::config::{StartError, WorkerConfig, system};

/// Tries to find a free number for both protocols when any will do.
const TRIES: u32 = 32;

/// What a worker listens on.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) port: u16,
    /// UDP over IPv4 and over IPv6; at least one is there.
    pub(crate) udp: [Option<UdpSocket>; 2],
    pub(crate) listeners: Vec<TcpListener>,
    /// What is offered, and where it really is.
    candidates: Vec<(IceCandidate, IpAddr)>,
}

impl Sockets {
    /// Binds all addresses of `config`.
    pub(crate) fn bind(config: &WorkerConfig) -> Result<Sockets, StartError> {
        check(&config.listen)?;
        check_announced(config)?;
        let mut tries = if config.port == 0 { TRIES } else { 1 };
        loop {
            tries -= 1;
            match bind_all(config) {
                // The number UDP got was taken for TCP, or for the other family.
                Err(BindError::PortInUse { .. }) if tries > 0 => {}
                Err(error) => return Err(error.into()),
                Ok((port, udp, listeners)) => {
                    let candidates = candidates(config, port)?;
                    return Ok(Sockets {
                        port,
                        udp,
                        listeners,
                        candidates,
                    });
                }
            }
        }
    }

    /// What a transport offers, best first.
    pub(crate) fn offer(
        &self,
        udp: bool,
        tcp: bool,
    ) -> impl Iterator<Item = &(IceCandidate, IpAddr)> {
        self.candidates
            .iter()
            .filter(move |(c, _)| match c.protocol {
                Protocol::Udp => udp,
                Protocol::Tcp => tcp,
            })
    }
}

type Bound = (u16, [Option<UdpSocket>; 2], Vec<TcpListener>);

fn check(listen: &[IpAddr]) -> Result<(), StartError> {
    if listen.is_empty() {
        return Err(StartError::Listen(
            "listen names no address; name one to listen on, such as 0.0.0.0 or ::".into(),
        ));
    }
    for six in [false, true] {
        let family: Vec<_> = listen.iter().filter(|a| a.is_ipv6() == six).collect();
        if let [first, second, ..] = family[..] {
            return Err(StartError::Listen(format!(
                "listen names {first} and {second}, both of one family; a worker takes one IPv4 and one IPv6 address at most: \
                 leave one out, or listen on 0.0.0.0 or :: for all"
            )));
        }
    }
    Ok(())
}

/// An announced address of a family without a socket would never be offered.
fn check_announced(config: &WorkerConfig) -> Result<(), StartError> {
    let announced = config.announced.as_deref();
    let Some(ip) = announced.and_then(|a| a.parse::<IpAddr>().ok()) else {
        return Ok(());
    };
    if config.listen.iter().any(|a| a.is_ipv4() == ip.is_ipv4()) {
        return Ok(());
    }
    let (family, any) = if ip.is_ipv4() {
        ("IPv4", "0.0.0.0")
    } else {
        ("IPv6", "::")
    };
    let listen: Vec<String> = config.listen.iter().map(IpAddr::to_string).collect();
    Err(StartError::Listen(format!(
        "the announced address {ip} is of {family}, and the worker listens on {} alone: listen on {any} as well, or \
         announce an address of the other family",
        listen.join(", ")
    )))
}

fn bind_all(config: &WorkerConfig) -> Result<Bound, BindError> {
    let options = UdpOptions {
        gso: config.gso,
        timestamps: true,
        ..UdpOptions::default()
    };
    let mut port = config.port;
    let mut udp = [None, None];
    let mut listeners = Vec::new();
    for &address in &config.listen {
        let socket = UdpSocket::bind(SocketAddr::new(address, port), &options)?;
        port = socket.local_addr().port();
        listeners.push(listen_tcp(SocketAddr::new(address, port))?);
        udp[usize::from(address.is_ipv6())] = Some(socket);
    }
    Ok((port, udp, listeners))
}

/// Candidates of both protocols for every address clients may reach us at.
fn candidates(config: &WorkerConfig, port: u16) -> Result<Vec<(IceCandidate, IpAddr)>, StartError> {
    let mut offered: Vec<(String, IpAddr)> = Vec::new();
    let announced = config.announced.as_deref();
    let announced_ip = announced.and_then(|a| a.parse::<IpAddr>().ok());
    for (position, &address) in config.listen.iter().enumerate() {
        match (announced, announced_ip) {
            (_, Some(ip)) if ip.is_ipv4() == address.is_ipv4() => {
                offered.push((ip.to_string(), address));
            }
            (Some(host), None) if position == 0 => offered.push((host.to_owned(), address)),
            _ if address.is_unspecified() => {
                for ip in reachable(address.is_ipv4())? {
                    offered.push((ip.to_string(), ip));
                }
            }
            _ => offered.push((address.to_string(), address)),
        }
    }
    let make = |protocol, position: usize, offer: &(String, IpAddr)| {
        let position = position.min(255) as u32;
        // Local preferences: UDP above TCP, and in both the order given. RFC 6544 §4.2: passive is 4.
        let (local, name, tcp_type) = match protocol {
            Protocol::Udp => (65_535 - position, "udp", None),
            Protocol::Tcp => ((4 << 13) + 8191 - position, "tcp", Some(TcpType::Passive)),
        };
        let candidate = IceCandidate {
            foundation: format!("{name}{position}"),
            priority: (126 << 24) | (local << 8) | 255,
            address: offer.0.clone(),
            port,
            protocol,
            kind: CandidateType::Host,
            tcp_type,
        };
        (candidate, offer.1)
    };
    let mut all = Vec::new();
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        all.extend(
            offered
                .iter()
                .enumerate()
                .map(|(n, offer)| make(protocol, n, offer)),
        );
    }
    Ok(all)
}

/// Addresses of this host that others can reach, or loopback when there are none.
fn reachable(four: bool) -> Result<Vec<IpAddr>, StartError> {
    let all = interfaces().map_err(system("list the interfaces"))?;
    let family: Vec<_> = all.iter().filter(|i| i.address.is_ipv4() == four).collect();
    let outside: Vec<IpAddr> = family
        .iter()
        .filter(|i| !i.loopback)
        .map(|i| i.address)
        .collect();
    if outside.is_empty() {
        return Ok(family.iter().map(|i| i.address).take(1).collect());
    }
    Ok(outside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(listen: &[&str], announced: Option<&str>) -> WorkerConfig {
        WorkerConfig {
            listen: listen.iter().map(|a| a.parse().unwrap()).collect(),
            announced: announced.map(str::to_owned),
            ..WorkerConfig::new(Vec::new(), Vec::new())
        }
    }

    fn offered(listen: &[&str], announced: Option<&str>) -> Vec<String> {
        let all = candidates(&config(listen, announced), 7).unwrap();
        all.iter()
            .map(|(c, _)| format!("{:?} {}", c.protocol, c.address))
            .collect()
    }

    #[test]
    fn both_protocols_and_families_share_one_number() {
        let sockets = Sockets::bind(&config(&["127.0.0.1", "::1"], None)).unwrap();
        assert_ne!(sockets.port, 0);
        for udp in sockets.udp.iter().flatten() {
            assert_eq!(udp.local_addr().port(), sockets.port);
        }
        for listener in &sockets.listeners {
            assert_eq!(listener.local_addr().unwrap().port(), sockets.port);
        }
        assert_eq!(sockets.offer(true, true).count(), 4);
        assert_eq!(sockets.offer(false, true).count(), 2);
    }

    #[test]
    fn an_announced_address_replaces_its_family_and_a_host_name_the_first() {
        let listen = ["127.0.0.1", "::1"];
        assert_eq!(
            offered(&listen, None),
            ["Udp 127.0.0.1", "Udp ::1", "Tcp 127.0.0.1", "Tcp ::1"]
        );
        assert_eq!(
            offered(&listen, Some("2001:db8::7")),
            [
                "Udp 127.0.0.1",
                "Udp 2001:db8::7",
                "Tcp 127.0.0.1",
                "Tcp 2001:db8::7"
            ]
        );
        assert_eq!(
            offered(&["0.0.0.0"], Some("sfu.example")),
            ["Udp sfu.example", "Tcp sfu.example"]
        );
        assert!(!offered(&["0.0.0.0"], None).is_empty());
    }

    #[test]
    fn priorities_fall_in_the_order_offered() {
        let all = candidates(&config(&["127.0.0.1", "::1"], None), 7).unwrap();
        assert!(all.windows(2).all(|w| w[0].0.priority > w[1].0.priority));
    }

    #[test]
    fn two_addresses_of_a_family_are_refused() {
        let error = Sockets::bind(&config(&["127.0.0.1", "127.0.0.2"], None)).unwrap_err();
        assert!(error.to_string().contains("127.0.0.2"));
        assert!(Sockets::bind(&config(&[], None)).is_err());
    }

    #[test]
    fn an_announced_address_of_a_family_nobody_listens_on_is_refused() {
        for (listen, announced, any) in [
            ("127.0.0.1", "2001:db8::7", "::"),
            ("::1", "203.0.113.9", "0.0.0.0"),
        ] {
            let error = Sockets::bind(&config(&[listen], Some(announced))).unwrap_err();
            let text = error.to_string();
            for part in [listen, announced, any] {
                assert!(text.contains(part), "{text}");
            }
            Sockets::bind(&config(&["127.0.0.1", "::1"], Some(announced))).unwrap();
        }
        Sockets::bind(&config(&["::1"], Some("sfu.example"))).unwrap();
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = Sockets::bind(&config(&["127.0.0.1"], None)).unwrap();
        let again = WorkerConfig {
            port: taken.port,
            ..config(&["127.0.0.1"], None)
        };
        let error = Sockets::bind(&again).unwrap_err();
        assert!(
            matches!(error, StartError::Bind(BindError::PortInUse { .. })),
            "{error}"
        );
    }
}

//! Connections over TCP that are no peer's: they show a valid check, or nothing.

use meeshy_sfu_proto::ice::IceCandidate as LinkCandidate;
use meeshy_sfu_proto::link::{
    Certificate, DtlsRole as LinkRole, IceParameters as LinkCredentials, IceProtocol, Link,
};
use meeshy_sfu_proto::net::SocketId;
use meeshy_sfu_worker::command::TransportCreated;

use super::Rig;

/// A connection on which one valid check was sent.
pub fn checked_connection(rig: &Rig, created: &TransportCreated) -> std::net::TcpStream {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", rig.worker.port())).unwrap();
    let credentials = |name: &str, word: &str| LinkCredentials {
        username_fragment: name.into(),
        password: word.into(),
        ice_lite: false,
    };
    let now = std::time::Instant::now();
    let mut link = Link::client_by(
        std::sync::Arc::new(Certificate::generate().unwrap()),
        credentials("theirs", "theirPasswordOfEnoughLength"),
        stream.local_addr().unwrap(),
        SocketId(2),
        LinkRole::Client,
        now,
    );
    let server = &created.ice_parameters;
    let candidate = LinkCandidate {
        foundation: "tcp".into(),
        priority: 1,
        address: [127, 0, 0, 1].into(),
        port: rig.worker.port(),
        protocol: IceProtocol::Tcp,
        tcp_type: None,
    };
    let server = credentials(&server.username_fragment, &server.password);
    link.set_remote_ice(&server, &[candidate], now);
    let mut check = [0; 2048];
    let (len, _) = link.poll_transmit(&mut check).unwrap();
    stream.write_all(&(len as u16).to_be_bytes()).unwrap();
    stream.write_all(&check[..len]).unwrap();
    stream
}

/// Whether a check is answered on a new connection.
pub fn is_let_in(rig: &Rig, created: &TransportCreated) -> bool {
    use std::io::Read;
    let mut stream = checked_connection(rig, created);
    stream.set_read_timeout(Some(super::PATIENCE)).unwrap();
    stream.read_exact(&mut [0; 20]).is_ok()
}

//! Connections over TCP that are no peer's: they show a valid check, or nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use meeshy_sfu_proto::ice::IceCandidate as LinkCandidate;
use meeshy_sfu_proto::link::{
    Certificate, DtlsRole as LinkRole, IceParameters as LinkCredentials, IceProtocol, Link,
};
use meeshy_sfu_proto::net::SocketId;
use meeshy_sfu_worker::command::TransportCreated;

use super::{PATIENCE, Rig};

/// A connection on which nothing is sent; None where the system or the worker refuses it.
pub fn idle_connection(rig: &Rig) -> Option<TcpStream> {
    TcpStream::connect(("127.0.0.1", rig.worker.port())).ok()
}

/// A connection on which one valid check was sent.
pub fn checked_connection(rig: &Rig, created: &TransportCreated) -> TcpStream {
    let mut stream = idle_connection(rig).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut link = client(rig, created, &stream);
    let mut check = [0; 2048];
    let (len, _) = link.poll_transmit(&mut check).unwrap();
    stream.write_all(&(len as u16).to_be_bytes()).unwrap();
    stream.write_all(&check[..len]).unwrap();
    stream
}

/// Whether the check sent on a connection is answered.
pub fn is_answered(stream: &mut TcpStream) -> bool {
    stream.read_exact(&mut [0; 20]).is_ok()
}

/// Whether the worker has not closed a connection; what it sent is read.
pub fn is_open(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    loop {
        match stream.read(&mut [0; 2048]) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// Waits until the worker has closed a connection.
pub fn wait_closed(stream: &mut TcpStream) {
    while stream.read(&mut [0; 2048]).is_ok_and(|len| len > 0) {}
}

/// The ICE side of a client of this transport.
fn client(rig: &Rig, created: &TransportCreated, stream: &TcpStream) -> Link {
    let now = Instant::now();
    let credentials = |fragment: &str, password: &str| LinkCredentials {
        username_fragment: fragment.into(),
        password: password.into(),
        ice_lite: false,
    };
    let mut link = Link::client_by(
        Arc::new(Certificate::generate().unwrap()),
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
    link
}

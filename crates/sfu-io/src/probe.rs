//! What this kernel gives us, tried and not guessed.
//!
//! # Job
//! Answers for `meeshy doctor`: segmentation offload both ways over loopback, buffer sizes, families.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::bind::BindError;
use crate::recv::RecvBatch;
use crate::send::SendBatch;
use crate::udp::{UdpOptions, UdpSocket};

/// Findings of [`kernel`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelFeatures {
    /// A train sent as one buffer arrived whole.
    pub gso: bool,
    /// It also arrived as one buffer.
    pub gro: bool,
    /// IPv6 sockets can be opened.
    pub ipv6: bool,
    /// Receive buffer granted for the default [`UdpOptions`], in bytes.
    pub receive_buffer_bytes: usize,
    /// Send buffer granted, likewise.
    pub send_buffer_bytes: usize,
    /// Whether the granted receive buffer is as large as asked for.
    pub buffers_sufficient: bool,
}

/// Tries the kernel's features on loopback; takes a few milliseconds, 200 at most.
pub fn kernel() -> Result<KernelFeatures, BindError> {
    let options = UdpOptions::default();
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let receiver = UdpSocket::bind(loopback, &options)?;
    let sender = UdpSocket::bind(loopback, &options)?;
    let (gso, gro) = try_train(&sender, &receiver);
    let receive_buffer_bytes = receiver.receive_buffer().unwrap_or(0);
    Ok(KernelFeatures {
        gso,
        gro,
        ipv6: UdpSocket::bind((Ipv6Addr::LOCALHOST, 0).into(), &options).is_ok(),
        receive_buffer_bytes,
        send_buffer_bytes: sender.send_buffer().unwrap_or(0),
        buffers_sufficient: receive_buffer_bytes >= options.receive_buffer,
    })
}

/// Sends four datagrams as a train; tells whether that worked and whether they came in one buffer.
fn try_train(sender: &UdpSocket, receiver: &UdpSocket) -> (bool, bool) {
    if !sender.gso() {
        return (false, false);
    }
    let mut out = SendBatch::new();
    for n in 0..4u8 {
        out.space(100).fill(n);
        out.commit(0, receiver.local_addr(), 100);
    }
    out.flush(&[sender]);
    let one_buffer = out.counters().trains == 1;
    let mut batch = RecvBatch::new(8);
    let (mut datagrams, mut messages) = (0, 0);
    let deadline = Instant::now() + Duration::from_millis(200);
    while datagrams < 4 && Instant::now() < deadline {
        let count = batch.recv(receiver).unwrap_or(0);
        for index in 0..count {
            messages += 1;
            datagrams += batch.message(index).segments().count();
        }
        if count == 0 {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
    (
        one_buffer && datagrams == 4,
        receiver.gro() && messages == 1,
    )
}

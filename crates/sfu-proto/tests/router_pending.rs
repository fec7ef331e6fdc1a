//! Packets that wait to be sent: their order, and what is left of them when something closes.
#![allow(clippy::unwrap_used)]

mod router_call;

use router_call::*;

/// Whose packets a peer has received since it was last asked, in their order.
fn ssrcs_of(call: &mut Call, peer: &mut Peer) -> Vec<u32> {
    let received = call.inbox(peer).rtp;
    received.iter().map(|one| one.ssrc).collect()
}

#[test]
fn a_consumer_that_closes_takes_only_its_own_packets_along() {
    let mut call = Call::new();
    let (mut alice, mut bob, _, closed) = call.pair(audio(1000), audio_consumer(5000, "0"));
    let mut second = audio(2000);
    second.mid = Some("b".into());
    let second = call.produce(&alice, second);
    call.consume(&bob, second, audio_consumer(6000, "1"));
    for ssrc in [1000, 2000] {
        let datagram = alice.protect(&audio_packet(ssrc, 0, 0, 40));
        call.deliver(&alice, &datagram);
    }
    call.router.close_consumer(closed);
    call.flush();
    assert_eq!(ssrcs_of(&mut call, &mut bob), [6000]);
}

#[test]
fn packets_of_one_size_leave_in_the_order_they_came() {
    let mut call = Call::new();
    let mut bob = call.peer();
    let (mut alice, mut carol) = (call.peer(), call.peer());
    let (one, two) = (
        call.produce(&alice, audio(1000)),
        call.produce(&carol, audio(2000)),
    );
    call.consume(&bob, one, audio_consumer(5000, "0"));
    call.consume(&bob, two, audio_consumer(6000, "1"));
    let (one, two) = (
        alice.protect(&audio_packet(1000, 0, 0, 40)),
        carol.protect(&audio_packet(2000, 0, 0, 40)),
    );
    call.deliver(&carol, &two);
    call.deliver(&alice, &one);
    call.flush();
    assert_eq!(ssrcs_of(&mut call, &mut bob), [6000, 5000]);
}

#[test]
fn a_transport_that_closes_leaves_the_pending_packets_of_others() {
    let mut call = Call::new();
    let (mut alice, bob, producer, _) = call.pair(audio(1000), audio_consumer(5000, "0"));
    let mut carol = call.peer();
    call.consume(&carol, producer, audio_consumer(6000, "0"));
    let datagram = alice.protect(&audio_packet(1000, 0, 0, 40));
    call.deliver(&alice, &datagram);
    call.router
        .close_transport(bob.transport, call.now, &mut call.sent);
    assert_eq!(call.router.pending(), 1);
    call.flush();
    assert_eq!(call.inbox(&mut carol).rtp.len(), 1);
}

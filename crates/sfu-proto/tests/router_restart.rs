//! A source that changes its SSRC while packets of the old one are pending.
#![allow(clippy::unwrap_used)]

mod router_call;

use meeshy_sfu_proto::router::EncodingConfig;
use router_call::*;

#[test]
fn pending_packets_of_the_old_source_do_not_send_the_new_one_twice() {
    let mut call = Call::new();
    let mut source = video(0);
    source.encodings = vec![EncodingConfig {
        rid: Some("r0".into()),
        ..EncodingConfig::default()
    }];
    let (mut alice, mut bob, ..) = call.pair(source, video_consumer(5000, "0"));
    let mut packet = video_packet(777, 5, 0, true);
    packet.extensions = vec![(4, b"v".to_vec())];
    call.send(&mut alice, &packet);
    let first = call.inbox(&mut bob).rtp[0].index;
    // The same number under both SSRCs: one place in the history, and two entries in the list.
    packet.sequence = 6;
    let old = alice.protect(&packet);
    call.deliver(&alice, &old);
    packet.ssrc = 999;
    packet.payload.push(9);
    let new = alice.protect(&packet);
    call.deliver(&alice, &new);
    call.flush();
    let got = call.inbox(&mut bob).rtp;
    assert_eq!(got.len(), 1, "an SRTP index is used once");
    assert_eq!(
        (got[0].index, &got[0].payload),
        (first + 1, &packet.payload)
    );
    assert_eq!(call.router.stats().drops.late, 1);
    assert_eq!(call.router.pending(), 0);
}

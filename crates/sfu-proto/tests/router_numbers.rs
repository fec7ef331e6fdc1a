//! Transport-wide sequence numbers towards receivers.
#![allow(clippy::unwrap_used)]

mod router_call;

use std::time::Duration;

use meeshy_sfu_proto::rtcp::nack;
use router_call::*;

/// The id under which `video_consumer` has the number.
const NUMBER: u8 = 5;

fn numbers(received: &[Received]) -> Vec<u16> {
    let values = received.iter().filter_map(|one| one.extension(NUMBER));
    values
        .map(|value| u16::from_be_bytes(value.try_into().unwrap()))
        .collect()
}

#[test]
fn only_packets_that_carry_a_number_take_one() {
    let mut call = Call::new();
    let (mut alice, mut bob, ..) = call.sound_and_picture();
    // A third without RTX: what is sent again must be the same, so it carries none.
    let third = call.produce(&alice, {
        let mut config = video(3000);
        config.mid = Some("w".into());
        config
    });
    let mut config = video_consumer(7000, "2");
    config.rtx_ssrc = None;
    config.codecs[0].rtx_payload_type = None;
    call.consume(&bob, third, config);
    let mut got = Vec::new();
    for step in 0..100 {
        call.send(&mut alice, &audio_packet(1000, step, 960, 40));
        call.send(&mut alice, &video_packet(2000, step, 3000, step == 0));
        call.send(&mut alice, &video_packet(3000, step, 3000, step == 0));
        let now = call.inbox(&mut bob).rtp;
        // One of each is asked for again.
        let mut out = [0; 64];
        for one in now.iter().filter(|one| step % 10 == 5 && one.ssrc != 5000) {
            let len = nack::write(9, one.ssrc, &[one.sequence], &mut out)
                .unwrap()
                .len;
            let datagram = bob.protect_rtcp(&out[..len]);
            call.deliver(&bob, &datagram);
        }
        got.extend(now);
        // A repetition under the same SRTP index is refused by the receiver, and has no number to read.
        call.sent
            .datagrams
            .retain(|(_, datagram)| datagram[8..12] != 7000u32.to_be_bytes());
        got.extend(call.inbox(&mut bob).rtp);
        call.wait(Duration::from_millis(20));
    }
    let carried = numbers(&got);
    assert_eq!(carried.len(), 100 + 10, "pictures and their repetitions");
    let expected: Vec<u16> = (0..110).collect();
    assert_eq!(carried, expected, "no number is left out");
    let without = got.iter().filter(|one| one.extension(NUMBER).is_none());
    assert!(without.clone().all(|one| [5000, 7000].contains(&one.ssrc)));
    assert_eq!(without.count(), 200);
}

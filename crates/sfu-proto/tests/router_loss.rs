//! Loss and repair in reports and scores.
#![allow(clippy::unwrap_used)]

mod router_call;

use std::time::Duration;

use meeshy_sfu_proto::rtcp::{Packet as Rtcp, ReportBlock, nack, packets, rr};
use router_call::*;

const MS: Duration = Duration::from_millis(1);

fn report_blocks(compounds: &[Vec<u8>]) -> Vec<ReportBlock> {
    let mut blocks = Vec::new();
    for packet in compounds.iter().flat_map(|compound| packets(compound)) {
        if let Rtcp::ReceiverReport(report) = packet.expect("well-formed") {
            blocks.extend(report.reports());
        }
    }
    blocks
}

/// A retransmission of a picture under the RTX SSRC.
fn again(sequence: u16, rtx_sequence: u16) -> Packet {
    let original = video_packet(1000, sequence, 3000, sequence == 0);
    let mut payload = sequence.to_be_bytes().to_vec();
    payload.extend(&original.payload);
    Packet {
        ssrc: 1001,
        payload_type: 97,
        sequence: rtx_sequence,
        payload,
        ..original
    }
}

#[test]
fn receiver_reports_tell_of_loss_that_was_repaired() {
    let mut call = Call::new();
    let mut alice = call.peer();
    let producer = call.produce(&alice, video(1000));
    for sequence in (0..100u16).filter(|sequence| sequence % 5 != 3) {
        call.send(
            &mut alice,
            &video_packet(1000, sequence, 3000, sequence == 0),
        );
    }
    for (rtx, sequence) in (0..100u16).filter(|sequence| sequence % 5 == 3).enumerate() {
        call.send(&mut alice, &again(sequence, rtx as u16));
    }
    call.wait(Duration::from_millis(1600));
    let block = report_blocks(&call.inbox(&mut alice).rtcp)[0];
    assert_eq!((block.ssrc, block.highest_sequence), (1000, 99));
    assert_eq!(
        (block.fraction_lost, block.cumulative_lost),
        (51, 20),
        "20 %"
    );
    let stream = &call.router.producer_stats(producer).unwrap()[0];
    assert_eq!((stream.repaired, stream.lost, stream.packets), (20, 0, 100));
    assert_eq!(stream.fraction_lost, 51);
    // What comes by itself after all was not lost.
    for sequence in (0..100u16).filter(|sequence| sequence % 5 == 3) {
        call.send(&mut alice, &video_packet(1000, sequence, 3000, false));
    }
    call.wait(Duration::from_millis(1600));
    let block = report_blocks(&call.inbox(&mut alice).rtcp)[0];
    assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 0));
    let stream = &call.router.producer_stats(producer).unwrap()[0];
    assert_eq!((stream.repaired, stream.lost, stream.packets), (0, 0, 100));
}

#[test]
fn retransmissions_without_need_lower_no_score() {
    let mut call = Call::new();
    let mut alice = call.peer();
    let producer = call.produce(&alice, video(1000));
    let mut rtx = 0;
    for step in 0..50u16 {
        // Two of ten come 30 ms late, after they were asked for; they are sent again all the same.
        let base = step * 10;
        for sequence in base + 2..base + 10 {
            call.send(&mut alice, &video_packet(1000, sequence, 3000, step == 0));
        }
        call.wait(30 * MS);
        for sequence in [base, base + 1] {
            let late = video_packet(1000, sequence, 3000, false);
            let first = step % 2 == 0;
            if first {
                call.send(&mut alice, &late);
            }
            call.send(&mut alice, &again(sequence, rtx));
            rtx += 1;
            if !first {
                call.send(&mut alice, &late);
            }
        }
        // And probes repeat what came long ago.
        call.send(&mut alice, &again(base + 5, rtx));
        rtx += 1;
        call.wait(70 * MS);
    }
    let stream = &call.router.producer_stats(producer).unwrap()[0];
    assert!(stream.nacked_packets >= 90 && stream.rtx_packets == 150);
    assert_eq!((stream.score, stream.repaired, stream.lost), (10, 0, 0));
    let told = report_blocks(&call.inbox(&mut alice).rtcp);
    assert!(told.len() >= 3 && told.iter().all(|block| block.cumulative_lost <= 2));
}

#[test]
fn retransmissions_without_need_lower_no_score_of_a_receiver() {
    let mut scores = Vec::new();
    for spurious in [0u16, 40] {
        let mut call = Call::new();
        let (mut alice, mut bob, _, consumer) = call.pair(video(1000), video_consumer(5000, "0"));
        for sequence in 0..100 {
            call.send(
                &mut alice,
                &video_packet(1000, sequence, 3000, sequence == 0),
            );
        }
        let got = call.inbox(&mut bob).rtp;
        let lost = got[20..25].iter().map(|packet| packet.sequence);
        let needless = got[30..][..usize::from(spurious)].iter();
        let asked: Vec<u16> = lost.chain(needless.map(|packet| packet.sequence)).collect();
        let mut out = vec![0; 1400];
        let len = nack::write(9, 5000, &asked, &mut out).unwrap().len;
        call.send_rtcp(&mut bob, &out[..len]);
        let block = ReportBlock {
            ssrc: 5000,
            cumulative_lost: 5,
            fraction_lost: 12,
            ..ReportBlock::default()
        };
        let len = rr::write(9, &[block], &mut out).unwrap();
        call.send_rtcp(&mut bob, &out[..len]);
        let figures = call.router.consumer_stats(consumer).unwrap();
        assert_eq!(figures.retransmitted, 5 + u64::from(spurious));
        scores.push(figures.score);
    }
    assert_eq!(scores, [10, 10]);
}

//! Faults applied to packets sealed as a router seals them, seen as a receiver with the keys sees them.
#![allow(clippy::unwrap_used)]

use meeshy_sfu_proto::net::SocketId;
use meeshy_sfu_proto::srtp::{MasterKey, SrtpProfile, SrtpRx};

use super::*;

const AUDIO: u8 = 100;
const VIDEO: u8 = 101;

struct Bench {
    faults: Faults,
    tx: SrtpTx,
    rx: SrtpRx,
    start: Instant,
}

#[derive(Clone, Copy)]
struct Sent {
    ssrc: u32,
    payload_type: u8,
    marker: bool,
    index: u64,
    timestamp: u32,
    fill: u8,
    stamped: bool,
}

/// What a receiver sees: SSRC, payload type, sequence number, timestamp and payload.
type Seen = (u32, u8, u16, u32, Vec<u8>);

fn to() -> Destination {
    Destination {
        socket: SocketId::UDP_V4,
        remote: "127.0.0.1:9".parse().unwrap(),
    }
}

fn audio(ssrc: u32, index: u64) -> Sent {
    Sent {
        ssrc,
        payload_type: AUDIO,
        marker: false,
        index,
        timestamp: index as u32 * 960,
        fill: ssrc as u8,
        stamped: true,
    }
}

/// A packet of a frame of two packets; the second has marker and stamp.
fn video(index: u64, key: bool) -> Sent {
    Sent {
        ssrc: 7,
        payload_type: VIDEO,
        marker: index % 2 == 1,
        index,
        timestamp: (index / 2) as u32 * 3000,
        fill: u8::from(!key),
        stamped: index % 2 == 1,
    }
}

fn payload_of(sent: &Sent) -> Vec<u8> {
    // Behind a VP8 payload descriptor with the start bit the first byte says whether it is a key frame.
    let mut payload = vec![sent.fill; 60];
    payload[0] = if sent.marker { 0 } else { 0x10 };
    if sent.stamped {
        payload.extend_from_slice(&STAMP_MAGIC);
        payload.resize(payload.len() + STAMP_LEN - STAMP_MAGIC.len(), sent.fill);
    }
    payload
}

impl Bench {
    fn new(profile: SrtpProfile, plan: Vec<Fault>) -> Bench {
        let master = MasterKey {
            key: vec![7; profile.key_len()],
            salt: vec![9; profile.salt_len()],
        };
        let start = Instant::now();
        let mut faults = Faults::new(start);
        faults.inject(1, plan, start).unwrap();
        Bench {
            faults,
            tx: SrtpTx::new(profile, &master),
            rx: SrtpRx::new(profile, &master),
            start,
        }
    }

    fn with(plan: Vec<Fault>) -> Bench {
        Bench::new(SrtpProfile::AeadAes128Gcm, plan)
    }

    fn at(&mut self, elapsed_ms: u64, sent: Sent) -> Vec<Seen> {
        let mut datagram = vec![0x80, sent.payload_type | u8::from(sent.marker) << 7];
        datagram.extend_from_slice(&(sent.index as u16).to_be_bytes());
        datagram.extend_from_slice(&sent.timestamp.to_be_bytes());
        datagram.extend_from_slice(&sent.ssrc.to_be_bytes());
        let payload = payload_of(&sent);
        datagram.resize(12 + payload.len() + self.tx.profile().rtp_overhead(), 0);
        let (ssrc, index) = (sent.ssrc, sent.index);
        self.tx
            .protect_rtp(&mut datagram, 12, &payload, ssrc, index);
        let open = self.faults.open(&self.tx, to(), &datagram).expect("opens");
        assert_eq!((&open.payload, open.index), (&payload, index));
        let sealed = self.faults.apply(to(), open, (elapsed_ms, 5));
        sealed.into_iter().map(|s| self.receive(s)).collect()
    }

    fn sends(&mut self, sent: Sent) -> Vec<Seen> {
        self.at(0, sent)
    }

    fn receive(&mut self, (packet, index): (Open, u64)) -> Seen {
        let mut datagram = packet.header.clone();
        let overhead = self.tx.profile().rtp_overhead();
        datagram.resize(12 + packet.payload.len() + overhead, 0);
        let payload = &packet.payload;
        self.tx
            .protect_rtp(&mut datagram, 12, payload, packet.ssrc, index);
        let mut out = vec![0; datagram.len()];
        let (seen, len) = self
            .rx
            .unprotect_rtp(&datagram, 12, &mut out)
            .expect("authentic and new");
        assert_eq!(seen, index);
        let header = RtpHeader::parse(&datagram).unwrap();
        out.truncate(len);
        (
            header.ssrc,
            header.payload_type,
            header.sequence,
            header.timestamp,
            out,
        )
    }
}

fn fault(kind: FaultKind) -> Fault {
    serde_json::from_value(serde_json::json!({ "kind": kind })).unwrap()
}

fn numbers(seen: &[Seen]) -> Vec<u16> {
    seen.iter().map(|s| s.2).collect()
}

#[test]
fn numbers_close_up_behind_what_was_withheld_with_either_cipher() {
    for profile in [SrtpProfile::AeadAes128Gcm, SrtpProfile::Aes128CmSha1_80] {
        let withhold = Fault {
            from_ms: 100,
            for_ms: Some(30),
            ..fault(FaultKind::Withhold)
        };
        let mut bench = Bench::new(profile, vec![withhold]);
        let seen: Vec<Seen> = (0..20)
            .flat_map(|n| bench.at(n * 10, audio(1, 65_530 + n)))
            .collect();
        // 17 of 20 across the roll-over of the sequence number.
        let expected: Vec<u16> = (0..17).map(|n| 65_530u16.wrapping_add(n)).collect();
        assert_eq!(numbers(&seen), expected);
        assert_eq!(bench.faults.log().acts.len(), 3);
        assert_eq!(bench.faults.log().reach[0].packets, 20);
    }
}

#[test]
fn numbers_stay_moved_when_faults_end() {
    let mut bench = Bench::with(vec![fault(FaultKind::Withhold)]);
    assert!(bench.sends(audio(1, 10)).is_empty());
    bench.faults.inject(1, Vec::new(), bench.start).unwrap();
    assert_eq!(numbers(&bench.sends(audio(1, 11))), [10]);
    assert_eq!(bench.faults.log().acts, []);
}

#[test]
fn a_stream_that_rolled_over_before_the_faults_is_opened() {
    let mut bench = Bench::with(Vec::new());
    let packet = audio(1, 3 << 16 | 5);
    // Receivers that joined at the start know the count.
    for start in (0..=180_000).step_by(30_000) {
        let sent = audio(1, start);
        let payload = payload_of(&sent);
        let open = Open {
            header: vec![0x80, AUDIO, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            payload,
            index: start,
            marker: false,
            payload_type: AUDIO,
            ssrc: 1,
        };
        bench.receive((open.written(1, start), start));
    }
    assert_eq!(numbers(&bench.sends(packet)), [5]);
}

#[test]
fn a_swapped_packet_carries_the_payload_of_another_participant() {
    let mut bench = Bench::with(vec![fault(FaultKind::Swap)]);
    assert_eq!(
        bench.sends(audio(1, 0))[0].4,
        payload_of(&audio(1, 0)),
        "nobody else yet"
    );
    assert_eq!(bench.sends(audio(2, 0))[0].4, payload_of(&audio(1, 0)));
    let swapped = bench.sends(audio(1, 1));
    assert_eq!((swapped[0].0, swapped[0].2), (1, 1));
    assert_eq!(swapped[0].4, payload_of(&audio(2, 0)));
    assert_eq!(bench.faults.log().acts.len(), 2);
    assert!(bench.faults.log().acts.iter().all(|act| act.stamped));
}

#[test]
fn a_copy_under_an_unasked_ssrc_leaves_the_stream_as_it_is() {
    let mut bench = Bench::with(vec![fault(FaultKind::UnaskedSsrc)]);
    for n in 0..3 {
        let seen = bench.sends(audio(1, n));
        assert_eq!(numbers(&seen), [n as u16, n as u16]);
        assert_eq!((seen[0].0, seen[1].0), (1, 1 ^ UNASKED));
        assert_eq!(seen[0].4, seen[1].4);
    }
}

#[test]
fn a_repeated_packet_takes_the_next_number() {
    let half = Fault {
        period_ms: Some(20),
        on_ms: 10,
        ..fault(FaultKind::Repeat)
    };
    let mut bench = Bench::with(vec![half]);
    let seen: Vec<Seen> = (0..4).flat_map(|n| bench.at(n * 10, audio(1, n))).collect();
    assert_eq!(numbers(&seen), [0, 1, 2, 3, 4, 5]);
    assert_eq!(seen[0].4, seen[1].4);
}

#[test]
fn damage_is_one_byte_in_the_stamp_or_before_it() {
    let mut bench = Bench::with(vec![fault(FaultKind::DamageStamp)]);
    let damaged = bench.sends(audio(1, 0));
    assert_eq!(changed(&damaged[0].4, &audio(1, 0)), [60 + STAMP_LEN / 2]);
    let bare = Sent {
        stamped: false,
        ..audio(1, 1)
    };
    assert!(changed(&bench.sends(bare)[0].4, &bare).is_empty());
    assert_eq!(bench.faults.log().acts.len(), 1);
    assert_eq!(
        bench.faults.log().reach[0],
        FaultReach {
            packets: 2,
            stamped: 1
        }
    );
    let mut bench = Bench::with(vec![fault(FaultKind::DamagePayload)]);
    assert_eq!(changed(&bench.sends(audio(1, 0))[0].4, &audio(1, 0)), [30]);
}

fn changed(payload: &[u8], sent: &Sent) -> Vec<usize> {
    let before = payload_of(sent);
    assert_eq!(payload.len(), before.len());
    (0..before.len())
        .filter(|&at| payload[at] != before[at])
        .collect()
}

#[test]
fn frames_are_torn_or_all_but_key_frames_withheld() {
    let mut torn = Bench::with(vec![fault(FaultKind::TearFrames)]);
    let seen: Vec<Seen> = (0..6).flat_map(|n| torn.sends(video(n, n < 2))).collect();
    assert_eq!(numbers(&seen), [0, 1, 2]);
    assert!(seen.iter().all(|s| is_stamped(&s.4)));
    let mut keys = Bench::with(vec![fault(FaultKind::OnlyKeyFrames)]);
    let is_key = |n| !(2..6).contains(&n);
    let seen: Vec<Seen> = (0..8)
        .flat_map(|n| keys.sends(video(n, is_key(n))))
        .collect();
    let times: Vec<u32> = seen.iter().map(|s| s.3).collect();
    assert_eq!(
        (numbers(&seen), times),
        (vec![0, 1, 2, 3], vec![0, 0, 9000, 9000])
    );
}

#[test]
fn whole_frames_are_chosen_where_frames_are_asked_for() {
    let half = Fault {
        share: 0.5,
        by_frame: true,
        ..fault(FaultKind::Withhold)
    };
    let mut bench = Bench::with(vec![half]);
    let seen: Vec<Seen> = (0..400).flat_map(|n| bench.sends(video(n, true))).collect();
    assert!(seen.chunks(2).all(|pair| pair[0].3 == pair[1].3));
    assert!((120..280).contains(&seen.len()), "{}", seen.len());
}

#[test]
fn numbers_timestamps_and_payload_types_change_as_asked() {
    let plan = [
        (FaultKind::Renumber, 10),
        (FaultKind::ShiftTimestamp, 5),
        (FaultKind::PayloadType, 99),
    ];
    let plan = plan.map(|(kind, amount)| Fault {
        amount,
        ..fault(kind)
    });
    let mut bench = Bench::with(plan.to_vec());
    let seen = [bench.sends(audio(1, 0)), bench.sends(audio(1, 1))].concat();
    assert_eq!(numbers(&seen), [10, 21]);
    assert_eq!((seen[1].1, seen[1].3), (99, 965));
}

#[test]
fn a_frozen_timestamp_stays_and_a_jittered_one_is_the_same_for_all_packets_of_a_frame() {
    let mut bench = Bench::with(vec![fault(FaultKind::FreezeTimestamp)]);
    let seen: Vec<u32> = (5..9).map(|n| bench.sends(audio(1, n))[0].3).collect();
    assert_eq!(seen, [4800; 4]);
    bench.faults.inject(1, Vec::new(), bench.start).unwrap();
    assert_eq!(
        bench.sends(audio(1, 9))[0].3,
        8640,
        "it ends with the fault"
    );

    let jitter = Fault {
        amount: 1000,
        ..fault(FaultKind::JitterTimestamp)
    };
    let mut bench = Bench::with(vec![jitter]);
    let moved: Vec<u32> = (0..80)
        .map(|n| bench.sends(video(n, false))[0].3 - video(n, false).timestamp)
        .collect();
    assert!(moved.chunks(2).all(|pair| pair[0] == pair[1]));
    assert!(moved.iter().all(|ticks| *ticks <= 1000));
    assert!(moved.iter().any(|ticks| *ticks != moved[0]));
}

#[test]
fn key_frames_alone_are_withheld_where_that_is_asked_for() {
    let mut bench = Bench::with(vec![fault(FaultKind::WithholdKeyFrames)]);
    let mut sends = |n, key| bench.sends(video(n, key)).len();
    let sent = [
        sends(0, true),
        sends(1, true),
        sends(2, false),
        sends(3, false),
    ];
    assert_eq!(sent, [0, 0, 1, 1]);
}

#[test]
fn an_echo_is_what_the_receiver_sent_and_the_other_kind_what_the_sender_did() {
    let to_one = to();
    let to_two = Destination {
        remote: "127.0.0.1:10".parse().unwrap(),
        ..to()
    };
    let mut bench = Bench::with(vec![]);
    let mut pass = |plan: Option<FaultKind>, to: Destination, sent: Sent, bot: u8| {
        if let Some(kind) = plan {
            bench
                .faults
                .inject(1, vec![fault(kind)], bench.start)
                .unwrap();
        }
        let mut payload = payload_of(&sent);
        if sent.stamped {
            let at = payload.len() - STAMP_LEN + STAMP_BOT;
            payload[at..at + 2].copy_from_slice(&[0, bot]);
        }
        let mut header = vec![0x80, sent.payload_type, 0, 0];
        header.extend_from_slice(&sent.timestamp.to_be_bytes());
        header.extend_from_slice(&sent.ssrc.to_be_bytes());
        let open = Open {
            header,
            payload: payload.clone(),
            index: sent.index,
            marker: sent.marker,
            payload_type: sent.payload_type,
            ssrc: sent.ssrc,
        };
        let out = bench.faults.apply(to, open, (0, 5)).remove(0).0.payload;
        (payload, out)
    };
    // Participant 2 sends to the first receiver, who is participant 1, and that one to the second.
    let (_, untouched) = pass(Some(FaultKind::Echo), to_one, audio(20, 0), 2);
    assert_eq!(untouched.len(), payload_of(&audio(20, 0)).len());
    pass(Some(FaultKind::Repeat), to_two, video(1, true), 1);
    let (own, _) = pass(Some(FaultKind::Swap), to_two, audio(10, 0), 1);
    let (_, echo) = pass(Some(FaultKind::Echo), to_one, audio(20, 1), 2);
    assert_eq!(echo, own);
    let (picture, _) = pass(Some(FaultKind::Echo), to_one, video(3, true), 2);
    let (_, other) = pass(Some(FaultKind::OtherKind), to_one, audio(20, 2), 2);
    assert_eq!(other, picture);
}

#[test]
fn faults_of_the_first_receivers_leave_the_others_alone() {
    let first = Fault {
        receivers: Some(1),
        ..fault(FaultKind::Withhold)
    };
    let mut bench = Bench::with(vec![first]);
    assert!(bench.sends(audio(1, 0)).is_empty());
    let other = Destination {
        remote: "127.0.0.1:10".parse().unwrap(),
        ..to()
    };
    let open = Open {
        header: vec![0x80, AUDIO, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        payload: vec![0; 50],
        index: 0,
        marker: false,
        payload_type: AUDIO,
        ssrc: 1,
    };
    assert_eq!(bench.faults.apply(other, open, (0, 0)).len(), 1);
    assert_eq!(bench.faults.log().reach[0].packets, 1);
}

#[test]
fn what_cannot_be_opened_is_left_alone() {
    let bench = Bench::with(vec![fault(FaultKind::Withhold)]);
    assert!(bench.faults.open(&bench.tx, to(), &[0x80; 60]).is_none());
    assert!(bench.faults.open(&bench.tx, to(), &[0x80; 13]).is_none());
}

//! What a fault does, to which packets and when: the part of the hook that knows no packet.
//!
//! # Job
//! Types of [`crate::Command::InjectFaults`] and [`crate::Command::FaultLog`], their checks, and the seeded choice
//! of packets. Altering packets is in the parent module.

use serde::{Deserialize, Serialize};

use crate::command_error::{CommandError, ErrorCode};

/// What is done to a packet on its way to a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// It is not sent, and the numbers behind it close up: nothing on the wire shows that it is missing.
    Withhold,
    /// Of each video frame all packets but the last are withheld, which leaves the stamp.
    TearFrames,
    /// All video but key frames is withheld.
    OnlyKeyFrames,
    /// Video key frames are withheld.
    WithholdKeyFrames,
    /// Its payload is the last one of another participant's stream to the same receiver.
    Swap,
    /// Its payload is the last one that the receiver itself sent, if the packet carries a stamp.
    Echo,
    /// Its payload is the last one of its sender's stream of the other kind, if the packet carries a stamp.
    OtherKind,
    /// It is sent again under the next number.
    Repeat,
    /// It is sent again under an SSRC that the receiver never asked for.
    UnaskedSsrc,
    /// It is sent with `amount` as payload type.
    PayloadType,
    /// One byte of its stamp is inverted; packets without a stamp are left alone.
    DamageStamp,
    /// One byte in the middle of its payload, before any stamp, is inverted.
    DamagePayload,
    /// `amount` sequence numbers are left out before it.
    Renumber,
    /// `amount` is added to its RTP timestamp.
    ShiftTimestamp,
    /// From 0 to `amount` is added to the RTP timestamp of its frame.
    JitterTimestamp,
    /// Its RTP timestamp is that of the stream's first packet the fault was applied to.
    FreezeTimestamp,
    /// Producers go on being forwarded when they are paused, although the command is answered as if they were not. It is
    /// about commands, not packets: it alters and logs none.
    IgnorePause,
}

/// One fault: what it does, to which packets, in which part of the time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What it does.
    pub kind: FaultKind,
    /// Payload types it applies to; none means all.
    #[serde(default)]
    pub payload_types: Vec<u8>,
    /// Share of packets that are chosen, 0 to 1.
    #[serde(default = "one")]
    pub share: f64,
    /// Choose whole frames, by their RTP timestamp.
    #[serde(default)]
    pub by_frame: bool,
    /// Only the first so many receivers, in the order in which they were sent something.
    #[serde(default)]
    pub receivers: Option<u32>,
    /// Milliseconds after the injection at which it begins.
    #[serde(default)]
    pub from_ms: u64,
    /// Milliseconds it lasts; null: for good.
    #[serde(default)]
    pub for_ms: Option<u64>,
    /// It acts in the first `on_ms` of each period of so many milliseconds; null: all the time.
    #[serde(default)]
    pub period_ms: Option<u64>,
    /// See `period_ms`.
    #[serde(default)]
    pub on_ms: u64,
    /// Numbers left out, ticks added, or the payload type, by kind.
    #[serde(default)]
    pub amount: u32,
}

/// One packet that a fault was applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultAct {
    /// Position of the fault in the list that was injected.
    pub fault: u32,
    /// When it was.
    pub unix_us: u64,
    /// Number of the receiver, in the order in which they were sent something.
    pub receiver: u32,
    /// SSRC towards the receiver.
    pub ssrc: u32,
    /// RTP timestamp, before any shift: the same for all packets of a frame.
    pub timestamp: u32,
    /// The packet carries a stamp of a bot of ours at its end.
    pub stamped: bool,
}

/// Packets that one fault could have been applied to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultReach {
    /// Packets of its payload types to its receivers since the injection.
    pub packets: u64,
    /// Those with a stamp of a bot of ours.
    pub stamped: u64,
}

/// Answer of [`crate::Command::FaultLog`]: what was done since the last injection of faults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultLog {
    /// When the faults were injected.
    pub since_unix_us: u64,
    /// Each packet, in order; at most [`MAX_ACTS`].
    pub acts: Vec<FaultAct>,
    /// Packets beyond those.
    pub not_listed: u64,
    /// One entry per fault.
    pub reach: Vec<FaultReach>,
}

/// Packets listed in a log at most.
pub const MAX_ACTS: usize = 200_000;

const fn one() -> f64 {
    1.0
}

impl Fault {
    /// Refuses what can never act, naming the field.
    pub(crate) fn check(&self) -> Result<(), CommandError> {
        let refuse = |problem: &str| {
            Err(CommandError::new(
                ErrorCode::InvalidArgument,
                format!("fault {:?}: {problem}", self.kind),
            ))
        };
        if !(0.0..=1.0).contains(&self.share) {
            return refuse("share must be from 0 to 1");
        }
        if self.payload_types.iter().any(|&pt| pt > 127) {
            return refuse("payload_types must be below 128");
        }
        if self.period_ms == Some(0) {
            return refuse("period_ms must not be 0; leave it out to act all the time");
        }
        if self.period_ms.is_some_and(|period| self.on_ms > period) {
            return refuse("on_ms must not be longer than period_ms");
        }
        if self.kind == FaultKind::PayloadType && self.amount > 127 {
            return refuse("amount, the payload type, must be below 128");
        }
        if self.kind == FaultKind::Renumber && !(1..=10_000).contains(&self.amount) {
            return refuse("amount, the numbers left out, must be from 1 to 10000");
        }
        if self.kind == FaultKind::IgnorePause
            && (!self.payload_types.is_empty() || self.share < 1.0 || self.receivers.is_some())
        {
            return refuse(
                "payload_types, share and receivers choose packets; leave them out, all producers are meant",
            );
        }
        Ok(())
    }

    /// Whether it applies to this payload type and receiver at all.
    pub(crate) fn reaches(&self, payload_type: u8, receiver: u32) -> bool {
        (self.payload_types.is_empty() || self.payload_types.contains(&payload_type))
            && self.receivers.is_none_or(|first| receiver < first)
    }

    /// Whether it acts this long after its injection.
    pub(crate) fn acts_at(&self, elapsed_ms: u64) -> bool {
        let Some(since) = elapsed_ms.checked_sub(self.from_ms) else {
            return false;
        };
        self.for_ms.is_none_or(|whole| since < whole)
            && self
                .period_ms
                .is_none_or(|period| since % period < self.on_ms)
    }

    /// Whether the n-th packet or frame of a stream is chosen: by seed, position, stream and number alone.
    pub(crate) fn chooses(&self, seed: u64, position: u32, stream: u32, number: u64) -> bool {
        if self.share >= 1.0 {
            return true;
        }
        let key = mixed(seed ^ mixed(u64::from(position) << 32 | u64::from(stream)));
        let unit = (mixed(key ^ number) >> 11) as f64 / (1u64 << 53) as f64;
        unit < self.share
    }
}

/// One step of SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) const fn mixed(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault() -> Fault {
        Fault {
            kind: FaultKind::Withhold,
            payload_types: Vec::new(),
            share: 1.0,
            by_frame: false,
            receivers: None,
            from_ms: 0,
            for_ms: None,
            period_ms: None,
            on_ms: 0,
            amount: 0,
        }
    }

    #[test]
    fn a_fault_acts_in_the_first_part_of_each_period_of_its_time() {
        let fault = Fault {
            from_ms: 1000,
            for_ms: Some(5000),
            period_ms: Some(2000),
            on_ms: 500,
            ..fault()
        };
        let acting: Vec<u64> = (0..8000)
            .step_by(250)
            .filter(|&ms| fault.acts_at(ms))
            .collect();
        assert_eq!(acting, [1000, 1250, 3000, 3250, 5000, 5250]);
    }

    #[test]
    fn a_fault_without_times_acts_from_its_injection_for_good() {
        assert!([0, 1, 1_000_000].iter().all(|&ms| fault().acts_at(ms)));
    }

    #[test]
    fn a_share_is_chosen_by_seed_and_number_alone() {
        let tenth = Fault {
            share: 0.1,
            ..fault()
        };
        let chosen = |seed, stream| -> Vec<u64> {
            (0..10_000)
                .filter(|&n| tenth.chooses(seed, 0, stream, n))
                .collect()
        };
        assert_eq!(chosen(1, 3), chosen(1, 3));
        assert_ne!(chosen(1, 3), chosen(2, 3));
        assert_ne!(chosen(1, 3), chosen(1, 4));
        // Three standard deviations of a binomial distribution.
        assert!((910..=1090).contains(&chosen(1, 3).len()));
    }

    #[test]
    fn the_bounds_of_a_share_are_none_and_all() {
        let none = Fault {
            share: 0.0,
            ..fault()
        };
        assert!(!(0..1000).any(|n| none.chooses(1, 0, 0, n)));
        assert!((0..1000).all(|n| fault().chooses(1, 0, 0, n)));
    }

    #[test]
    fn a_fault_reaches_its_payload_types_and_receivers_alone() {
        let some = Fault {
            payload_types: vec![100],
            receivers: Some(2),
            ..fault()
        };
        assert!(some.reaches(100, 1));
        assert!(!some.reaches(101, 1) && !some.reaches(100, 2));
        assert!(fault().reaches(127, 1000));
    }

    #[test]
    fn what_can_never_act_is_refused_by_its_field() {
        let refused = |change: fn(&mut Fault)| {
            let mut wrong = fault();
            change(&mut wrong);
            wrong.check().unwrap_err().message
        };
        assert!(refused(|f| f.share = 1.5).contains("share"));
        assert!(refused(|f| f.share = f64::NAN).contains("share"));
        assert!(refused(|f| f.payload_types = vec![128]).contains("payload_types"));
        assert!(refused(|f| f.period_ms = Some(0)).contains("period_ms"));
        let longer = |f: &mut Fault| (f.period_ms, f.on_ms) = (Some(10), 11);
        assert!(refused(longer).contains("on_ms"));
        let kinds = |f: &mut Fault| (f.kind, f.amount) = (FaultKind::PayloadType, 128);
        assert!(refused(kinds).contains("payload type"));
        assert!(refused(|f| f.kind = FaultKind::Renumber).contains("numbers left out"));
        let some = |f: &mut Fault| (f.kind, f.receivers) = (FaultKind::IgnorePause, Some(1));
        assert!(refused(some).contains("receivers"));
        assert!(fault().check().is_ok());
    }
}

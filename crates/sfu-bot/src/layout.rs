//! The fixed-size records that leave a pool as bytes: rows of counters, and records of what was sent and
//! received.
//!
//! # Job
//! Declares each record once and derives from it the little-endian bytes, their size and a numpy dtype, so that the
//! reading side builds its dtype from [`ConsumerRow::dtype`] and can never drift.
//!
//! # Invariants
//! - Fields are ordered so that numpy's packed layout is also naturally aligned: 8-byte fields first.
//! - 0 in a `*_unix_ns` field means "never".

use std::collections::VecDeque;

/// Flag of a sample: the frame was shown from the leg that received it.
pub const SAMPLE_SHOWN: u8 = 8;
/// Flag of a sample: the frame was not shown, because another leg brought it or brings the track.
pub const SAMPLE_SURPLUS: u8 = 16;

/// Flag of a sample: all of the frame came, but not as it was sent.
pub const SAMPLE_CORRUPT: u8 = 32;
/// Value of `whole_us`: a packet of the frame never came.
pub const NEVER_WHOLE: u32 = u32::MAX;

/// Value of `sender` in rows and samples when it is not known.
pub const UNKNOWN_SENDER: u16 = u16::MAX;

/// A field that knows its little-endian bytes and its numpy format.
trait Field {
    const FORMAT: &'static str;
    fn put(&self, out: &mut [u8]);
}

macro_rules! field {
    ($($type:ty => $format:literal),*) => {$(
        impl Field for $type {
            const FORMAT: &'static str = $format;
            fn put(&self, out: &mut [u8]) {
                out.copy_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}
field!(u64 => "<u8", i64 => "<i8", u32 => "<u4", u16 => "<u2", u8 => "|u1");

/// A record that leaves as bytes.
pub(crate) trait Record {
    /// Bytes of one record.
    const LEN: usize;
    fn append_to(&self, out: &mut VecDeque<u8>);
}

macro_rules! record {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct $name { $($(#[$fdoc])* pub $field: $type,)* }

        impl $name {
            /// Bytes of one record.
            pub const SIZE: usize = 0 $(+ size_of::<$type>())*;

            /// Name and numpy format of each field, in order: `numpy.dtype(ConsumerRow::dtype())`.
            pub fn dtype() -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($field), <$type as Field>::FORMAT)),*]
            }

            /// The record's little-endian bytes.
            pub fn to_bytes(&self) -> [u8; Self::SIZE] {
                let mut bytes = [0; Self::SIZE];
                let mut rest = &mut bytes[..];
                $(
                    let (field, after) = rest.split_at_mut(size_of::<$type>());
                    self.$field.put(field);
                    rest = after;
                )*
                debug_assert!(rest.is_empty());
                bytes
            }
        }

        impl Record for $name {
            const LEN: usize = Self::SIZE;
            fn append_to(&self, out: &mut VecDeque<u8>) {
                out.extend(&self.to_bytes());
            }
        }
    };
}

record! {
    /// Everything counted about one received stream. Rows of unconsumed streams and closed bots stay.
    ConsumerRow {
        /// When `consume` reached the bot.
        consumed_unix_ns: u64,
        /// Arrival of the first RTP packet.
        first_packet_unix_ns: u64,
        /// Arrival that completed the first decodable frame (video) or the first packet (audio).
        first_frame_unix_ns: u64,
        /// Arrival of the latest RTP packet.
        last_packet_unix_ns: u64,
        /// Arrival of the latest decodable frame (video) or packet (audio).
        last_frame_unix_ns: u64,
        /// Packets between the first and the highest sequence number seen, both included.
        expected: u64,
        /// Of these, received as originals (not as RTX), each once.
        received: u64,
        /// expected − received: lost before repair.
        lost: u64,
        /// Lost ones that came as RTX.
        repaired: u64,
        /// lost − repaired.
        lost_after_repair: u64,
        /// Packets received twice, under the same number.
        duplicates: u64,
        /// RTX of what was already there.
        surplus_repairs: u64,
        /// Originals that came after a higher sequence number.
        out_of_order: u64,
        /// Bytes of RTP datagrams received, headers and SRTP tag included, RTX included.
        bytes: u64,
        /// Video: complete frames that a decoder could use. Audio: packets.
        frames: u64,
        /// Complete video key frames.
        key_frames: u64,
        /// Complete video frames that were useless because an earlier one was missing.
        undecodable_frames: u64,
        /// Stamps read.
        stamps: u64,
        /// Packets that must carry a stamp and do not, or a damaged one.
        damaged_stamps: u64,
        /// Stamps whose bot or kind is not the announced one.
        foreign: u64,
        /// Packets whose RTP timestamp does not go on as the sender's does.
        timestamp_jumps: u64,
        /// Longest pause between frames, the present one included, microseconds.
        longest_gap_us: u64,
        /// Time spent in pauses longer than 500 ms, the present one included, microseconds.
        frozen_us: u64,
        /// Smallest one-way delay of a stamp, nanoseconds.
        owd_min_ns: i64,
        /// Largest one-way delay of a stamp, nanoseconds.
        owd_max_ns: i64,
        /// Caller's number of the stream.
        tag: u32,
        /// SSRC of the stream.
        ssrc: u32,
        /// Pauses longer than 500 ms.
        freezes: u32,
        /// Interarrival jitter (RFC 3550 §6.4.1), microseconds.
        jitter_us: u32,
        /// Sequence numbers requested by NACK, repeats included.
        nacks: u32,
        /// Key frames requested.
        plis: u32,
        /// RTX packets received.
        rtx_packets: u32,
        /// Sequence numbers given up.
        given_up: u32,
        /// Bot that receives.
        bot: u16,
        /// Bot announced as sender; 65535 unknown.
        sender: u16,
        /// 0 audio, 1 video.
        kind: u8,
        /// Bit 0 still consumed, bit 1 frozen now, bit 2 waits for a key frame.
        flags: u8,
        /// Zero.
        reserved: u16,
    }
}

record! {
    /// Everything counted about one sent stream.
    SenderRow {
        /// When `start_sending` reached the bot.
        started_unix_ns: u64,
        /// When the first packet was handed to the socket.
        first_packet_unix_ns: u64,
        /// When the latest packet was handed to the socket.
        last_packet_unix_ns: u64,
        /// Packets sent, without RTX.
        packets: u64,
        /// Bytes of RTP datagrams sent, headers and SRTP tag included, RTX included.
        bytes: u64,
        /// Frames (video) or packets (audio) sent.
        frames: u64,
        /// Key frames the clip itself had at that point.
        key_frames: u64,
        /// Key frames sent because the server requested one.
        requested_key_frames: u64,
        /// Stamps written.
        stamps: u64,
        /// Packets sent again as RTX.
        rtx_packets: u64,
        /// SSRC of the stream.
        ssrc: u32,
        /// Sequence numbers the server requested.
        nacks: u32,
        /// Requested, but no longer in the history.
        nack_misses: u32,
        /// PLI and FIR received.
        plis: u32,
        /// Round trip to the server by its receiver reports, microseconds; 0 unknown.
        rtt_us: u32,
        /// Cumulative loss in the server's latest receiver report.
        remote_lost: u32,
        /// Bot that sends.
        bot: u16,
        /// 0 audio, 1 video.
        kind: u8,
        /// Bit 0 sending now.
        flags: u8,
        /// Transport-wide feedback messages received on the transport.
        feedbacks: u32,
    }
}

record! {
    /// One stamp that arrived, noted once its frame is whole or given up.
    Sample {
        /// Arrival by the kernel's clock plus the emulated link's delay, Unix nanoseconds.
        recv_unix_ns: u64,
        /// One-way delay: arrival minus the time in the stamp, nanoseconds.
        owd_ns: i64,
        /// Sequence number in the stamp; consecutive per sender and kind.
        seq: u32,
        /// From its arrival until all of its frame was there, microseconds; [`NEVER_WHOLE`] if that never was.
        whole_us: u32,
        /// Bot that received.
        receiver: u16,
        /// Bot in the stamp.
        sender: u16,
        /// 0 audio, 1 video.
        kind: u8,
        /// Bit 0 came as RTX, bit 1 foreign, bit 2 key frame; legs of a participant: bit 3 shown, bit 4 not shown because
        /// another leg brought it; bit 5 not as it was sent.
        flags: u8,
        /// Zero.
        reserved: u16,
    }
}

record! {
    /// One stamped frame that was sent.
    SentFrame {
        /// The time in its stamp, Unix nanoseconds.
        sent_unix_ns: u64,
        /// Sequence number in its stamp.
        seq: u32,
        /// Bytes of its payloads.
        bytes: u32,
        /// Bot in its stamp.
        sender: u16,
        /// Bot that sent it: one of the legs of a participant.
        bot: u16,
        /// Its packets.
        packets: u16,
        /// 0 audio, 1 video.
        kind: u8,
        /// Bit 2 key frame, bit 6 a comfort frame: silence follows.
        flags: u8,
    }
}

/// Flag of a sent frame: a key frame.
pub(crate) const SENT_KEY: u8 = 1 << 2;
/// Flag of a sent frame: it describes the silence until the next one, which may be 400 ms later.
pub(crate) const SENT_COMFORT: u8 = 1 << 6;

record! {
    /// A time in which a stream brought nothing, once it is over.
    Pause {
        /// Arrival of the frame before it, Unix nanoseconds.
        began_unix_ns: u64,
        /// Arrival of the frame after it.
        ended_unix_ns: u64,
        /// Bot that received.
        receiver: u16,
        /// Bot announced as sender; 65535 unknown.
        sender: u16,
        /// 0 audio, 1 video.
        kind: u8,
        /// Zero.
        padding: u8,
        /// Zero.
        reserved: u16,
    }
}

record! {
    /// What one bot received and could not attribute. Rows of closed bots stay.
    BotRow {
        /// Samples noted.
        samples: u64,
        /// RTP of SSRCs that were not announced in time.
        unknown_ssrc: u64,
        /// RTP of SSRCs that may still be announced.
        unknown_ssrc_open: u64,
        /// RTP and RTCP with a wrong authentication tag.
        unauthentic: u64,
        /// RTP of a known SSRC with another payload type.
        payload_type: u64,
        /// Packets that must carry a stamp and do not, or a damaged one.
        damaged_stamps: u64,
        /// What is no packet of any protocol spoken here, or RTP where none is received.
        malformed: u64,
        /// Packets whose RTP timestamp does not go on as the sender's does.
        timestamp_jumps: u64,
        /// Times in which a video could not go on and a key frame was asked for.
        key_frame_requests: u64,
        /// Of these, those in which none came in time.
        late_key_frames: u64,
        /// Lost packets that came when they were asked for.
        repaired: u64,
        /// Lost packets that were asked for and never came.
        unrepaired: u64,
        /// How long the received stream that waits longest flows without a sender report, milliseconds.
        sender_report_wait_ms: u32,
        /// How long the sent stream that waits longest is sent without a receiver report on it, milliseconds.
        receiver_report_wait_ms: u32,
        /// How long media is sent without transport-wide feedback, milliseconds; 0 where none ever came.
        feedback_wait_ms: u32,
        /// The bot.
        bot: u16,
        /// Zero.
        padding: u16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_as_long_as_its_dtype_says() {
        for (size, dtype) in [
            (ConsumerRow::SIZE, ConsumerRow::dtype()),
            (SenderRow::SIZE, SenderRow::dtype()),
            (Sample::SIZE, Sample::dtype()),
            (SentFrame::SIZE, SentFrame::dtype()),
            (Pause::SIZE, Pause::dtype()),
            (BotRow::SIZE, BotRow::dtype()),
        ] {
            let sum: usize = dtype
                .iter()
                .map(|(_, format)| usize::from(format.as_bytes()[2] - b'0'))
                .sum();
            assert_eq!(size, sum);
            assert_eq!(size % 8, 0, "rows stay aligned in an array");
        }
        assert_eq!(Sample::SIZE, 32);
    }

    #[test]
    fn bytes_are_little_endian_in_field_order() {
        let out = Sample {
            recv_unix_ns: 1,
            owd_ns: -1,
            seq: 2,
            whole_us: 3,
            receiver: 4,
            sender: 5,
            kind: 1,
            flags: 6,
            reserved: 0,
        }
        .to_bytes();
        assert_eq!(out.len(), Sample::SIZE);
        assert_eq!(out[0], 1);
        assert_eq!(out[8..16], [255; 8]);
        assert_eq!(out[16], 2);
        assert_eq!(out[24..26], [4, 0]);
        assert_eq!(out[28], 1);
    }
}

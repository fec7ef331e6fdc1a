//! NTP time in RTCP: 32.32 seconds since 1900, and its middle 32 bits.
//!
//! RFC 3550 §4.

use std::time::Duration;

/// Seconds from 1900 to 1970 (RFC 868).
const UNIX_EPOCH_S: u64 = 2_208_988_800;

/// NTP time of a time since the Unix epoch; its seconds wrap in 2036, as NTP's do.
#[must_use]
pub const fn from_unix(time: Duration) -> u64 {
    let seconds = (time.as_secs() + UNIX_EPOCH_S) & 0xffff_ffff;
    let fraction = ((time.subsec_nanos() as u64) << 32) / 1_000_000_000;
    seconds << 32 | fraction
}

/// The middle 32 bits, 16.16 seconds: what LSR and LRR hold.
#[inline]
#[must_use]
pub const fn compact(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// A duration in units of 1/65536 s: what DLSR and DLRR hold; saturates at 18 hours.
#[must_use]
pub const fn compact_duration(duration: Duration) -> u32 {
    let units = duration.as_nanos() * 65_536 / 1_000_000_000;
    if units > u32::MAX as u128 {
        u32::MAX
    } else {
        units as u32
    }
}

/// The duration of `units` of 1/65536 s.
#[must_use]
pub const fn duration_from_compact(units: u32) -> Duration {
    Duration::from_nanos(units as u64 * 1_000_000_000 / 65_536)
}

/// Returns the round-trip time of a report that arrives at `now` and answers `last` after `delay`, all compact (RFC
/// 3550 §6.4.1).
///
/// `None` if nothing was answered yet, or if the clocks make it negative.
#[must_use]
pub const fn round_trip(now: u32, last: u32, delay: u32) -> Option<Duration> {
    if last == 0 {
        return None;
    }
    let elapsed = now.wrapping_sub(last).wrapping_sub(delay);
    // Rounding at both ends may make a very short round trip slightly negative; more than that is invalid.
    if elapsed > u32::MAX / 2 {
        return None;
    }
    Some(duration_from_compact(elapsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_time_converts_as_known() {
        // 2020-09-13T12:26:40.5Z is 1600000000.5 s of Unix time.
        let ntp = from_unix(Duration::from_millis(1_600_000_000_500));
        assert_eq!(ntp, 3_808_988_800 << 32 | 1 << 31);
        assert_eq!(compact(ntp), (3_808_988_800u64 << 16) as u32 | 0x8000);
    }

    #[test]
    fn seconds_wrap_with_the_era() {
        assert_eq!(from_unix(Duration::from_secs((1 << 32) - UNIX_EPOCH_S)), 0);
    }

    #[test]
    fn a_round_trip_is_what_was_not_spent_waiting() {
        let sent = 0xffff_8000; // half a second before the compact form wraps
        let now = 0x0001_0000;
        let round_trip = round_trip(now, sent, compact_duration(Duration::from_millis(1400)));
        let got = round_trip.expect("answered").as_micros();
        assert!((99_900..=100_100).contains(&got), "{got}");
        assert_eq!(super::round_trip(now, 0, 0), None);
        assert_eq!(super::round_trip(now, now, 5), None);
    }

    #[test]
    fn long_delays_saturate() {
        assert_eq!(compact_duration(Duration::from_hours(24)), u32::MAX);
    }
}

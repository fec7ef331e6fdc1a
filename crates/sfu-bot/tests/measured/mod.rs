//! Reading a pool's records in tests, and waiting for them to say something.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::time::{Duration, Instant};

use meeshy_sfu_bot::{BotPool, ConsumerRow, SenderRow};

/// A field of little-endian records, found by the name in the dtype.
pub fn column(bytes: &[u8], size: usize, dtype: &[(&str, &str)], name: &str) -> Vec<i64> {
    let mut at = 0;
    let mut found = None;
    for (field, format) in dtype {
        let width = usize::from(format.as_bytes()[2] - b'0');
        if *field == name {
            found = Some((at, width));
        }
        at += width;
    }
    let (at, width) = found.unwrap_or_else(|| panic!("no field {name}"));
    let read = |record: &[u8]| {
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(&record[at..at + width]);
        i64::from_le_bytes(wide)
    };
    bytes.chunks(size).map(read).collect()
}

pub fn rows(pool: &BotPool, name: &str) -> Vec<i64> {
    column(&pool.rows(), ConsumerRow::SIZE, &ConsumerRow::dtype(), name)
}

pub fn sent(pool: &BotPool, name: &str) -> Vec<i64> {
    column(
        &pool.sender_rows(),
        SenderRow::SIZE,
        &SenderRow::dtype(),
        name,
    )
}

pub fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The sum of a field over the video streams received.
pub fn video_sum(pool: &BotPool, name: &str) -> i64 {
    let kinds = rows(pool, "kind");
    rows(pool, name)
        .iter()
        .zip(kinds)
        .map(|(&value, kind)| value * kind)
        .sum()
}

//! Identifies the run of a stream that a packet belongs to, and the packet's place in the history.
//!
//! # Invariants
//! - A stream makes its own `Source`s; no two runs of the live streams of a router are equal. Comparing sources is
//!   the only test of whether a packet continues a run.
//! - Only `munger` makes a `Place`, from the source an `out_seq` was assigned for: looking up an outgoing sequence
//!   number never returns a packet of another stream.

/// A stream and its current run. A run ends when the SSRC changes or the sequence numbers jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Source {
    stream: u32,
    run: u32,
}

/// Marks a source as detached; not part of the run's number.
const DETACHED: u32 = 1 << 31;

impl Source {
    /// The source of no stream.
    pub(crate) const NONE: Self = Self {
        stream: u32::MAX,
        run: u32::MAX,
    };

    /// Returns the first run of the stream with this key.
    pub(crate) fn first(stream: u32) -> Self {
        Self { stream, run: 0 }
    }

    /// Returns the following run.
    pub(crate) fn next(self) -> Self {
        Self {
            run: self.run.wrapping_add(1) & !DETACHED,
            ..self
        }
    }

    /// Returns the preceding run.
    pub(crate) fn previous(self) -> Self {
        Self {
            run: self.run.wrapping_sub(1) & !DETACHED,
            ..self
        }
    }

    /// Returns the same run, marked so that it equals no source of a stream.
    pub(crate) fn detached(self) -> Self {
        Self {
            run: self.run | DETACHED,
            ..self
        }
    }

    /// Whether both are the same run, detached or not.
    pub(crate) fn is_same_run(self, other: Self) -> bool {
        self.detached() == other.detached()
    }

    pub(crate) fn is_same_stream(self, other: Self) -> bool {
        self.stream == other.stream
    }

    /// Returns the place of the packet with this stream index.
    pub(super) fn place(self, index: u64) -> Place {
        Place {
            stream: self.stream,
            index,
        }
    }
}

/// One packet of one stream. Stream indices are never reused, not even by later runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    stream: u32,
    index: u64,
}

impl Place {
    /// Returns the key of the stream.
    pub(crate) fn stream(self) -> u32 {
        self.stream
    }

    /// Returns the index in that stream.
    pub(crate) fn index(self) -> u64 {
        self.index
    }
}

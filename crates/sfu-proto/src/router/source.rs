//! Names for where a packet came from: the run of a stream it belongs to, and its place in the history.
//!
//! # Invariants
//! - A `Source` is made by the stream it names; no two runs of any streams of a router that live at one time are
//!   equal. What continues a run, and what a new one, is told by comparing sources and by nothing else.
//! - A `Place` is made by `munger` alone, from the source an own number was given for: whoever looks a packet up by
//!   an outgoing number cannot take the history of another stream.

/// A stream and the run of it that is on: a stream that starts anew, or goes on elsewhere, has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Source {
    stream: u32,
    run: u32,
}

/// The bit of a run that is not part of its number.
const DETACHED: u32 = 1 << 31;

impl Source {
    /// No stream's.
    pub(crate) const NONE: Self = Self {
        stream: u32::MAX,
        run: u32::MAX,
    };

    /// The first run of the stream with this key.
    pub(crate) fn first(stream: u32) -> Self {
        Self { stream, run: 0 }
    }

    /// The run that follows.
    pub(crate) fn next(self) -> Self {
        Self {
            run: self.run.wrapping_add(1) & !DETACHED,
            ..self
        }
    }

    /// The run before.
    pub(crate) fn previous(self) -> Self {
        Self {
            run: self.run.wrapping_sub(1) & !DETACHED,
            ..self
        }
    }

    /// The same, but equal to none that a stream has.
    pub(crate) fn detached(self) -> Self {
        Self {
            run: self.run | DETACHED,
            ..self
        }
    }

    /// True if it is the same run, apart or not.
    pub(crate) fn is_same_run(self, other: Self) -> bool {
        self.detached() == other.detached()
    }

    pub(crate) fn is_same_stream(self, other: Self) -> bool {
        self.stream == other.stream
    }

    /// The packet with this stream index.
    pub(super) fn place(self, index: u64) -> Place {
        Place {
            stream: self.stream,
            index,
        }
    }
}

/// One packet of one stream. Indices of a stream are never given twice, whatever its runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    stream: u32,
    index: u64,
}

impl Place {
    /// Key of the stream.
    pub(crate) fn stream(self) -> u32 {
        self.stream
    }

    /// Index in that stream, and no other.
    pub(crate) fn index(self) -> u64 {
        self.index
    }
}

//! Counters, each with the metric that operators see it as.
//!
//! # Job
//! [`counters!`](crate::counters) declares a struct of counters and their metrics in one place; whoever counts adds to
//! a field. Reading them and giving them to operators belongs to the worker.
//!
//! # Invariants
//! - Names follow Prometheus: a plural, the unit last, without the `_total` that is added when it is shown.
//! - Label values are written here: their number is known and small.

/// A metric of counters: its name, its labels, and what it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterFamily {
    /// Name without prefix and `_total`.
    pub name: &'static str,
    /// Names of the labels, which tell its counters apart.
    pub labels: &'static [&'static str],
    /// What it counts, a sentence.
    pub help: &'static str,
}

/// Declares a struct of counters and the metrics they are shown as.
///
/// ```
/// meeshy_sfu_proto::counters! {
///     /// What a gate counts.
///     pub struct Gate {
///         "packets", ["direction"], "Packets that went through." => {
///             received: ["in"],
///             sent: ["out"],
///         }
///         "alarms", [], "Alarms." => { alarms: [], }
///     }
/// }
///
/// let mut gate = Gate { received: 2, ..Gate::default() };
/// gate.add(&Gate { received: 1, alarms: 1, ..Gate::default() });
/// let mut seen = Vec::new();
/// gate.visit(|name, labels, count| seen.push((name, labels.to_vec(), count)));
/// assert_eq!(seen[0], ("packets", vec!["in"], 3));
/// assert_eq!(Gate::FAMILIES[0].labels, ["direction"]);
/// ```
#[macro_export]
macro_rules! counters {
    ($(#[$meta:meta])* $visibility:vis struct $name:ident {
        $(
            $metric:literal, [$($label:literal),*], $help:literal => {
                $($field:ident: [$($value:literal),*],)+
            }
        )+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        $visibility struct $name {
            $($(#[doc = concat!($help, " Labels: ", stringify!($($value),*))] pub $field: u64,)+)+
        }

        impl $name {
            /// The metrics.
            pub const FAMILIES: &'static [$crate::metrics::CounterFamily] = &[
                $($crate::metrics::CounterFamily {
                    name: $metric,
                    labels: &[$($label),*],
                    help: $help,
                },)+
            ];

            /// Adds the counts of another.
            pub fn add(&mut self, more: &Self) {
                $($(self.$field += more.$field;)+)+
            }

            /// Calls `visit` with the metric, the values of its labels and the count of each counter.
            pub fn visit(&self, mut visit: impl FnMut(&'static str, &'static [&'static str], u64)) {
                $($(visit($metric, &[$($value),*], self.$field);)+)+
            }
        }
    };
}

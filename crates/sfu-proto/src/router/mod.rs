//! The forwarding engine of one call: packets of producers in, copies for all consumers out.
//!
//! One noun, one file: `router` owns the objects, `ingest` and `egress` are the two halves of the packet path,
//! `feedback` and `report` the two directions of RTCP, `timer` handles timeouts. The owner drives everything:
//! datagrams in, datagrams out, `now` as an argument.

mod admission;
pub(crate) mod clock;
pub mod config;
mod consumer;
mod counters;
mod egress;
pub mod event;
mod feedback;
mod figures;
mod ingest;
mod keyframe;
pub mod layers;
pub(crate) mod mapping;
mod munger;
mod nack;
mod observer;
mod passthrough;
mod prefetch;
pub(crate) mod producer;
mod rate;
mod renumber;
mod report;
mod retired;
mod ring;
#[allow(clippy::module_inception)]
mod router;
mod rtx;
mod score;
mod selection;
mod slab;
mod source;
mod stream;
mod template;
mod timer;
mod transport;

pub use crate::rtp::payload::Codec;
pub use config::{
    ConsumeError, ConsumerCodec, ConsumerConfig, ConsumerKey, EncodingConfig, Endpoint, MediaKind,
    ProduceError, ProducerCodec, ProducerConfig, ProducerKey, RouterConfig, RouterError,
    TransportConfig, TransportKey,
};
pub use counters::Counters;
pub use event::{
    ConsumerStats, Drops, RouterEvent, RouterStats, StreamScore, StreamStats, TransportStats,
};
pub use layers::Layers;
pub use prefetch::PrefetchStep;
pub use router::Router;

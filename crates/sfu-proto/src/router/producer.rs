//! One incoming track: its parameters and its consumers.
//!
//! # Job
//! Holds the parameters and the list of consumers; its encoded streams are `stream::StreamRx`, one for each encoding,
//! found by the router's keys. Finding the producer of a packet belongs to `transport`.
//!
//! # Invariants
//! - `receivers` are the consumers that are not paused, densely stored: the packet path iterates them only.

use super::config::{MediaKind, ProducerCodec, ProducerConfig};
use super::passthrough;
use crate::rtp::ExtensionUri;

/// Payload type that stands for none.
pub(crate) const NO_PAYLOAD_TYPE: u8 = 0xff;
/// Codecs a producer may have.
pub(crate) const MAX_CODECS: usize = 8;

/// Extension ids of a peer, looked up once per element of each packet.
#[derive(Clone, Debug)]
pub(crate) struct IdTable([u8; 256]);

impl IdTable {
    pub(crate) fn new() -> Self {
        Self([0; 256])
    }

    pub(crate) fn insert(&mut self, id: u8, uri: ExtensionUri) {
        self.0[usize::from(id)] = uri as u8 + 1;
    }

    #[inline]
    pub(crate) fn get(&self, id: u8) -> Option<ExtensionUri> {
        match self.0[usize::from(id)] {
            0 => None,
            position => ExtensionUri::ALL.get(usize::from(position) - 1).copied(),
        }
    }
}

/// Whether an extension id applies to the whole transport; other ids apply to one producer.
pub(crate) fn is_transport_wide(uri: ExtensionUri) -> bool {
    matches!(
        uri,
        ExtensionUri::Mid
            | ExtensionUri::Rid
            | ExtensionUri::RepairedRid
            | ExtensionUri::AbsSendTime
            | ExtensionUri::TransportWideCc
    )
}

/// A consumer that is not paused, and its transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receiver {
    pub(crate) consumer: u32,
    pub(crate) transport: u32,
}

/// One incoming track.
#[derive(Debug)]
pub(crate) struct Producer {
    pub(crate) receivers: Vec<Receiver>,
    /// All consumers, paused ones included.
    pub(crate) consumers: Vec<u32>,
    pub(crate) paused: bool,
    pub(crate) kind: MediaKind,
    /// Position among the speakers of the observers.
    pub(crate) speaker: Option<usize>,
    pub(crate) ids: IdTable,
    pub(crate) codecs: Vec<ProducerCodec>,
    pub(crate) streams: Vec<u32>,
    /// The encoding that a consumer without a preference gets.
    pub(crate) default_encoding: u8,
    pub(crate) transport: u32,
    pub(crate) mid: Option<String>,
    pub(crate) has_passthrough: bool,
}

impl Producer {
    pub(crate) fn new(transport: u32, config: &ProducerConfig) -> Self {
        let mut ids = IdTable::new();
        let mut has_passthrough = false;
        for (uri, id) in &config.header_extensions {
            if !is_transport_wide(*uri) {
                ids.insert(*id, *uri);
                has_passthrough |= passthrough::position(*uri).is_some();
            }
        }
        Self {
            receivers: Vec::new(),
            consumers: Vec::new(),
            paused: config.paused,
            kind: config.kind,
            speaker: None,
            ids,
            codecs: config.codecs.clone(),
            streams: Vec::new(),
            default_encoding: 0,
            transport,
            mid: config.mid.clone(),
            has_passthrough,
        }
    }

    /// Adds a consumer that became active, or removes one that became inactive.
    pub(crate) fn set_receiver(&mut self, receiver: Receiver, active: bool) {
        self.receivers.retain(|known| *known != receiver);
        if active {
            self.receivers.push(receiver);
        }
    }

    /// Returns the index of the media codec with this payload type.
    #[inline]
    pub(crate) fn codec_of(&self, payload_type: u8) -> Option<u8> {
        self.codecs
            .iter()
            .position(|codec| codec.payload_type == payload_type)
            .map(|position| position as u8)
    }

    /// Returns the index of the media codec whose RTX has this payload type.
    pub(crate) fn codec_of_rtx(&self, payload_type: u8) -> Option<u8> {
        self.codecs
            .iter()
            .position(|codec| codec.rtx_payload_type == Some(payload_type))
            .map(|position| position as u8)
    }
}

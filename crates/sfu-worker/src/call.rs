//! One router with the caller's handles for what is in it.
//!
//! # Job
//! Maps handles to the router's dense keys and back, and keeps both sides in step as things close. What
//! the router does with packets is its own business.
//!
//! # Invariants
//! - A handle is in the maps exactly as long as the router has the object.

use std::collections::HashMap;
use std::time::Instant;

use meeshy_sfu_proto::router::{ConsumerKey, ProducerKey, Router, TransportKey};
use meeshy_sfu_proto::timers::Timers;

use crate::command::{ConsumerId, ProducerId, RouterId, TransportId};
use crate::demux::Entries;

/// A router and its handles.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) id: RouterId,
    pub(crate) router: Router,
    pub(crate) transports: Handles<TransportId, TransportRecord>,
    pub(crate) producers: Handles<ProducerId, ProducerRecord>,
    pub(crate) consumers: Handles<ConsumerId, ConsumerRecord>,
    /// It has had input since the last flush.
    pub(crate) dirty: bool,
}

/// What the worker keeps of a transport.
#[derive(Debug, Default)]
pub(crate) struct TransportRecord {
    pub(crate) entries: Entries,
}

/// What the worker keeps of a producer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProducerRecord {
    pub(crate) transport: TransportId,
    pub(crate) video: bool,
}

/// What the worker keeps of a consumer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConsumerRecord {
    pub(crate) transport: TransportId,
    pub(crate) producer: ProducerId,
}

impl Call {
    pub(crate) fn new(id: RouterId, router: Router) -> Call {
        Call {
            id,
            router,
            transports: Handles::default(),
            producers: Handles::default(),
            consumers: Handles::default(),
            dirty: false,
        }
    }

    pub(crate) fn transport_key(&self, id: TransportId) -> Option<TransportKey> {
        self.transports.key(id).map(TransportKey)
    }

    pub(crate) fn producer_key(&self, id: ProducerId) -> Option<ProducerKey> {
        self.producers.key(id).map(ProducerKey)
    }

    pub(crate) fn consumer_key(&self, id: ConsumerId) -> Option<ConsumerKey> {
        self.consumers.key(id).map(ConsumerKey)
    }
}

/// Handles of one kind of object, both ways, with a record each.
#[derive(Debug)]
pub(crate) struct Handles<Id, Record> {
    keys: HashMap<Id, u32>,
    records: Vec<Option<(Id, Record)>>,
}

impl<Id, Record> Default for Handles<Id, Record> {
    fn default() -> Self {
        Handles {
            keys: HashMap::new(),
            records: Vec::new(),
        }
    }
}

impl<Id: Copy + Eq + std::hash::Hash, Record> Handles<Id, Record> {
    pub(crate) fn insert(&mut self, id: Id, key: u32, record: Record) {
        let position = key as usize;
        if self.records.len() <= position {
            self.records.resize_with(position + 1, || None);
        }
        self.records[position] = Some((id, record));
        self.keys.insert(id, key);
    }

    pub(crate) fn key(&self, id: Id) -> Option<u32> {
        self.keys.get(&id).copied()
    }

    pub(crate) fn id(&self, key: u32) -> Option<Id> {
        self.records.get(key as usize)?.as_ref().map(|(id, _)| *id)
    }

    pub(crate) fn record(&self, key: u32) -> Option<&Record> {
        self.records
            .get(key as usize)?
            .as_ref()
            .map(|(_, record)| record)
    }

    pub(crate) fn record_mut(&mut self, key: u32) -> Option<&mut Record> {
        self.records
            .get_mut(key as usize)?
            .as_mut()
            .map(|(_, record)| record)
    }

    pub(crate) fn remove(&mut self, key: u32) -> Option<(Id, Record)> {
        let (id, record) = self.records.get_mut(key as usize)?.take()?;
        self.keys.remove(&id);
        Some((id, record))
    }

    /// All of them, by ascending key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, Id, &Record)> {
        let slots = self.records.iter().enumerate();
        slots.filter_map(|(key, slot)| slot.as_ref().map(|(id, r)| (key as u32, *id, r)))
    }
}

/// Calls by position and by handle.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    slots: Vec<Option<Box<Call>>>,
    free: Vec<u32>,
    positions: HashMap<RouterId, u32>,
    /// When each router wants its next `handle_timeout`.
    pub(crate) timers: Timers<Instant>,
}

impl Calls {
    /// Adds a call; false when its handle is taken.
    pub(crate) fn insert(&mut self, call: Call) -> bool {
        if self.positions.contains_key(&call.id) {
            return false;
        }
        let position = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        self.positions.insert(call.id, position);
        self.slots[position as usize] = Some(Box::new(call));
        true
    }

    pub(crate) fn position(&self, id: RouterId) -> Option<u32> {
        self.positions.get(&id).copied()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, position: u32) -> Option<&mut Call> {
        self.slots.get_mut(position as usize)?.as_deref_mut()
    }

    pub(crate) fn remove(&mut self, position: u32) -> Option<Box<Call>> {
        let call = self.slots.get_mut(position as usize)?.take()?;
        self.positions.remove(&call.id);
        self.free.push(position);
        self.timers.set(position, None);
        Some(call)
    }

    pub(crate) fn positions(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self.positions.values().copied().collect();
        all.sort_unstable();
        all
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Call> {
        self.slots.iter().filter_map(Option::as_deref)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Call> {
        self.slots.iter_mut().filter_map(Option::as_deref_mut)
    }

    /// How many there are.
    #[cfg(any(test, feature = "bench"))]
    pub(crate) fn len(&self) -> usize {
        self.positions.len()
    }
}

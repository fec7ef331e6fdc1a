//! Checks before a producer or consumer is created.
//!
//! # Job
//! Refuses parameters that would make packets on a transport ambiguous. Which codecs a call uses, and who may
//! produce, is decided by the control plane.
//!
//! # Invariants
//! - Changes nothing: a refused producer or consumer leaves no state behind.

use super::Router;
use super::config::{
    ConsumeError, ConsumerConfig, EncodingConfig, ProduceError, ProducerCodec, ProducerConfig,
    TransportKey,
};
use super::producer::{MAX_CODECS, Producer};
use super::transport::Transport;
use crate::rtp::payload::Codec;

/// Encodings a producer may announce.
const MAX_ENCODINGS: usize = 8;

impl Router {
    pub(super) fn check_producer(
        &self,
        transport: TransportKey,
        config: &ProducerConfig,
    ) -> Result<(), ProduceError> {
        let entry = self
            .transports
            .get(transport.0)
            .ok_or(ProduceError::UnknownTransport)?;
        check_codecs(&config.codecs)?;
        if config.header_extensions.iter().any(|(_, id)| *id == 0) {
            return Err(ProduceError::ExtensionId);
        }
        check_encodings(config)?;
        check_ssrcs(&config.encodings, entry)?;
        for other in entry.producers.iter().map(|key| &self.producers[*key]) {
            self.check_names(config, other)?;
        }
        Ok(())
    }

    pub(super) fn check_consumer(
        &self,
        transport: &Transport,
        config: &ConsumerConfig,
    ) -> Result<(), ConsumeError> {
        for ssrc in std::iter::once(config.ssrc).chain(config.rtx_ssrc) {
            let twice = config.rtx_ssrc == Some(config.ssrc);
            if twice || transport.has_used(ssrc) {
                return Err(ConsumeError::SsrcInUse(ssrc));
            }
        }
        let mut others = transport.consumers.iter().map(|key| &self.consumers[*key]);
        if others.any(|other| other.details.mid == config.mid) {
            return Err(ConsumeError::Mid(config.mid.clone()));
        }
        Ok(())
    }

    /// The mid and the RIDs, by which packets of an unknown SSRC are assigned, are unique on a transport.
    fn check_names(&self, config: &ProducerConfig, other: &Producer) -> Result<(), ProduceError> {
        if let Some(mid) = &config.mid {
            if other.mid.as_ref() == Some(mid) {
                return Err(ProduceError::MidInUse(mid.clone()));
            }
            return Ok(());
        }
        let rids = config
            .encodings
            .iter()
            .filter_map(|encoding| encoding.rid.as_ref());
        for rid in rids {
            let same = |stream: &u32| self.streams[*stream].rid.as_ref() == Some(rid);
            if other.streams.iter().any(same) {
                return Err(ProduceError::RidInUse(rid.clone()));
            }
        }
        Ok(())
    }
}

fn check_codecs(codecs: &[ProducerCodec]) -> Result<(), ProduceError> {
    if codecs.is_empty() || codecs.len() > MAX_CODECS {
        return Err(ProduceError::CodecCount(codecs.len()));
    }
    let mut seen = Vec::new();
    for codec in codecs {
        for payload_type in std::iter::once(codec.payload_type).chain(codec.rtx_payload_type) {
            if payload_type > 127 {
                return Err(ProduceError::PayloadType(payload_type));
            }
            if seen.contains(&payload_type) {
                return Err(ProduceError::DuplicatePayloadType(payload_type));
            }
            seen.push(payload_type);
        }
        if codec.clock_rate == 0 {
            return Err(ProduceError::ClockRate(codec.payload_type));
        }
    }
    Ok(())
}

fn check_ssrcs(encodings: &[EncodingConfig], transport: &Transport) -> Result<(), ProduceError> {
    let mut used: Vec<u32> = transport.routes.iter().map(|route| route.ssrc).collect();
    for encoding in encodings {
        if let Some(ssrc) = encoding.ssrc {
            if used.contains(&ssrc) {
                return Err(ProduceError::SsrcInUse(ssrc));
            }
            used.push(ssrc);
        }
        if let Some(ssrc) = encoding.rtx_ssrc {
            if used.contains(&ssrc) {
                return Err(ProduceError::RtxSsrcInUse(ssrc));
            }
            used.push(ssrc);
        }
    }
    Ok(())
}

/// Checks of the encodings that need nothing but the parameters themselves.
fn check_encodings(config: &ProducerConfig) -> Result<(), ProduceError> {
    let count = config.encodings.len();
    if count == 0 || count > MAX_ENCODINGS {
        return Err(ProduceError::EncodingCount(count));
    }
    if count == 1 {
        let only = &config.encodings[0];
        if only.ssrc.is_none() && only.rid.is_none() && config.mid.is_none() {
            return Err(ProduceError::NoWayToRecognise);
        }
        return Ok(());
    }
    let layered = |codec: Option<Codec>| matches!(codec, Some(Codec::Vp8 | Codec::H264));
    if !config.codecs.iter().all(|codec| layered(codec.codec)) {
        return Err(ProduceError::SimulcastCodec);
    }
    for (position, encoding) in config.encodings.iter().enumerate() {
        if encoding.ssrc.is_none() && encoding.rid.is_none() {
            return Err(ProduceError::AnonymousEncoding(position));
        }
        let rids = config.encodings[..position]
            .iter()
            .filter_map(|other| other.rid.as_ref());
        if let Some(rid) = &encoding.rid
            && rids.into_iter().any(|other| other == rid)
        {
            return Err(ProduceError::RidInUse(rid.clone()));
        }
    }
    Ok(())
}

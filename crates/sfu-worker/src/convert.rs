//! Conversions between the types of commands and events and those of the protocol crate.
//!
//! # Job
//! Pure conversions; no state. What the router accepts is the router's decision.

use std::net::IpAddr;

use meeshy_sfu_proto::ice::{
    IceCandidate as LinkCandidate, IceProtocol, IceState as LinkIceState, TcpType as LinkTcpType,
};
use meeshy_sfu_proto::link::{
    DtlsRole as LinkRole, DtlsState as LinkDtlsState, Fingerprint as LinkFingerprint,
    HashAlgorithm, IceParameters as LinkCredentials, LinkError,
};
use meeshy_sfu_proto::net::SocketId;
use meeshy_sfu_proto::router::{
    Codec, ConsumeError, ConsumerCodec, ConsumerConfig, EncodingConfig, Layers as RouterLayers,
    MediaKind as RouterKind, ProduceError, ProducerCodec, ProducerConfig, RouterError,
};
use meeshy_sfu_proto::rtp::ExtensionUri;
use meeshy_sfu_proto::srtp::SrtpProfile;

use crate::command::{
    CommandError, ConsumeOne, DtlsRole, ErrorCode, Fingerprint, HeaderExtension, IceCandidate,
    IceParameters, Layers, MediaKind, Produce, Protocol,
};
use crate::event::{DtlsState, IceState};

/// Random bytes from the system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("invariant: the system gives random numbers");
    bytes
}

/// Six bits of each byte as an ICE character (RFC 8839 §5.1: letters, digits, `+`, `/`).
pub(crate) fn ice_characters(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte & 63)]))
        .collect()
}

pub(crate) fn candidate(offered: &IceCandidate, base: IpAddr) -> LinkCandidate {
    LinkCandidate {
        foundation: offered.foundation.clone(),
        priority: offered.priority,
        // A host name means nothing to the link, which needs to know where the socket is.
        address: offered.address.parse().unwrap_or(base),
        port: offered.port,
        protocol: ice_protocol(offered.protocol),
        tcp_type: offered.tcp_type.map(|_| LinkTcpType::Passive),
    }
}

pub(crate) fn credentials(own: &LinkCredentials) -> IceParameters {
    IceParameters {
        username_fragment: own.username_fragment.clone(),
        password: own.password.clone(),
        ice_lite: own.ice_lite,
    }
}

pub(crate) fn role(role: DtlsRole) -> LinkRole {
    match role {
        DtlsRole::Auto => LinkRole::Auto,
        DtlsRole::Client => LinkRole::Client,
        DtlsRole::Server => LinkRole::Server,
    }
}

pub(crate) fn role_back(role: LinkRole) -> DtlsRole {
    match role {
        LinkRole::Auto => DtlsRole::Auto,
        LinkRole::Client => DtlsRole::Client,
        LinkRole::Server => DtlsRole::Server,
    }
}

/// Fingerprints with a hash we know. Others are skipped, as a peer may offer several.
pub(crate) fn fingerprints(given: &[Fingerprint]) -> Result<Vec<LinkFingerprint>, CommandError> {
    let known: Vec<LinkFingerprint> = given
        .iter()
        .filter_map(|fingerprint| {
            let algorithm = HashAlgorithm::from_name(&fingerprint.algorithm)?;
            Some(LinkFingerprint {
                algorithm,
                value: fingerprint.value.to_ascii_uppercase(),
            })
        })
        .collect();
    if known.is_empty() {
        return Err(CommandError::new(
            ErrorCode::InvalidArgument,
            "fingerprints: none is of sha-256, sha-384 or sha-512; send one of these",
        ));
    }
    Ok(known)
}

pub(crate) fn producer(wanted: Produce) -> Result<ProducerConfig, CommandError> {
    Ok(ProducerConfig {
        kind: match wanted.kind {
            MediaKind::Audio => RouterKind::Audio,
            MediaKind::Video => RouterKind::Video,
        },
        mid: wanted.mid,
        codecs: wanted
            .codecs
            .iter()
            .map(|codec| ProducerCodec {
                codec: Codec::from_mime_type(&codec.mime_type),
                payload_type: codec.payload_type,
                mapped_payload_type: codec.mapped_payload_type,
                clock_rate: codec.clock_rate,
                rtx_payload_type: codec.rtx_payload_type,
                nack: codec.nack,
                pli: codec.pli,
                fir: codec.fir,
                transport_cc: codec.transport_cc,
                remb: codec.remb,
                in_band_fec: codec.in_band_fec,
            })
            .collect(),
        header_extensions: extensions(&wanted.header_extensions),
        encodings: wanted
            .encodings
            .into_iter()
            .map(|encoding| EncodingConfig {
                ssrc: encoding.ssrc,
                rid: encoding.rid,
                rtx_ssrc: encoding.rtx_ssrc,
            })
            .collect(),
        cname: wanted.cname,
        paused: wanted.paused,
    })
}

pub(crate) fn consumer(wanted: ConsumeOne) -> ConsumerConfig {
    ConsumerConfig {
        ssrc: wanted.ssrc,
        rtx_ssrc: wanted.rtx_ssrc,
        codecs: wanted
            .codecs
            .iter()
            .map(|codec| ConsumerCodec {
                payload_type: codec.payload_type,
                rtx_payload_type: codec.rtx_payload_type,
                nack: codec.nack,
                pli: codec.pli,
                fir: codec.fir,
                transport_cc: codec.transport_cc,
                remb: codec.remb,
            })
            .collect(),
        header_extensions: extensions(&wanted.header_extensions),
        mid: wanted.mid,
        cname: wanted.cname,
        paused: wanted.paused,
    }
}

/// Extensions we know; others are not forwarded.
fn extensions(given: &[HeaderExtension]) -> Vec<(ExtensionUri, u8)> {
    given
        .iter()
        .filter_map(|extension| Some((ExtensionUri::from_uri(&extension.uri)?, extension.id)))
        .collect()
}

pub(crate) fn preferred_layers(wanted: Layers) -> RouterLayers {
    RouterLayers {
        spatial: wanted.spatial_layer,
        temporal: wanted.temporal_layer,
    }
}

pub(crate) fn layers_of(layers: RouterLayers) -> Layers {
    Layers {
        spatial_layer: layers.spatial,
        temporal_layer: layers.temporal,
    }
}

pub(crate) fn router_error(error: &RouterError) -> CommandError {
    let code = match error {
        RouterError::Unknown => ErrorCode::NotFound,
        RouterError::Link(LinkError::AlreadyConnected) => ErrorCode::InvalidState,
        RouterError::Link(LinkError::Closed) => ErrorCode::Closed,
        RouterError::Link(_) => ErrorCode::InvalidArgument,
        _ => ErrorCode::InvalidState,
    };
    CommandError::new(code, error.to_string())
}

pub(crate) fn produce_error(error: &ProduceError) -> CommandError {
    let code = match error {
        ProduceError::UnknownTransport => ErrorCode::NotFound,
        ProduceError::SsrcInUse(_)
        | ProduceError::RtxSsrcInUse(_)
        | ProduceError::MidInUse(_)
        | ProduceError::RidInUse(_) => ErrorCode::AlreadyExists,
        _ => ErrorCode::InvalidArgument,
    };
    CommandError::new(code, error.to_string())
}

pub(crate) fn consume_error(error: &ConsumeError) -> CommandError {
    let code = match error {
        ConsumeError::UnknownTransport | ConsumeError::UnknownProducer => ErrorCode::NotFound,
        ConsumeError::SsrcInUse(_) => ErrorCode::AlreadyExists,
        _ => ErrorCode::InvalidArgument,
    };
    CommandError::new(code, error.to_string())
}

/// The protocol behind a socket.
pub(crate) fn protocol_of(id: SocketId) -> Protocol {
    if id.is_tcp() {
        Protocol::Tcp
    } else {
        Protocol::Udp
    }
}

/// The same in the words of the link.
pub(crate) fn ice_protocol(protocol: Protocol) -> IceProtocol {
    match protocol {
        Protocol::Udp => IceProtocol::Udp,
        Protocol::Tcp => IceProtocol::Tcp,
    }
}

pub(crate) fn ice_state(state: LinkIceState) -> IceState {
    match state {
        LinkIceState::New => IceState::New,
        LinkIceState::Connected => IceState::Connected,
        LinkIceState::Completed => IceState::Completed,
        LinkIceState::Disconnected => IceState::Disconnected,
        LinkIceState::Closed => IceState::Closed,
    }
}

pub(crate) fn dtls_state(state: LinkDtlsState) -> DtlsState {
    match state {
        LinkDtlsState::New => DtlsState::New,
        LinkDtlsState::Connecting => DtlsState::Connecting,
        LinkDtlsState::Connected => DtlsState::Connected,
        LinkDtlsState::Failed => DtlsState::Failed,
        LinkDtlsState::Closed => DtlsState::Closed,
    }
}

pub(crate) fn profile_name(profile: SrtpProfile) -> String {
    match profile {
        SrtpProfile::AeadAes256Gcm => "AEAD_AES_256_GCM",
        SrtpProfile::AeadAes128Gcm => "AEAD_AES_128_GCM",
        SrtpProfile::Aes128CmSha1_80 => "AES_CM_128_HMAC_SHA1_80",
    }
    .to_owned()
}

//! RTCP of a test: what is sent is written here, and what came is read.

use meeshy_sfu_proto::rtcp::{Packet as Rtcp, SenderInfo, packets};

use super::{Call, EPOCH};

/// Between 1900 and 1970 (RFC 868).
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// 64-bit NTP time of the call at this moment, computed here.
pub fn ntp_now(call: &Call) -> u64 {
    let since_1970 = EPOCH + (call.now - call.start);
    let seconds = since_1970.as_secs() + NTP_TO_UNIX;
    (seconds << 32) | ((u64::from(since_1970.subsec_nanos()) << 32) / 1_000_000_000)
}

/// The RTCP packet that `write` makes.
pub fn written(write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut out = vec![0; 1400];
    let len = write(&mut out).unwrap();
    out.truncate(len);
    out
}

/// A sender report of one packet.
pub fn sender_report(ssrc: u32, ntp: u64, rtp_timestamp: u32) -> Vec<u8> {
    let info = SenderInfo {
        ssrc,
        ntp,
        rtp_timestamp,
        packet_count: 1,
        octet_count: 1,
    };
    written(|out| info.write(&[], out))
}

/// All packets of these compounds; every one must be well-formed.
pub fn rtcp_packets<'a>(compounds: &'a [Vec<u8>]) -> impl Iterator<Item = Rtcp<'a>> {
    let all = compounds.iter().flat_map(|compound| packets(compound));
    all.map(|packet| packet.expect("well-formed"))
}

/// What the sender reports among these compounds say.
pub fn sender_infos(compounds: &[Vec<u8>]) -> Vec<SenderInfo> {
    let infos = rtcp_packets(compounds).filter_map(|packet| match packet {
        Rtcp::SenderReport(report) => Some(report.info),
        _ => None,
    });
    infos.collect()
}

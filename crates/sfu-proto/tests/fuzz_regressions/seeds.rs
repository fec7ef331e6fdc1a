//! Seed inputs: packets of well-behaved peers, made by our own writers or by hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use meeshy_sfu_proto::dtls::{Certificate, DtlsRole, HashAlgorithm};
use meeshy_sfu_proto::ice::{IceCandidate, IceParameters, IceProtocol};
use meeshy_sfu_proto::link::Link;
use meeshy_sfu_proto::net::{Class, Destination, SocketId, classify};
use meeshy_sfu_proto::rtcp::twcc::Feedback;
use meeshy_sfu_proto::rtcp::xr::{self, DlrrItem};
use meeshy_sfu_proto::rtcp::{self, FirEntry, Pli, ReportBlock, SenderInfo};
use meeshy_sfu_proto::rtp::{ExtensionForm, HeaderFields, HeaderWriter};
use meeshy_sfu_proto::srtp::{MasterKey, SrtpProfile, SrtpTx};

type Seed = (&'static str, &'static str, Vec<u8>);

/// Target, name of the file, bytes.
pub(crate) fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    rtp(&mut seeds);
    rtcp(&mut seeds);
    srtp(&mut seeds);
    payloads(&mut seeds);
    link(&mut seeds);
    router(&mut seeds);
    seeds
}

fn header(form: ExtensionForm, elements: &[(u8, &[u8])]) -> Vec<u8> {
    let mut out = vec![0; 256];
    let fields = HeaderFields {
        marker: true,
        payload_type: 101,
        sequence: 65_530,
        timestamp: 90_000,
        ssrc: 7,
        padding: false,
    };
    let mut writer = HeaderWriter::new(&mut out, &fields, form).unwrap();
    for (id, value) in elements {
        writer.extension(*id, value).unwrap();
    }
    let len = writer.finish();
    out.truncate(len);
    out
}

fn rtp(seeds: &mut Vec<Seed>) {
    let elements: [(u8, &[u8]); 5] = [
        (1, b"0"),
        (4, &[1, 2, 3]),
        (5, &[0, 9]),
        (6, &[0x9e]),
        (7, &[0x80, 0, 1, 0x80, 0]),
    ];
    let mut padded = header(ExtensionForm::OneByte, &elements);
    padded[0] |= 0x20;
    padded.extend([9, 9, 9, 0, 0, 3]);
    let mut sources = header(ExtensionForm::OneByte, &[]);
    sources[0] |= 2;
    sources.extend([1; 8]);
    let mut other_profile = header(ExtensionForm::OneByte, &elements);
    other_profile[12] = 0xab;
    seeds.extend([
        ("rtp_header", "plain", header(ExtensionForm::OneByte, &[])),
        (
            "rtp_header",
            "one_byte",
            header(ExtensionForm::OneByte, &elements),
        ),
        (
            "rtp_header",
            "two_byte",
            header(
                ExtensionForm::TwoByte,
                &[(1, b""), (200, &[7; 40]), (3, b"mid")],
            ),
        ),
        ("rtp_header", "padded", padded),
        ("rtp_header", "sources", sources),
        ("rtp_header", "other_profile", other_profile),
        ("rtp_extension_values", "one", vec![0x9e]),
        ("rtp_extension_values", "two", vec![0x12, 0x34]),
        ("rtp_extension_values", "three", vec![0xff, 0xff, 0xfe]),
        (
            "rtp_extension_values",
            "eight",
            vec![1, 2, 3, 4, 5, 6, 7, 8],
        ),
        ("rtp_extension_values", "sixteen", vec![0x80; 16]),
        (
            "rtp_sequence",
            "wrap",
            vec![
                0xff, 0xfe, 0xff, 0xff, 0, 1, 0, 0, 0x7f, 0xff, 0xff, 0xf0, 0x80, 0,
            ],
        ),
        ("rtp_sequence", "start", vec![0, 2, 0xff, 0xff, 0, 1, 0, 3]),
    ]);
}

fn written(write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut out = vec![0; 1400];
    let len = write(&mut out).unwrap();
    out.truncate(len);
    out
}

fn rtcp(seeds: &mut Vec<Seed>) {
    let block = ReportBlock {
        ssrc: 7,
        fraction_lost: 3,
        cumulative_lost: -5,
        highest_sequence: 70_000,
        ..Default::default()
    };
    let info = SenderInfo {
        ssrc: 7,
        ntp: 1 << 40,
        rtp_timestamp: 90_000,
        packet_count: 10,
        octet_count: 1000,
    };
    let feedback = Feedback {
        sender_ssrc: 1,
        media_ssrc: 2,
        base_sequence: 65_530,
        feedback_count: 9,
    };
    let arrivals = (0..60u64).map(|at| (at % 7 != 3).then(|| Duration::from_micros(at * at * 900)));
    let items = [DlrrItem {
        ssrc: 7,
        last_rr: 8,
        delay_since_last_rr: 9,
    }; 2];
    let entries = [
        FirEntry {
            ssrc: 7,
            sequence: 1,
        },
        FirEntry {
            ssrc: 8,
            sequence: 2,
        },
    ];
    let packets: [(&str, Vec<u8>); 11] = [
        ("rtcp_sr", written(|out| info.write(&[block, block], out))),
        ("rtcp_rr", written(|out| rtcp::rr::write(1, &[block], out))),
        (
            "rtcp_sdes",
            written(|out| rtcp::sdes::write(7, "user@example", out)),
        ),
        ("rtcp_bye", written(|out| rtcp::bye::write(&[7, 8], out))),
        (
            "rtcp_nack",
            written(|out| Some(rtcp::nack::write(1, 7, &[65_530, 2, 40], out)?.len)),
        ),
        (
            "rtcp_twcc",
            written(|out| Some(feedback.write(arrivals, out)?.len)),
        ),
        (
            "rtcp_pli",
            written(|out| {
                Pli {
                    sender_ssrc: 1,
                    media_ssrc: 7,
                }
                .write(out)
            }),
        ),
        (
            "rtcp_fir",
            written(|out| rtcp::fir::write(1, &entries, out)),
        ),
        (
            "rtcp_remb",
            written(|out| rtcp::remb::write(1, 2_500_000, &[7, 8], out)),
        ),
        ("rtcp_xr", written(|out| xr::write_rrtr(1, 1 << 40, out))),
        ("rtcp_xr", written(|out| xr::write_dlrr(1, &items, out))),
    ];
    let mut whole = Vec::new();
    for (at, (target, packet)) in packets.iter().enumerate() {
        // These targets take the first byte, for count and padding, and the body.
        let body = packet[..1].iter().chain(&packet[4..]).copied().collect();
        seeds.push((target, if at == 10 { "dlrr" } else { "written" }, body));
        whole.extend_from_slice(packet);
    }
    seeds.extend([
        ("rtcp_compound", "all", whole),
        (
            "rtcp_compound",
            "report",
            packets[0].1.iter().chain(&packets[2].1).copied().collect(),
        ),
        (
            "rtcp_compound",
            "other",
            vec![0x81, 204, 0, 2, 0, 0, 0, 1, b'n', b'a', b'm', b'e'],
        ),
        (
            "rtcp_twcc_write",
            "mixed",
            [
                &[60, 0][..],
                &[70; 20],
                &[3; 30],
                &[130, 200, 64, 64, 90, 5],
            ]
            .concat(),
        ),
        (
            "rtcp_twcc_write",
            "tight",
            [&[8, 0][..], &[130, 70, 3, 130, 70, 70, 70, 3, 3, 140]].concat(),
        ),
    ]);
}

fn srtp(seeds: &mut Vec<Seed>) {
    // The first byte chooses the profile, its high bit RTCP; see crates/fuzz/src/srtp.rs, also for the keys.
    let cases = [
        (
            SrtpProfile::AeadAes256Gcm,
            0,
            129,
            "aes_256_gcm",
            "aes_256_gcm_rtcp",
        ),
        (
            SrtpProfile::AeadAes128Gcm,
            1,
            130,
            "aes_128_gcm",
            "aes_128_gcm_rtcp",
        ),
        (
            SrtpProfile::Aes128CmSha1_80,
            2,
            128,
            "aes_128_cm",
            "aes_128_cm_rtcp",
        ),
    ];
    for (profile, rtp_choice, rtcp_choice, rtp_name, rtcp_name) in cases {
        let master = MasterKey {
            key: vec![0x42; profile.key_len()],
            salt: vec![0x17; profile.salt_len()],
        };
        let mut tx = SrtpTx::new(profile, &master);
        let mut packet = header(ExtensionForm::OneByte, &[(1, b"0")]);
        let header_len = packet.len();
        packet.resize(header_len + 20 + profile.rtp_overhead(), 0);
        tx.protect_rtp(&mut packet, header_len, &[5; 20], 7, 65_530);
        packet.insert(0, rtp_choice);
        seeds.push(("srtp_unprotect", rtp_name, packet));

        let mut packet = written(|out| rtcp::rr::write(1, &[ReportBlock::default()], out));
        let len = packet.len();
        packet.resize(len + profile.rtcp_overhead(), 0);
        tx.protect_rtcp(&mut packet, len);
        packet.insert(0, rtcp_choice);
        seeds.push(("srtp_unprotect", rtcp_name, packet));
    }
    let steps = |steps: &[i16]| steps.iter().flat_map(|step| step.to_be_bytes()).collect();
    seeds.extend([
        ("srtp_stream", "in_order", steps(&[1; 40])),
        (
            "srtp_stream",
            "reordered",
            steps(&[100, 3, -1, -1, 2, 1, 900, -899, -64, 1000, -1, 0]),
        ),
        // Comes round to where the ring of the replay window was used before.
        (
            "srtp_stream",
            "ring",
            steps(&[&[1; 80][..], &[930, 30, -10, -5, 1]].concat()),
        ),
        (
            "srtp_stream",
            "wraps",
            steps(&[32_000, 32_000, 1600, -70, 5, 32_767, -5, 32_767, -3, 1]),
        ),
    ]);
}

fn payloads(seeds: &mut Vec<Seed>) {
    seeds.extend([
        ("payload_vp8", "bare", vec![0x10, 0x00, 0x9d, 0x01, 0x2a]),
        (
            "payload_vp8",
            "full",
            vec![0xb0, 0xf0, 0x92, 0x34, 0x07, 0xa9, 0x01, 0x55],
        ),
        (
            "payload_vp8",
            "short_id",
            vec![0x90, 0xe0, 0x12, 0x07, 0x60, 0x01],
        ),
        (
            "payload_vp9",
            "key",
            vec![
                0xaa, 0x80, 0x01, 0x00, 0x05, 0x10, 0x05, 0x00, 0x02, 0xd0, 0x99,
            ],
        ),
        (
            "payload_vp9",
            "flexible",
            vec![0xf8, 0x01, 0x00, 0x03, 0x05, 0x06, 0x99],
        ),
        (
            "payload_vp9",
            "groups",
            vec![
                0x0a, 0x18, 0, 9, 0, 9, 0x02, 0x04, 0x01, 0x08, 0x01, 0x02, 0x99,
            ],
        ),
        ("payload_h264", "sps", vec![0x67, 0x42, 0xe0, 0x1f]),
        (
            "payload_h264",
            "stap_a",
            vec![
                0x78, 0, 2, 0x09, 0xf0, 0, 4, 0x67, 0x42, 0xe0, 0x1f, 0, 1, 0x68,
            ],
        ),
        ("payload_h264", "fu_a", vec![0x7c, 0x85, 0x88, 0x80]),
        ("payload_av1", "new_sequence", vec![0x18, 0x0a, 0x0b, 0x00]),
        (
            "payload_av1",
            "descriptor",
            vec![0x80, 0x01, 0x02, 0x80, 0x00],
        ),
        ("payload_opus", "code_0", vec![0xf8, 1, 2, 3]),
        (
            "payload_opus",
            "code_3",
            vec![0xfb, 0x41, 4, 1, 2, 3, 0, 0, 0, 0],
        ),
    ]);
}

/// Lets a client of ours meet a server of ours, and keeps what the client sends.
fn link(seeds: &mut Vec<Seed>) {
    let now = Instant::now();
    // The credentials of crates/fuzz/src/link.rs, so that the checks are authentic there.
    let ice = |name: &str, ice_lite| IceParameters {
        username_fragment: name.to_owned(),
        password: format!("{name}{name}{}", &name[..4]),
        ice_lite,
    };
    let certificate = || Arc::new(Certificate::generate().unwrap());
    let (for_server, for_client) = (certificate(), certificate());
    let local = ([192, 0, 2, 1], 4000).into();
    let to_client = Destination {
        socket: SocketId(0),
        remote: local,
    };
    let candidate = IceCandidate {
        foundation: "1".to_owned(),
        priority: 1,
        address: [192, 0, 2, 9].into(),
        port: 10_000,
        protocol: IceProtocol::Udp,
        tcp_type: None,
    };
    let mut server = Link::server(
        Arc::clone(&for_server),
        ice("fuzzserver", true),
        Vec::new(),
        now,
    );
    let mut client = Link::client(
        Arc::clone(&for_client),
        ice("fuzzclient", false),
        local,
        DtlsRole::Client,
        now,
    );
    client.set_remote_ice(&ice("fuzzserver", true), &[candidate], now);
    let fingerprint = |certificate: &Certificate| certificate.fingerprint(HashAlgorithm::Sha256);
    client
        .connect(DtlsRole::Server, &[fingerprint(&for_server)], now)
        .unwrap();
    server
        .connect(DtlsRole::Client, &[fingerprint(&for_client)], now)
        .unwrap();

    let (mut checks, mut handshake) = (Vec::new(), Vec::new());
    let from_server = Destination {
        socket: SocketId(0),
        remote: ([192, 0, 2, 9], 10_000).into(),
    };
    let mut buffer = [0; 2048];
    for step in 0..200 {
        let now = now + Duration::from_millis(20) * step;
        client.handle_timeout(now);
        server.handle_timeout(now);
        while let Some((len, _)) = client.poll_transmit(&mut buffer) {
            let datagram = &buffer[..len];
            match classify(datagram) {
                Class::Stun => checks.push(datagram.to_vec()),
                _ => handshake.push(datagram.to_vec()),
            }
            server.handle(classify(datagram), datagram, to_client, now);
        }
        while let Some((len, _)) = server.poll_transmit(&mut buffer) {
            client.handle(classify(&buffer[..len]), &buffer[..len], from_server, now);
        }
    }
    let framed = |datagrams: &[Vec<u8>]| -> Vec<u8> {
        datagrams
            .iter()
            .flat_map(|one| {
                (one.len() as u16)
                    .to_be_bytes()
                    .into_iter()
                    .chain(one.iter().copied())
            })
            .collect()
    };
    let hello = handshake[0].clone();
    let nominating = checks
        .iter()
        .find(|check| check.len() != checks[0].len())
        .unwrap_or(&checks[0])
        .clone();
    seeds.extend([
        ("link_stun", "check", checks[0].clone()),
        ("link_stun", "nominating", nominating),
        ("link_dtls", "hello", framed(&handshake[..1])),
        ("link_dtls", "handshake", framed(&handshake)),
        ("net_classify", "stun", checks[0].clone()),
        ("net_classify", "dtls", hello[..40].to_vec()),
        ("net_classify", "rtp", header(ExtensionForm::OneByte, &[])),
        ("net_classify", "rtcp", vec![0x80, 201, 0, 1, 0, 0, 0, 1]),
    ]);
}

/// A step of a call: see the target.
fn step(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![kind, body.len() as u8];
    out.extend_from_slice(body);
    out
}

fn packet(ssrc: u32, payload_type: u8, sequence: u16, mid: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 64];
    let fields = HeaderFields {
        marker: true,
        payload_type,
        sequence,
        timestamp: 3000 * u32::from(sequence),
        ssrc,
        padding: false,
    };
    let mut writer = HeaderWriter::new(&mut out, &fields, ExtensionForm::OneByte).unwrap();
    writer.extension(1, mid).unwrap();
    writer.extension(2, &[1, 2, sequence as u8]).unwrap();
    writer.extension(3, &sequence.to_be_bytes()).unwrap();
    writer.extension(4, &[20]).unwrap();
    let len = writer.finish();
    out.truncate(len);
    out.extend_from_slice(payload);
    step(0, &out)
}

fn router(seeds: &mut Vec<Seed>) {
    const FLUSH: u8 = 8;
    let vp8 = |number: u16| {
        let key = u8::from(number != 0);
        packet(1000, 96, number, b"v", &[0x10, key, 1, 2, 3, number as u8])
    };
    let mut plain: Vec<u8> = (0..6).flat_map(vp8).collect();
    for number in 0..6 {
        plain.extend(packet(2000, 111, number, b"a", &[0x78, 1, 2]));
    }
    plain.extend(step(FLUSH, &[]));
    plain.extend(step(5, &[60]));
    // A hole, its repair by RTX, padding, and the same by mid alone under two sources.
    let mut repaired = [vp8(0), vp8(1), vp8(4)].concat();
    repaired.extend(step(5, &[8]));
    repaired.extend(packet(1001, 97, 9, b"v", &[0, 2, 0x10, 1, 1, 2]));
    let mut padding = packet(1000, 96, 5, b"v", &[0, 0, 3]);
    padding[2] |= 0x20;
    repaired.extend(padding);
    repaired.extend(step(FLUSH, &[]));
    let mut sources = Vec::new();
    for ssrc in [70, 71] {
        sources.extend(packet(ssrc, 98, 7, b"w", &[0x78, 0, 2, 0x67, 1]));
        sources.extend(packet(ssrc, 98, 8, b"w", &[0x7c, 0x85, 1]));
    }
    sources.extend(step(FLUSH, &[]));
    // Reports and requests both ways, with pauses between.
    let mut talk = plain.clone();
    let info = SenderInfo {
        ssrc: 1000,
        ntp: 0xe8fe_0000_0000_0000,
        rtp_timestamp: 9000,
        ..SenderInfo::default()
    };
    talk.extend(step(3, &written(|out| info.write(&[], out))));
    let block = ReportBlock {
        ssrc: 5000,
        fraction_lost: 9,
        ..ReportBlock::default()
    };
    talk.extend(step(4, &written(|out| rtcp::rr::write(9, &[block], out))));
    for ssrc in [5000, 6000, 6010] {
        let wanted: Vec<u16> = (0..40).map(|number| number * 5).collect();
        let nack = |out: &mut [u8]| Some(rtcp::nack::write(9, ssrc, &wanted, out)?.len);
        talk.extend(step(4, &written(nack)));
        let pli = Pli {
            sender_ssrc: 9,
            media_ssrc: ssrc,
        };
        talk.extend(step(4, &written(|out| pli.write(out))));
    }
    for which in 0..5 {
        talk.extend(step(7, &[which, 4, 2, 1, 0]));
    }
    for choice in [1, 0, 3, 2] {
        talk.extend(step(6, &[choice]));
        talk.extend(vp8(6 + u16::from(choice)));
    }
    talk.extend(step(3, &written(|out| rtcp::bye::write(&[1000], out))));
    talk.extend(step(5, &[90]));
    seeds.extend([
        ("router_call", "plain", plain),
        ("router_call", "repaired", repaired),
        ("router_call", "sources", sources),
        ("router_call", "talk", talk),
    ]);
}

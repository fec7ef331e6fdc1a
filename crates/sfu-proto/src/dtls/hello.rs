//! The first ClientHello, reassembled from its fragments and parsed as far as choosing a version needs.
//!
//! # Job
//! Collects the fragments of the first ClientHello from datagrams in any order, reads the DTLS versions and SRTP
//! profiles it offers, and returns it as one unfragmented datagram. The handshake itself belongs to `session`.
//!
//! # Why
//! In DTLS 1.2 the server's order of SRTP profiles decides, in 1.3 the client's, so the version is chosen here; and
//! browsers send a first message of 1413 bytes in two datagrams.
//!
//! # Invariants
//! - One ClientHello of at most [`MAX_HELLO`] bytes is kept; contradicting fragments replace it.
//! - No input panics.
//!
//! # Cost
//! One allocation of the announced length with the first fragment.
//!
//! RFC 6347 §4.2.2 (fragments), RFC 8446 §4.2.1 (supported_versions), RFC 5764 §4.1.1 (use_srtp).

/// Longest ClientHello accepted. With a post-quantum key share they are about 1.5 kB.
pub const MAX_HELLO: usize = 8192;

/// Content type of handshake records.
pub(super) const HANDSHAKE: u8 = 22;
/// Content type of alert records.
pub(super) const ALERT: u8 = 21;
const CLIENT_HELLO: u8 = 1;
const RECORD_HEADER: usize = 13;
const FRAGMENT_HEADER: usize = 12;
const DTLS_1_0: u16 = 0xfeff;
const DTLS_1_2: u16 = 0xfefd;
const DTLS_1_3: u16 = 0xfefc;
const USE_SRTP: u16 = 14;
const SUPPORTED_VERSIONS: u16 = 43;

/// One record of an unencrypted datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlainRecord<'a> {
    pub(super) content_type: u8,
    pub(super) epoch: u16,
    pub(super) body: &'a [u8],
}

/// Iterates over the records with the long header (DTLS 1.2, and the plaintext ones of 1.3) and ends at the first
/// that does not fit.
///
/// Plaintext records are numbered from 0 and a handshake has a few dozen, so a number beyond 65535 is none: that
/// keeps random bytes out of the handshake, where nothing else would detect them.
pub(super) fn records(mut datagram: &[u8]) -> impl Iterator<Item = PlainRecord<'_>> {
    std::iter::from_fn(move || {
        let header = datagram.get(..RECORD_HEADER)?;
        let version = be16(header, 1)?;
        if !matches!(header[0], 20..=26) || !matches!(version, DTLS_1_0 | DTLS_1_2) {
            return None;
        }
        if be16(header, 3)? == 0 && header[5..9] != [0; 4] {
            return None;
        }
        let end = RECORD_HEADER + usize::from(be16(header, 11)?);
        let record = PlainRecord {
            content_type: header[0],
            epoch: be16(header, 3)?,
            body: datagram.get(RECORD_HEADER..end)?,
        };
        datagram = &datagram[end..];
        Some(record)
    })
}

/// One fragment of a handshake message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fragment<'a> {
    pub(super) message_type: u8,
    pub(super) message_sequence: u16,
    pub(super) length: usize,
    pub(super) offset: usize,
    pub(super) body: &'a [u8],
}

/// The fragments in a handshake record.
pub(super) fn fragments(mut record: &[u8]) -> impl Iterator<Item = Fragment<'_>> {
    std::iter::from_fn(move || {
        let header = record.get(..FRAGMENT_HEADER)?;
        let (length, offset) = (be24(header, 1)?, be24(header, 6)?);
        let end = FRAGMENT_HEADER + be24(header, 9)?;
        let body = record.get(FRAGMENT_HEADER..end)?;
        if offset + body.len() > length {
            return None;
        }
        record = &record[end..];
        Some(Fragment {
            message_type: header[0],
            message_sequence: be16(header, 4)?,
            length,
            offset,
            body,
        })
    })
}

/// Reassembles the first ClientHello.
#[derive(Debug, Default)]
pub struct HelloAssembly {
    body: Vec<u8>,
    /// Sorted, disjoint and not adjacent.
    covered: Vec<(usize, usize)>,
}

impl HelloAssembly {
    /// Takes a datagram; everything but fragments of a first ClientHello is ignored.
    pub fn push(&mut self, datagram: &[u8]) {
        for record in records(datagram) {
            if record.content_type != HANDSHAKE || record.epoch != 0 {
                continue;
            }
            for fragment in fragments(record.body) {
                if fragment.message_type == CLIENT_HELLO && fragment.message_sequence == 0 {
                    self.add(fragment);
                }
            }
        }
    }

    /// Returns the message as one record in one datagram, once it is complete.
    pub fn complete(&self) -> Option<Vec<u8>> {
        let body = self.body()?;
        let length = u32::try_from(body.len()).ok()?.to_be_bytes();
        let record_length = u16::try_from(FRAGMENT_HEADER + body.len())
            .ok()?
            .to_be_bytes();
        let mut datagram = Vec::with_capacity(RECORD_HEADER + FRAGMENT_HEADER + body.len());
        datagram.extend_from_slice(&[HANDSHAKE, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0]);
        datagram.extend_from_slice(&record_length);
        datagram.push(CLIENT_HELLO);
        datagram.extend_from_slice(&length[1..]);
        datagram.extend_from_slice(&[0, 0, 0, 0, 0]);
        datagram.extend_from_slice(&length[1..]);
        datagram.extend_from_slice(body);
        Some(datagram)
    }

    /// Returns what the message offers, once it is complete and well-formed.
    pub fn offer(&self) -> Option<HelloOffer> {
        self.body().and_then(HelloOffer::parse)
    }

    /// Discards everything.
    pub fn clear(&mut self) {
        self.body = Vec::new();
        self.covered.clear();
    }

    fn body(&self) -> Option<&[u8]> {
        (!self.body.is_empty() && self.covered == [(0, self.body.len())]).then_some(&self.body[..])
    }

    fn add(&mut self, fragment: Fragment<'_>) {
        if fragment.length == 0 || fragment.length > MAX_HELLO || fragment.body.is_empty() {
            return;
        }
        let (start, end) = (fragment.offset, fragment.offset + fragment.body.len());
        if self.body.len() != fragment.length || self.contradicts(start, fragment.body) {
            self.body = vec![0; fragment.length];
            self.covered.clear();
        }
        self.body[start..end].copy_from_slice(fragment.body);
        self.cover(start, end);
    }

    fn contradicts(&self, start: usize, bytes: &[u8]) -> bool {
        self.covered.iter().any(|&(from, to)| {
            let (low, high) = (from.max(start), to.min(start + bytes.len()));
            low < high && self.body[low..high] != bytes[low - start..high - start]
        })
    }

    fn cover(&mut self, mut start: usize, mut end: usize) {
        self.covered.retain(|&(from, to)| {
            let touches = from <= end && start <= to;
            if touches {
                start = start.min(from);
                end = end.max(to);
            }
            !touches
        });
        if self.covered.len() >= MAX_GAPS {
            // No client fragments this finely; it will retransmit.
            self.covered.clear();
        }
        let at = self.covered.partition_point(|&(from, _)| from < start);
        self.covered.insert(at, (start, end));
    }
}

/// The offers of a ClientHello that the choice of version depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelloOffer {
    /// DTLS 1.2 is offered.
    pub dtls_1_2: bool,
    /// DTLS 1.3 is offered.
    pub dtls_1_3: bool,
    /// Cipher suites, in the client's order.
    pub cipher_suites: Vec<u16>,
    /// Ids of the SRTP profiles, in the client's order.
    pub srtp_profiles: Vec<u16>,
}

impl HelloOffer {
    /// Parses the body of a ClientHello message; `None` if it is malformed.
    pub fn parse(body: &[u8]) -> Option<HelloOffer> {
        let mut reader = Reader(body);
        let legacy_version = reader.u16()?;
        reader.take(32)?;
        reader.vector8()?;
        reader.vector8()?;
        let cipher_suites = pairs(reader.vector16()?)?;
        reader.vector8()?;
        let mut offer = HelloOffer {
            // Versions count downwards on the wire.
            dtls_1_2: legacy_version <= DTLS_1_2 && legacy_version >> 8 == 0xfe,
            dtls_1_3: false,
            cipher_suites,
            srtp_profiles: Vec::new(),
        };
        if reader.0.is_empty() {
            return Some(offer);
        }
        let mut extensions = Reader(reader.vector16()?);
        while !extensions.0.is_empty() {
            let kind = extensions.u16()?;
            let mut data = Reader(extensions.vector16()?);
            match kind {
                SUPPORTED_VERSIONS => {
                    let versions = pairs(data.vector8()?)?;
                    offer.dtls_1_2 = versions.contains(&DTLS_1_2);
                    offer.dtls_1_3 = versions.contains(&DTLS_1_3);
                }
                USE_SRTP => offer.srtp_profiles = pairs(data.vector16()?)?,
                _ => {}
            }
        }
        Some(offer)
    }
}

/// Returns whether this is the body of a ServerHello for one of our clients (RFC 5246 §7.4.1.3).
pub(super) fn is_server_hello(body: &[u8]) -> bool {
    let read = || {
        let mut reader = Reader(body);
        let version = reader.u16()?;
        reader.take(32)?;
        let session_id = reader.vector8()?;
        let (_suite, compression) = (reader.u16()?, reader.take(1)?);
        let well_formed = version == DTLS_1_2 && session_id.len() <= 32 && compression == [0];
        if !reader.0.is_empty() {
            let mut extensions = Reader(reader.vector16()?);
            while !extensions.0.is_empty() {
                extensions.u16()?;
                extensions.vector16()?;
            }
        }
        Some(well_formed && reader.0.is_empty())
    };
    read().unwrap_or(false)
}

/// Returns whether this is the body of a HelloVerifyRequest (RFC 6347 §4.2.1).
pub(super) fn is_hello_verify_request(body: &[u8]) -> bool {
    let mut reader = Reader(body);
    matches!(reader.u16(), Some(DTLS_1_0 | DTLS_1_2))
        && reader.vector8().is_some()
        && reader.0.is_empty()
}

fn pairs(bytes: &[u8]) -> Option<Vec<u16>> {
    let (pairs, []) = bytes.as_chunks::<2>() else {
        return None;
    };
    Some(pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        be16(self.take(2)?, 0)
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(*self.take(1)?.first()?);
        self.take(length)
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.u16()?);
        self.take(length)
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

fn be24(bytes: &[u8], at: usize) -> Option<usize> {
    let [a, b, c] = *bytes.get(at..at + 3)?.first_chunk()?;
    Some(u32::from_be_bytes([0, a, b, c]) as usize)
}

/// Separate pieces of one message that are kept.
const MAX_GAPS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hello(versions: Option<&[u16]>, profiles: &[u16], padding: usize) -> Vec<u8> {
        let mut extensions = Vec::new();
        let mut extension = |kind: u16, data: Vec<u8>| {
            extensions.extend_from_slice(&kind.to_be_bytes());
            extensions.extend_from_slice(&(data.len() as u16).to_be_bytes());
            extensions.extend_from_slice(&data);
        };
        extension(21, vec![0; padding]);
        if let Some(versions) = versions {
            let mut data = vec![versions.len() as u8 * 2];
            data.extend(versions.iter().flat_map(|version| version.to_be_bytes()));
            extension(SUPPORTED_VERSIONS, data);
        }
        let mut data = (profiles.len() as u16 * 2).to_be_bytes().to_vec();
        data.extend(profiles.iter().flat_map(|profile| profile.to_be_bytes()));
        data.push(0);
        extension(USE_SRTP, data);
        let mut body = DTLS_1_2.to_be_bytes().to_vec();
        body.extend((0..32).map(|at| at as u8));
        body.extend([0, 0, 0, 2, 0xc0, 0x2b, 1, 0]);
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        body
    }

    fn datagrams(body: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
        let mut edges = vec![0];
        edges.extend_from_slice(cuts);
        edges.push(body.len());
        edges
            .windows(2)
            .enumerate()
            .map(|(number, edge)| {
                let piece = &body[edge[0]..edge[1]];
                let mut datagram = vec![HANDSHAKE, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, number as u8];
                datagram.extend(((FRAGMENT_HEADER + piece.len()) as u16).to_be_bytes());
                datagram.push(CLIENT_HELLO);
                datagram.extend(&(body.len() as u32).to_be_bytes()[1..]);
                datagram.extend([0, 0]);
                datagram.extend(&(edge[0] as u32).to_be_bytes()[1..]);
                datagram.extend(&(piece.len() as u32).to_be_bytes()[1..]);
                datagram.extend(piece);
                datagram
            })
            .collect()
    }

    #[test]
    fn chromiums_two_datagrams_are_put_together_in_either_order() {
        let body = hello(Some(&[DTLS_1_3, DTLS_1_2]), &[1, 8, 7], 1300);
        let mut pieces = datagrams(&body, &[1175]);
        for _ in 0..2 {
            pieces.reverse();
            let mut assembly = HelloAssembly::default();
            assembly.push(&pieces[0]);
            assert_eq!((assembly.offer(), assembly.complete()), (None, None));
            assembly.push(&pieces[1]);
            let expected = HelloOffer {
                dtls_1_2: true,
                dtls_1_3: true,
                cipher_suites: vec![0xc02b],
                srtp_profiles: vec![1, 8, 7],
            };
            assert_eq!(assembly.offer(), Some(expected));
            let mut again = HelloAssembly::default();
            again.push(&assembly.complete().unwrap());
            assert_eq!(again.body(), Some(&body[..]));
        }
    }

    #[test]
    fn versions_are_read_as_the_rfc_says() {
        let offers = |versions: Option<&[u16]>| {
            let offer = HelloOffer::parse(&hello(versions, &[7], 0)).unwrap();
            (offer.dtls_1_2, offer.dtls_1_3)
        };
        assert_eq!(offers(None), (true, false));
        assert_eq!(offers(Some(&[DTLS_1_3])), (false, true));
        assert_eq!(offers(Some(&[DTLS_1_2, DTLS_1_0])), (true, false));
        assert_eq!(offers(Some(&[0x7f7f, DTLS_1_3, DTLS_1_2])), (true, true));
        let mut old = hello(None, &[7], 0);
        old[1] = 0xff;
        assert!(!HelloOffer::parse(&old).unwrap().dtls_1_2);
    }

    #[test]
    fn another_hello_replaces_a_half_finished_one() {
        let (first, mut second) = (hello(None, &[7], 500), hello(None, &[8], 500));
        second[10] ^= 0xff;
        let mut assembly = HelloAssembly::default();
        assembly.push(&datagrams(&first, &[200])[0]);
        for piece in datagrams(&second, &[300]) {
            assembly.push(&piece);
        }
        assert_eq!(assembly.body(), Some(&second[..]));
    }

    #[test]
    fn an_overlong_or_over_cut_hello_is_not_kept() {
        let mut assembly = HelloAssembly::default();
        assembly.push(&datagrams(&vec![0; MAX_HELLO + 1], &[100])[0]);
        assert!(assembly.body.is_empty());
        let body = vec![0; 4000];
        let cuts: Vec<usize> = (1..2000).map(|at| at * 2).collect();
        for piece in datagrams(&body, &cuts).iter().step_by(2) {
            assembly.push(piece);
            assert!(assembly.covered.len() <= MAX_GAPS);
        }
    }

    proptest! {
        #[test]
        fn any_cut_and_order_gives_the_message_back(
            mut cuts in prop::collection::btree_set(1usize..900, 0..12),
            order in any::<prop::sample::Index>(),
            overlap in any::<bool>(),
        ) {
            let body = hello(Some(&[DTLS_1_2]), &[1], 850);
            cuts.retain(|cut| *cut < body.len());
            let cuts: Vec<usize> = cuts.into_iter().collect();
            let mut pieces = datagrams(&body, &cuts);
            if overlap {
                pieces.extend(datagrams(&body, &[body.len() / 2]));
            }
            let turn = order.index(pieces.len());
            pieces.rotate_left(turn);
            let mut assembly = HelloAssembly::default();
            for piece in &pieces {
                assembly.push(piece);
            }
            prop_assert_eq!(assembly.body(), Some(&body[..]));
        }

        #[test]
        fn no_bytes_panic(datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8)) {
            let mut assembly = HelloAssembly::default();
            for datagram in &datagrams {
                let mut shaped = vec![HANDSHAKE, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, datagram.len() as u8];
                shaped.extend(datagram);
                assembly.push(datagram);
                assembly.push(&shaped);
                let _ = (assembly.offer(), assembly.complete(), HelloOffer::parse(datagram));
            }
        }
    }
}

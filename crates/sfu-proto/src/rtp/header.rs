//! The RTP header: a view on a received one, and a writer for one to send.
//!
//! # Job
//! Checks lengths once, then reads fields and extension elements without copying. The meaning of extension ids
//! belongs to `extension`, decryption to `srtp`.
//!
//! # Invariants
//! - A view exists only if fixed header, CSRC list and extension block lie inside the packet.
//! - Iterating extensions never leaves the extension block, whatever lengths it contains.
//! - A writer never leaves a partial element: an element that does not fit is refused before writing.
//!
//! # Cost
//! No allocation. Parsing reads 12 bytes, or 16 with extensions; elements are found on demand.
//!
//! # Left out
//! Writing CSRCs. Extension profiles other than RFC 8285 are skipped as a block.
//!
//! RFC 3550 §5.1, §5.3.1; RFC 8285 §4.

use crate::error::RtpError;

/// Bytes of the header without CSRCs and extensions.
pub const FIXED_LEN: usize = 12;

/// A received header; borrows the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpHeader<'a> {
    /// The last byte of the decrypted payload counts padding to be cut off.
    pub padding: bool,
    /// An extension block follows the CSRC list.
    pub extension: bool,
    /// Contributing sources listed, 0 to 15.
    pub csrc_count: u8,
    /// For video, the last packet of a frame; for audio, the first after silence.
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    /// Wraps at 2¹⁶; see [`crate::rtp::seq`].
    pub sequence: u16,
    /// In units of the codec's clock.
    pub timestamp: u32,
    /// The stream this packet belongs to.
    pub ssrc: u32,
    form: Option<ExtensionForm>,
    elements: &'a [u8],
    header_len: usize,
}

impl<'a> RtpHeader<'a> {
    /// Reads the header of `packet`, protected or not.
    ///
    /// # Errors
    /// [`RtpError::Version`] or [`RtpError::Truncated`].
    #[inline]
    pub fn parse(packet: &'a [u8]) -> Result<Self, RtpError> {
        let (fixed, rest) = packet
            .split_first_chunk::<FIXED_LEN>()
            .ok_or(RtpError::Truncated)?;
        if fixed[0] >> 6 != 2 {
            return Err(RtpError::Version);
        }
        let csrc_count = fixed[0] & 0x0f;
        let after_csrc = rest
            .get(usize::from(csrc_count) * 4..)
            .ok_or(RtpError::Truncated)?;
        let extension = fixed[0] & 0x10 != 0;
        let mut header_len = FIXED_LEN + usize::from(csrc_count) * 4;
        let mut form = None;
        let mut elements: &[u8] = &[];
        if extension {
            let (prefix, block) = after_csrc
                .split_first_chunk::<4>()
                .ok_or(RtpError::Truncated)?;
            let words = usize::from(u16::from_be_bytes([prefix[2], prefix[3]]));
            elements = block.get(..words * 4).ok_or(RtpError::Truncated)?;
            form = ExtensionForm::from_profile(u16::from_be_bytes([prefix[0], prefix[1]]));
            header_len += 4 + words * 4;
        }
        Ok(Self {
            padding: fixed[0] & 0x20 != 0,
            extension,
            csrc_count,
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7f,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            form,
            elements,
            header_len,
        })
    }

    /// Bytes before the payload: fixed header, CSRCs and extension block.
    #[inline]
    #[must_use]
    pub const fn header_len(&self) -> usize {
        self.header_len
    }

    /// Iterates over the extension elements as `(id, value)`; empty if there are none or their profile is unknown.
    #[inline]
    #[must_use]
    pub const fn extensions(&self) -> Extensions<'a> {
        Extensions {
            form: self.form,
            rest: self.elements,
        }
    }

    /// Returns the length of the decrypted `payload` without its padding (RFC 3550 §5.1).
    ///
    /// # Errors
    /// [`RtpError::Padding`] if the P bit is set and the count is zero or exceeds the payload.
    #[inline]
    pub fn unpadded_len(&self, payload: &[u8]) -> Result<usize, RtpError> {
        if !self.padding {
            return Ok(payload.len());
        }
        let count = usize::from(*payload.last().ok_or(RtpError::Padding)?);
        if count == 0 {
            return Err(RtpError::Padding);
        }
        payload.len().checked_sub(count).ok_or(RtpError::Padding)
    }
}

/// How elements of an extension block are framed (RFC 8285 §4.2, §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExtensionForm {
    /// Ids 1 to 14, values of 1 to 16 bytes.
    OneByte,
    /// Ids 1 to 255, values of 0 to 255 bytes.
    TwoByte,
}

impl ExtensionForm {
    const fn from_profile(profile: u16) -> Option<Self> {
        match profile {
            0xbede => Some(Self::OneByte),
            // The low four bits are "appbits" and mean nothing here (RFC 8285 §4.3).
            0x1000..=0x100f => Some(Self::TwoByte),
            _ => None,
        }
    }

    const fn profile(self) -> u16 {
        match self {
            Self::OneByte => 0xbede,
            Self::TwoByte => 0x1000,
        }
    }

    /// Returns whether an element of this id and length can be written in this form.
    #[inline]
    #[must_use]
    pub const fn fits(self, id: u8, len: usize) -> bool {
        match self {
            Self::OneByte => id >= 1 && id <= 14 && len >= 1 && len <= 16,
            Self::TwoByte => id >= 1 && len <= 255,
        }
    }

    const fn prefix_len(self) -> usize {
        match self {
            Self::OneByte => 1,
            Self::TwoByte => 2,
        }
    }
}

/// Iterator over the elements of an extension block: `(id, value)`.
///
/// Ends at the first element that exceeds the block; earlier elements are valid.
#[derive(Debug, Clone)]
pub struct Extensions<'a> {
    form: Option<ExtensionForm>,
    rest: &'a [u8],
}

impl<'a> Extensions<'a> {
    fn one_byte(&mut self) -> Option<(u8, &'a [u8])> {
        loop {
            let (&head, rest) = self.rest.split_first()?;
            self.rest = rest;
            if head == 0 {
                continue;
            }
            let id = head >> 4;
            // 15 ends the block; 0 with a length must too (RFC 8285 §4.2).
            if id == 0 || id == 15 {
                return None;
            }
            let (value, rest) = self.rest.split_at_checked(usize::from(head & 0x0f) + 1)?;
            self.rest = rest;
            return Some((id, value));
        }
    }

    fn two_byte(&mut self) -> Option<(u8, &'a [u8])> {
        loop {
            let (&id, rest) = self.rest.split_first()?;
            self.rest = rest;
            if id == 0 {
                continue;
            }
            let (&len, rest) = self.rest.split_first()?;
            let (value, rest) = rest.split_at_checked(usize::from(len))?;
            self.rest = rest;
            return Some((id, value));
        }
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = (u8, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let element = match self.form? {
            ExtensionForm::OneByte => self.one_byte(),
            ExtensionForm::TwoByte => self.two_byte(),
        };
        if element.is_none() {
            self.rest = &[];
        }
        element
    }
}

impl std::iter::FusedIterator for Extensions<'_> {}

/// The fields of a header to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeaderFields {
    /// See [`RtpHeader::padding`]; the padding itself is the caller's.
    pub padding: bool,
    /// See [`RtpHeader::marker`].
    pub marker: bool,
    /// Only the low seven bits are used.
    pub payload_type: u8,
    /// See [`RtpHeader::sequence`].
    pub sequence: u16,
    /// See [`RtpHeader::timestamp`].
    pub timestamp: u32,
    /// See [`RtpHeader::ssrc`].
    pub ssrc: u32,
}

impl HeaderFields {
    /// Writes the fixed header; the X bit and the CSRC count are zero.
    #[inline]
    pub fn write(&self, out: &mut [u8; FIXED_LEN]) {
        out[0] = 0x80 | u8::from(self.padding) << 5;
        out[1] = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        out[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        out[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        out[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
    }
}

/// Builds a header into a buffer: fixed fields, then extension elements, then [`HeaderWriter::finish`].
///
/// ```
/// use meeshy_sfu_proto::rtp::{ExtensionForm, HeaderFields, HeaderWriter, RtpHeader};
///
/// let mut out = [0; 64];
/// let fields = HeaderFields { payload_type: 101, sequence: 7, ssrc: 42, ..HeaderFields::default() };
/// let mut writer = HeaderWriter::new(&mut out, &fields, ExtensionForm::OneByte).expect("room");
/// let at = writer.extension(1, b"0").expect("room");
/// let len = writer.finish();
/// assert_eq!(out[at], b'0');
/// assert_eq!(RtpHeader::parse(&out[..len])?.extensions().next(), Some((1, &b"0"[..])));
/// # Ok::<(), meeshy_sfu_proto::error::RtpError>(())
/// ```
#[derive(Debug)]
pub struct HeaderWriter<'b> {
    out: &'b mut [u8],
    form: ExtensionForm,
    len: usize,
}

impl<'b> HeaderWriter<'b> {
    /// Writes the fixed header; `None` if `out` is too small for it.
    #[inline]
    pub fn new(out: &'b mut [u8], fields: &HeaderFields, form: ExtensionForm) -> Option<Self> {
        fields.write(out.first_chunk_mut()?);
        Some(Self {
            out,
            form,
            len: FIXED_LEN,
        })
    }

    /// Appends an element and returns the offset of its value in the buffer, for patching it later.
    ///
    /// `None`, and nothing written, if id or length do not suit the form or the buffer is full.
    #[inline]
    pub fn extension(&mut self, id: u8, value: &[u8]) -> Option<usize> {
        let at = self.reserve(id, value.len())?;
        self.out[at..at + value.len()].copy_from_slice(value);
        Some(at)
    }

    /// Appends an element of `len` zero bytes, to be filled in later; else as [`HeaderWriter::extension`].
    #[inline]
    pub fn reserve(&mut self, id: u8, len: usize) -> Option<usize> {
        if !self.form.fits(id, len) {
            return None;
        }
        let start = if self.len == FIXED_LEN {
            FIXED_LEN + 4
        } else {
            self.len
        };
        let at = start + self.form.prefix_len();
        // The block is padded to whole words at the end, which must still fit.
        if (at + len).next_multiple_of(4) > self.out.len() {
            return None;
        }
        match self.form {
            ExtensionForm::OneByte => self.out[start] = id << 4 | (len - 1) as u8,
            ExtensionForm::TwoByte => self.out[start..at].copy_from_slice(&[id, len as u8]),
        }
        self.out[at..at + len].fill(0);
        self.len = at + len;
        Some(at)
    }

    /// Pads and closes the extension block, if one was begun, and returns the header's length.
    #[inline]
    #[must_use]
    pub fn finish(self) -> usize {
        if self.len == FIXED_LEN {
            return FIXED_LEN;
        }
        let end = self.len.next_multiple_of(4);
        self.out[self.len..end].fill(0);
        self.out[0] |= 0x10;
        let words = ((end - FIXED_LEN) / 4 - 1) as u16;
        self.out[FIXED_LEN..FIXED_LEN + 2].copy_from_slice(&self.form.profile().to_be_bytes());
        self.out[FIXED_LEN + 2..FIXED_LEN + 4].copy_from_slice(&words.to_be_bytes());
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields() -> HeaderFields {
        HeaderFields {
            padding: true,
            marker: true,
            payload_type: 101,
            sequence: 0x1234,
            timestamp: 0x5678_9abc,
            ssrc: 0xdead_beef,
        }
    }

    fn elements(packet: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let header = RtpHeader::parse(packet).unwrap();
        header
            .extensions()
            .map(|(id, value)| (id, value.to_vec()))
            .collect()
    }

    /// A packet with one extension block of `block`, which is whole words.
    fn with_block(profile: u16, block: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        packet.extend(profile.to_be_bytes());
        packet.extend(((block.len() / 4) as u16).to_be_bytes());
        packet.extend(block);
        packet
    }

    #[test]
    fn a_plain_header_is_twelve_bytes() {
        let mut out = [0; 12];
        let len = HeaderWriter::new(&mut out, &fields(), ExtensionForm::OneByte)
            .unwrap()
            .finish();
        assert_eq!(len, 12);
        assert_eq!(
            out,
            [
                0xa0, 0xe5, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xad, 0xbe, 0xef
            ]
        );
        let header = RtpHeader::parse(&out).unwrap();
        assert!(header.padding && header.marker && !header.extension);
        assert_eq!((header.payload_type, header.sequence), (101, 0x1234));
        assert_eq!(
            (header.timestamp, header.ssrc, header.header_len()),
            (0x5678_9abc, 0xdead_beef, 12)
        );
        assert!(HeaderWriter::new(&mut out[..11], &fields(), ExtensionForm::OneByte).is_none());
    }

    #[test]
    fn contributing_sources_are_skipped() {
        let mut packet = vec![0x82, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        packet.extend([1; 8]);
        assert_eq!(RtpHeader::parse(&packet).unwrap().header_len(), 20);
        assert_eq!(RtpHeader::parse(&packet[..19]), Err(RtpError::Truncated));
    }

    #[test]
    fn other_versions_and_cut_headers_are_refused() {
        assert_eq!(RtpHeader::parse(&[0; 12]), Err(RtpError::Version));
        assert_eq!(RtpHeader::parse(&[0x80; 11]), Err(RtpError::Truncated));
        let whole = with_block(0xbede, &[0x10, 1, 0, 0]);
        for len in 12..whole.len() {
            assert_eq!(
                RtpHeader::parse(&whole[..len]),
                Err(RtpError::Truncated),
                "{len}"
            );
        }
        assert!(RtpHeader::parse(&whole).is_ok());
    }

    #[test]
    fn one_byte_elements_may_be_padded_anywhere() {
        // RFC 8285 §4.2: id 1 of one byte, id 2 of two with padding before, id 3 of four.
        let packet = with_block(
            0xbede,
            &[0x10, 0xaa, 0x21, 0xbb, 0xbb, 0, 0, 0x33, 1, 2, 3, 4],
        );
        assert_eq!(
            elements(&packet),
            [
                (1, vec![0xaa]),
                (2, vec![0xbb, 0xbb]),
                (3, vec![1, 2, 3, 4])
            ]
        );
    }

    #[test]
    fn id_15_and_a_length_on_id_0_end_the_one_byte_form() {
        let stopped = with_block(0xbede, &[0x10, 0xaa, 0xf0, 0, 0x20, 0xbb, 0, 0]);
        assert_eq!(elements(&stopped), [(1, vec![0xaa])]);
        let lying = with_block(0xbede, &[0x10, 0xaa, 0x01, 0, 0x20, 0xbb, 0, 0]);
        assert_eq!(elements(&lying), [(1, vec![0xaa])]);
    }

    #[test]
    fn two_byte_elements_may_be_empty_and_have_any_id() {
        let packet = with_block(0x1005, &[1, 0, 0, 200, 3, 7, 8, 9]);
        assert_eq!(elements(&packet), [(1, vec![]), (200, vec![7, 8, 9])]);
    }

    #[test]
    fn elements_beyond_the_block_are_not_returned() {
        let one = with_block(0xbede, &[0x10, 0xaa, 0x2f, 0xbb]);
        assert_eq!(elements(&one), [(1, vec![0xaa])]);
        let two = with_block(0x1000, &[1, 1, 0xaa, 2]);
        assert_eq!(elements(&two), [(1, vec![0xaa])]);
        let unknown = with_block(0xabac, &[0x10, 0xaa, 0, 0]);
        assert_eq!(elements(&unknown), []);
    }

    #[test]
    fn padding_is_counted_by_the_last_byte() {
        let header = RtpHeader::parse(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        assert_eq!(header.unpadded_len(&[9, 9, 0, 2]), Ok(2));
        assert_eq!(header.unpadded_len(&[0, 2]), Ok(0), "padding only");
        for bad in [&[][..], &[0], &[1, 3]] {
            assert_eq!(header.unpadded_len(bad), Err(RtpError::Padding));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_untouched() {
        let mut out = [0; 20];
        let mut writer = HeaderWriter::new(&mut out, &fields(), ExtensionForm::OneByte).unwrap();
        assert_eq!(writer.extension(15, &[1]), None);
        assert_eq!(writer.extension(0, &[1]), None);
        assert_eq!(writer.extension(1, &[]), None);
        assert_eq!(writer.extension(1, &[0; 17]), None);
        assert_eq!(
            writer.extension(1, &[0; 4]),
            None,
            "20 bytes are full after a word"
        );
        assert_eq!(writer.extension(1, &[7, 8, 9]), Some(17));
        assert_eq!(writer.extension(2, &[1]), None);
        assert_eq!(writer.finish(), 20);
        assert_eq!(elements(&out), [(1, vec![7, 8, 9])]);
    }

    proptest! {
        #[test]
        fn elements_come_out_as_they_went_in(
            two_byte: bool,
            wanted in proptest::collection::vec((1u8..=14, proptest::collection::vec(any::<u8>(), 1..=16)), 0..10),
            room in 12usize..160,
        ) {
            let form = if two_byte { ExtensionForm::TwoByte } else { ExtensionForm::OneByte };
            let mut out = vec![0xee; room];
            let mut writer = HeaderWriter::new(&mut out, &fields(), form).unwrap();
            let mut written = Vec::new();
            for (id, value) in wanted {
                if let Some(at) = writer.extension(id, &value) {
                    written.push((at, id, value));
                }
            }
            let len = writer.finish();
            let header = RtpHeader::parse(&out[..len]).unwrap();
            prop_assert_eq!(header.header_len(), len);
            let read: Vec<_> = header.extensions().map(|(id, value)| (id, value.to_vec())).collect();
            let expected: Vec<_> = written.iter().map(|(_, id, value)| (*id, value.clone())).collect();
            prop_assert_eq!(read, expected);
            for (at, _, value) in written {
                prop_assert_eq!(&out[at..at + value.len()], &value[..]);
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(packet in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Ok(header) = RtpHeader::parse(&packet) {
                prop_assert!(header.header_len() <= packet.len());
                let total: usize = header.extensions().map(|(_, value)| value.len() + 1).sum();
                prop_assert!(total <= packet.len());
                let _ = header.unpadded_len(&packet[header.header_len()..]);
            }
        }
    }
}

//! Additions to `is`'s STUN codec that both agents share.

use aws_lc_rs::hmac;
use is::stun::StunMessage;

use super::IceError;

/// Computes HMAC-SHA1 over consecutive pieces, for MESSAGE-INTEGRITY (RFC 8489 §14.5).
pub(super) fn sha1_hmac(key: &[u8], pieces: &[&[u8]]) -> [u8; 20] {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
    let mut context = hmac::Context::with_key(&key);
    for piece in pieces {
        context.update(piece);
    }
    let mut out = [0; 20];
    out.copy_from_slice(context.sign().as_ref());
    out
}

/// Returns our username fragment in a binding request: the part of USERNAME before the colon.
pub(crate) fn username_of(datagram: &[u8]) -> Option<&str> {
    let message = StunMessage::parse(datagram).ok()?;
    if !message.is_binding_request() {
        return None;
    }
    let username = message.username()?;
    username.split_once(':').map(|(ours, _)| ours)
}

/// Checks credentials against RFC 8839 §5.4, narrowed to what fits the codec's USERNAME of 128 bytes.
pub(crate) fn check_credentials(username_fragment: &str, password: &str) -> Result<(), IceError> {
    let is_ice_char = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    let fits = |text: &str, min: usize, max: usize| {
        (min..=max).contains(&text.len()) && text.bytes().all(is_ice_char)
    };
    if !fits(username_fragment, 4, MAX_USERNAME_FRAGMENT) {
        return Err(IceError::UsernameFragment);
    }
    if !fits(password, 22, 256) {
        return Err(IceError::Password);
    }
    Ok(())
}

/// Two fragments and a colon must stay within 128 bytes.
const MAX_USERNAME_FRAGMENT: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_is_that_of_rfc_2202_however_the_message_is_cut() {
        let expected = [
            0xef, 0xfc, 0xdf, 0x6a, 0xe5, 0xeb, 0x2f, 0xa2, 0xd2, 0x74, 0x16, 0xd5, 0xf1, 0x84,
            0xdf, 0x9c, 0x25, 0x9a, 0x7c, 0x79,
        ];
        let message = b"what do ya want for nothing?";
        assert_eq!(sha1_hmac(b"Jefe", &[message]), expected);
        assert_eq!(
            sha1_hmac(b"Jefe", &[&message[..3], &message[3..9], &message[9..]]),
            expected
        );
    }

    #[test]
    fn credentials_outside_the_grammar_are_refused() {
        let password = "p".repeat(22);
        assert!(check_credentials("abcd", &password).is_ok());
        assert_eq!(
            check_credentials("abc", &password),
            Err(IceError::UsernameFragment)
        );
        assert_eq!(
            check_credentials("ab:d", &password),
            Err(IceError::UsernameFragment)
        );
        assert_eq!(
            check_credentials(&"a".repeat(64), &password),
            Err(IceError::UsernameFragment)
        );
        assert_eq!(check_credentials("abcd", "short"), Err(IceError::Password));
        assert_eq!(
            check_credentials("abcd", &"ä".repeat(22)),
            Err(IceError::Password)
        );
    }

    #[test]
    fn only_requests_with_a_colon_name_a_fragment() {
        assert_eq!(username_of(&[]), None);
        assert_eq!(username_of(&[0; 20]), None);
        let mut buffer = [0; 256];
        let request = StunMessage::binding_request(
            "ours:theirs",
            is::stun::TransId::new(),
            true,
            1,
            2,
            false,
        );
        let length = request
            .to_bytes(Some(b"secret"), &mut buffer, sha1_hmac)
            .unwrap();
        assert_eq!(username_of(&buffer[..length]), Some("ours"));
    }
}

//! The form of an API key: `fs_<id>_<secret>`. The id is shown in lists and logs; the secret has
//! 256 random bits, and only a hash of the whole key is stored. So a fast hash is enough: nobody
//! can try all secrets.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::Rng;
use sha2::{Digest, Sha256};

/// The characters of an id: digits and small letters without those that look alike.
const ID_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const ID_LENGTH: usize = 12;
const PREFIX: &str = "fs_";
/// 32 bytes in base64url without padding.
const SECRET_LENGTH: usize = 43;

/// A new key. It is shown once, and stored nowhere.
pub struct NewApiKey {
    /// The part that is no secret.
    pub id: String,
    /// The whole key.
    pub text: String,
}

impl NewApiKey {
    /// A key of random bits.
    pub fn random() -> Self {
        let (id, text) = new_text(PREFIX);
        NewApiKey { id, text }
    }
}

/// The id in a text that has the form of an API key; `None` for any other text.
pub fn id_of(text: &str) -> Option<&str> {
    id_after(PREFIX, text)
}

/// Random characters that are easy to read.
pub(super) fn readable(length: usize) -> String {
    let mut random = vec![0u8; length];
    rand::rng().fill_bytes(&mut random);
    random.iter().map(|byte| char::from(ID_ALPHABET[usize::from(byte % 32)])).collect()
}

/// A new id, and the whole text of which it is a part.
pub(super) fn new_text(prefix: &str) -> (String, String) {
    let mut secret = [0u8; 32];
    rand::rng().fill_bytes(&mut secret);
    let id = readable(ID_LENGTH);
    let text = format!("{prefix}{id}_{}", URL_SAFE_NO_PAD.encode(secret));
    (id, text)
}

/// The id in a text of [`new_text`]; `None` for a text of another form.
pub(super) fn id_after<'a>(prefix: &str, text: &'a str) -> Option<&'a str> {
    let (id, secret) = text.strip_prefix(prefix)?.split_once('_')?;
    let is_secret = secret.len() == SECRET_LENGTH
        && secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    (is_id(id) && is_secret).then_some(id)
}

/// Whether a text has the form of an id, of a key or of a session.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.bytes().all(|byte| ID_ALPHABET.contains(&byte))
}

/// The id in a text that names a key: an id, or a key, also one that is not complete. `None` for
/// any other text, which may have a secret in it, so show it nowhere.
pub fn id_within(text: &str) -> Option<&str> {
    let text = text.trim();
    let id = text.strip_prefix("fs_").unwrap_or(text).split('_').next()?;
    is_id(id).then_some(id)
}

/// The hash by which a key is stored and compared.
pub fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_has_the_form_of_a_key_and_none_is_like_another() {
        let keys: Vec<NewApiKey> = (0..1_000).map(|_| NewApiKey::random()).collect();
        for key in &keys {
            assert_eq!(id_of(&key.text), Some(key.id.as_str()), "{}", key.id);
            assert_eq!(key.text.len(), 3 + ID_LENGTH + 1 + SECRET_LENGTH);
        }
        let secrets: std::collections::HashSet<&str> =
            keys.iter().map(|key| key.text.split_at(3 + ID_LENGTH).1).collect();
        assert_eq!(secrets.len(), keys.len());
    }

    #[test]
    fn a_key_is_named_by_its_id_or_by_itself() {
        let NewApiKey { id, text } = NewApiKey::random();
        let cut = &text[..20];
        for named in [&id, &text, &format!(" {text}\n"), cut, &text[3..], &format!("fs_{id}")] {
            assert_eq!(id_within(named), Some(id.as_str()), "{named}");
        }
        for other in ["", "fs_", "fs__", &id[1..], &text[16..], &text.to_uppercase(), "a b"] {
            assert_eq!(id_within(other), None, "{other}");
        }
    }

    #[test]
    fn any_other_text_is_no_key() {
        let key = NewApiKey::random().text;
        let longer = format!("{key}A");
        let upper = key.to_uppercase();
        let without_id = key.replacen("fs_", "fs__", 1);
        for text in [
            "",
            "fs_",
            "fs__",
            &key[1..],
            &key[..key.len() - 1],
            &longer,
            &upper,
            &without_id,
            "eyJh.eyJz.c2ln",
        ] {
            assert_eq!(id_of(text), None, "{text}");
        }
    }
}

//! Keys that records are encrypted with.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};

use crate::key::RecordKey;
use crate::store::{Record, StoreError};

/// Encrypts records with XChaCha20-Poly1305: the newest key seals, and every key opens.
///
/// A record is bound to the key that it is filed under: moved to another one, it cannot be read. What a record says is hidden; how long it is, that there is one,
/// and when it was filed are not. The body of a *request* is never stored, but for its hash.
///
/// # Rotation
///
/// Give the new key to every process as a [`former`](Self::former) one first, and make it the newest when all have it. Drop the old one after a ttl. Records that were
/// filed before there was any key stay readable, until you say [`sealed_only`](Self::sealed_only).
///
/// ```
/// use buttress_idempotency::{IdempotencyLayer, Keyring, MemoryStore};
///
/// # let (of_2027, of_2026) = ([1; 32], [2; 32]);
/// let keys = Keyring::new(2027, of_2027).former(2026, of_2026);
/// let layer = IdempotencyLayer::new(MemoryStore::new())
///     .single_tenant()
///     .encryption(keys);
/// # let _ = layer;
/// ```
pub struct Keyring {
    newest: (u32, XChaCha20Poly1305),
    former: Vec<(u32, XChaCha20Poly1305)>,
    pub(super) sealed_only: bool,
}

/// In front of what is sealed: the number of its key, and a nonce.
const NONCE: usize = 24;
const HEAD: usize = 4 + NONCE;

impl Keyring {
    /// A key, and the number that records know it by.
    #[must_use]
    pub fn new(id: u32, key: [u8; 32]) -> Self {
        Self {
            newest: (id, XChaCha20Poly1305::new(&key.into())),
            former: Vec::new(),
            sealed_only: false,
        }
    }

    /// A key that records may still be, or already be, sealed with.
    ///
    /// # Panics
    ///
    /// When there is a key of this number: records could not tell them apart.
    #[must_use]
    pub fn former(mut self, id: u32, key: [u8; 32]) -> Self {
        assert!(self.key(id).is_none(), "two keys of the number {id}");
        self.former.push((id, XChaCha20Poly1305::new(&key.into())));
        self
    }

    /// Takes no response that is not sealed: nobody who can write to the store can make one up. That there was one which is not kept is taken from anybody. For when what was filed without a key is over.
    #[must_use]
    pub fn sealed_only(self) -> Self {
        Self {
            sealed_only: true,
            ..self
        }
    }

    fn key(&self, id: u32) -> Option<&XChaCha20Poly1305> {
        let mut keys = std::iter::once(&self.newest).chain(&self.former);
        keys.find(|(of, _)| *of == id).map(|(_, key)| key)
    }

    pub(super) fn seal(&self, key: &RecordKey, record: &Record) -> Record {
        // 192 random bits do not meet again.
        let nonce: [u8; NONCE] = rand::random();
        let plain = Payload {
            msg: &record.encode(),
            aad: key.as_bytes(),
        };
        let (id, cipher) = &self.newest;
        let sealed = cipher.encrypt(&XNonce::from(nonce), plain);
        let sealed = sealed.expect("a record has less than 2^38 bytes");
        let mut out = BytesMut::with_capacity(HEAD + sealed.len());
        out.put_u32(*id);
        out.put_slice(&nonce);
        out.put_slice(&sealed);
        Record::Sealed(out.freeze())
    }

    pub(super) fn open(&self, key: &RecordKey, sealed: Bytes) -> Result<Record, StoreError> {
        let corrupt = |why: &'static str| StoreError::Corrupt(why.into());
        let (id, rest) = sealed.split_first_chunk().ok_or(corrupt("cut short"))?;
        let (nonce, msg) = rest
            .split_first_chunk::<NONCE>()
            .ok_or(corrupt("cut short"))?;
        let cipher = self.key(u32::from_be_bytes(*id));
        let cipher = cipher.ok_or(corrupt("it was encrypted with a key that is not there"))?;
        let payload = Payload {
            msg,
            aad: key.as_bytes(),
        };
        let plain = cipher.decrypt(&XNonce::from(*nonce), payload);
        let plain = plain.map_err(|_| corrupt("it is not what was encrypted"))?;
        Record::decode(plain.into())
    }
}

/// Without the keys.
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let former: Vec<u32> = self.former.iter().map(|(id, _)| *id).collect();
        f.debug_struct("Keyring")
            .field("newest", &self.newest.0)
            .field("former", &former)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use buttress_wire::Recorded;
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::store::Origin;

    const KEY: RecordKey = RecordKey::from_bytes([1; 32]);

    fn record() -> Record {
        let body = Bytes::from_static(b"a secret");
        let recorded = Recorded::new(StatusCode::OK, HeaderMap::new(), body, None);
        Record::Response(recorded, Origin::default())
    }

    fn sealed(ring: &Keyring) -> Bytes {
        let Record::Sealed(sealed) = ring.seal(&KEY, &record()) else {
            panic!("it is not sealed")
        };
        sealed
    }

    #[test]
    fn what_was_sealed_is_opened_by_its_key_whichever_is_the_newest() {
        let old = Keyring::new(1, [1; 32]);
        let new = Keyring::new(2, [2; 32]).former(1, [1; 32]);
        assert_eq!(new.open(&KEY, sealed(&old)).unwrap(), record());
        assert_eq!(new.open(&KEY, sealed(&new)).unwrap(), record());
        assert!(matches!(
            old.open(&KEY, sealed(&new)),
            Err(StoreError::Corrupt(_))
        ));
        assert_ne!(sealed(&old), sealed(&old), "a nonce is used once");
        let bytes = sealed(&old);
        assert!(!bytes.windows(8).any(|part| part == b"a secret"));
    }

    #[test]
    fn what_was_changed_or_moved_is_not_opened() {
        let ring = Keyring::new(1, [1; 32]);
        let bytes = sealed(&ring);
        let other = RecordKey::from_bytes([2; 32]);
        assert!(ring.open(&other, bytes.clone()).is_err(), "moved");
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1;
            assert!(ring.open(&KEY, changed.into()).is_err(), "byte {at}");
            assert!(ring.open(&KEY, bytes.slice(..at)).is_err(), "cut at {at}");
        }
        let same_number = Keyring::new(1, [9; 32]);
        assert!(same_number.open(&KEY, bytes).is_err());
    }

    #[test]
    #[should_panic(expected = "two keys of the number 1")]
    fn two_keys_of_one_number_are_refused() {
        let _ = Keyring::new(1, [1; 32]).former(1, [2; 32]);
    }
}

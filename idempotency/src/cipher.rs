//! Records that only the holder of a key can read.

#[cfg(feature = "encryption")]
mod keyring;

#[cfg(feature = "encryption")]
pub use self::keyring::Keyring;

use crate::key::RecordKey;
#[cfg(feature = "encryption")]
use crate::store::Origin;
use crate::store::{Record, StoreError};

/// What records pass on their way to a store and back.
#[derive(Clone, Default)]
pub(crate) struct Cipher {
    #[cfg(feature = "encryption")]
    pub(crate) keyring: Option<std::sync::Arc<Keyring>>,
}

impl Cipher {
    pub(crate) fn seal(&self, key: &RecordKey, record: Record) -> Record {
        #[cfg(feature = "encryption")]
        if let Some(keyring) = &self.keyring {
            return keyring.seal(key, &record);
        }
        let _ = key;
        record
    }

    /// A record that was filed before there was a key is taken as it is, unless that is ruled out. What is left of one that had to make room is taken then too, without what it tells of
    /// its request: nobody can make up a response by it.
    pub(crate) fn open(&self, key: &RecordKey, record: Record) -> Result<Record, StoreError> {
        let Record::Sealed(sealed) = record else {
            #[cfg(feature = "encryption")]
            if self.keyring.as_ref().is_some_and(|keys| keys.sealed_only) {
                if let Record::Tombstone(_) = record {
                    return Ok(Record::Tombstone(Origin::default()));
                }
                return Err(StoreError::Corrupt("it is not encrypted".into()));
            }
            return Ok(record);
        };
        #[cfg(feature = "encryption")]
        if let Some(keyring) = &self.keyring {
            return keyring.open(key, sealed);
        }
        let _ = (key, sealed);
        Err(StoreError::Corrupt(
            "it is encrypted, and there is no key".into(),
        ))
    }
}

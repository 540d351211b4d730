//! How values become bytes.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

/// Makes bytes of values, and values of bytes.
///
/// Whatever `decode` is given, it answers with a value or an error: the bytes may be of an older version of the type, or of
/// anybody who can write to the second level. An error is a miss. A panic is that of the call which asks.
pub trait Codec<V>: Send + Sync + 'static {
    /// Tells encodings apart: what was written by a codec of another number is a miss. Give a type whose meaning changes, and whose bytes do not
    /// show it, another one.
    fn version(&self) -> u8;

    /// The value's bytes.
    ///
    /// # Errors
    ///
    /// When it has none. Then it is not shared.
    fn encode(&self, value: &V) -> Result<Bytes, CodecError>;

    /// The value of these bytes.
    ///
    /// # Errors
    ///
    /// When they are of no value.
    fn decode(&self, bytes: Bytes) -> Result<V, CodecError>;

    /// The same, of a value that was kept for `age` since it was encoded: for one that counts its own age.
    ///
    /// # Errors
    ///
    /// When the bytes are of no value.
    fn decode_kept(&self, bytes: Bytes, age: Duration) -> Result<V, CodecError> {
        let _ = age;
        self.decode(bytes)
    }
}

/// Why a value has no bytes, or bytes no value.
pub type CodecError = Box<dyn Error + Send + Sync>;

/// [`Bytes`] as they are, without copying them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Raw;

impl Codec<Bytes> for Raw {
    fn version(&self) -> u8 {
        0
    }

    fn encode(&self, value: &Bytes) -> Result<Bytes, CodecError> {
        Ok(value.clone())
    }

    fn decode(&self, bytes: Bytes) -> Result<Bytes, CodecError> {
        Ok(bytes)
    }
}

macro_rules! serde_codec {
    ($(#[$doc:meta])* $name:ident, $feature:literal, $version:literal, $encode:expr, $decode:expr) => {
        $(#[$doc])*
        #[cfg(feature = $feature)]
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name;

        #[cfg(feature = $feature)]
        impl<V: serde::Serialize + serde::de::DeserializeOwned> Codec<V> for $name {
            fn version(&self) -> u8 {
                $version
            }

            fn encode(&self, value: &V) -> Result<Bytes, CodecError> {
                let encode: fn(&V) -> Result<Vec<u8>, _> = $encode;
                Ok(encode(value)?.into())
            }

            fn decode(&self, bytes: Bytes) -> Result<V, CodecError> {
                let decode: fn(&[u8]) -> Result<V, _> = $decode;
                Ok(decode(&bytes)?)
            }
        }
    };
}

serde_codec!(
    /// Any serde value, as [postcard](https://docs.rs/postcard): small and quick. It knows nothing of names, so that a type that changes its fields has to change its
    /// namespace with them.
    Postcard, "postcard", 1, |value| postcard::to_stdvec(value), |bytes| whole(bytes)
);
serde_codec!(
    /// Any serde value, as JSON: to be read by others too.
    Json, "json", 2, |value| serde_json::to_vec(value), |bytes| serde_json::from_slice(bytes)
);
serde_codec!(
    /// Any serde value, as MessagePack with names.
    MessagePack, "messagepack", 3, |value| rmp_serde::to_vec_named(value), |bytes| rmp_serde::from_slice(bytes)
);

/// Bytes that are left over are a sign of another type.
#[cfg(feature = "postcard")]
fn whole<V: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<V, postcard::Error> {
    match postcard::take_from_bytes(bytes)? {
        (value, []) => Ok(value),
        _ => Err(postcard::Error::SerdeDeCustom),
    }
}

impl<V: 'static> fmt::Debug for dyn Codec<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec")
            .field("version", &self.version())
            .finish()
    }
}

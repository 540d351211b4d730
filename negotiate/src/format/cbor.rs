//! CBOR (RFC 8949).

use ciborium::de::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{EncodeError, Format, Malformed, MediaType, Position, Record, RowEncoder};

/// CBOR: `application/cbor`. Structs are maps with the names of their fields. A collection that is sent record by record is an array of
/// indefinite length (RFC 8949, section 3.2.2), since nobody knows how many there will be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cbor;

impl Format for Cbor {
    type Rows = CborRows;

    fn name(&self) -> &'static str {
        "cbor"
    }

    fn media_types(&self) -> &'static [MediaType] {
        const { &[MediaType::new("application/cbor")] }
    }

    fn encode<T: Serialize + ?Sized>(
        &self,
        value: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        ciborium::into_writer(value, out).map_err(|error| EncodeError::new(error.to_string()))
    }

    fn rows(&self, _columns: &'static [&'static str]) -> CborRows {
        CborRows
    }

    fn reads(&self) -> &'static [&'static str] {
        &["application/cbor"]
    }

    fn suffix(&self) -> Option<&'static str> {
        Some("+cbor")
    }

    fn is_text(&self) -> bool {
        false
    }

    fn decode<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Malformed> {
        let mut rest = body;
        let value = ciborium::from_reader(&mut rest);
        let read = body.len() - rest.len();
        match value {
            Ok(value) if rest.is_empty() => Ok(value),
            Ok(_) => Err(Malformed::new("there is more than one value").at(Position::Byte(read))),
            Err(error) => Err(malformed(error, read)),
        }
    }
}

fn malformed<E: std::fmt::Debug>(error: Error<E>, read: usize) -> Malformed {
    let (reason, at) = match error {
        Error::Syntax(at) => ("this is no CBOR".to_owned(), at),
        Error::Semantic(at, reason) => (reason, at.unwrap_or(read)),
        Error::Io(_) => ("the value breaks off".to_owned(), read),
        Error::RecursionLimitExceeded => ("the value is nested too deep".to_owned(), read),
    };
    Malformed::new(reason).at(Position::Byte(at))
}

/// Writes an array of indefinite length.
#[derive(Debug)]
pub struct CborRows;

impl RowEncoder for CborRows {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(0x9f);
        Ok(())
    }

    fn row<T: Record>(&mut self, row: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        Cbor.encode(row, out)
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(0xff);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let at = |body: &[u8]| Cbor.decode::<Vec<u8>>(body).unwrap_err().position();
        assert_eq!(Cbor.decode::<Vec<u8>>(b"\x9f\x01\x02\xff").unwrap(), [1, 2]);
        assert_eq!(at(b"\x81\x01\x02"), Some(Position::Byte(2)));
        assert_eq!(at(b"\x82\x01"), Some(Position::Byte(2)));
        assert!(at(b"\x82\x01\xfc").is_some());
        // An error of the type's own is where reading came to.
        assert_eq!(at(b"\x82\x01\x61a"), Some(Position::Byte(3)));
        assert!(at(&[0x81; 10_000]).is_some(), "nested too deep");
    }
}

//! JSON (RFC 8259).

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{EncodeError, Format, Malformed, MediaType, Position, Record, RowEncoder};

/// JSON: `application/json`. A collection is an array. NaN and infinities are `null`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl Format for Json {
    type Rows = JsonRows;

    fn name(&self) -> &'static str {
        "json"
    }

    fn media_types(&self) -> &'static [MediaType] {
        const { &[MediaType::new("application/json").offered_as("application/json;charset=utf-8")] }
    }

    fn encode<T: Serialize + ?Sized>(
        &self,
        value: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        serde_json::to_writer(out, value).map_err(EncodeError::new)
    }

    fn rows(&self, _columns: &'static [&'static str]) -> JsonRows {
        JsonRows { separator: b'[' }
    }

    fn reads(&self) -> &'static [&'static str] {
        &["application/json"]
    }

    fn suffix(&self) -> Option<&'static str> {
        Some("+json")
    }

    /// The parameter has no effect (RFC 8259, section 11).
    fn has_charset(&self) -> bool {
        false
    }

    fn decode<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Malformed> {
        serde_json::from_slice(body).map_err(|error| malformed(error, 0))
    }
}

/// An error so many lines further down. One that comes from outside of a text has no place in it.
pub(super) fn malformed(error: serde_json::Error, lines: usize) -> Malformed {
    let (line, column) = match error.line() {
        0 => (lines + 1, 1),
        line => (lines + line, error.column()),
    };
    Malformed::new(error).at(Position::Line { line, column })
}

/// Writes a JSON array.
#[derive(Debug)]
pub struct JsonRows {
    /// What stands before the next record.
    separator: u8,
}

impl RowEncoder for JsonRows {
    fn row<T: Record>(&mut self, row: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(self.separator);
        self.separator = b',';
        Json.encode(row, out)
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.separator == b'[' {
            out.push(b'[');
        }
        out.push(b']');
        Ok(())
    }
}

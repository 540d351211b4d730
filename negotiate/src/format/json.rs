//! JSON (RFC 8259).

use serde::Serialize;

use super::{EncodeError, Format, MediaType, Record, RowEncoder};

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

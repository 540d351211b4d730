//! MessagePack.

use std::io::Cursor;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{EncodeError, Format, Malformed, MediaType, Position, Record, RowEncoder};

/// MessagePack: `application/vnd.msgpack`, also under the names from before it was registered. Structs are maps with the names of their fields.
///
/// The format has no array whose length is unknown: a collection that is sent record by record is its records, one after the other, which is what
/// streaming readers of MessagePack read; [`decode`](Format::decode) reads one value.
#[derive(Clone, Copy, Debug, Default)]
pub struct MessagePack;

impl Format for MessagePack {
    type Rows = MessagePackRows;

    fn name(&self) -> &'static str {
        "msgpack"
    }

    fn media_types(&self) -> &'static [MediaType] {
        const {
            &[
                MediaType::new("application/vnd.msgpack"),
                MediaType::new("application/msgpack"),
                MediaType::new("application/x-msgpack"),
            ]
        }
    }

    fn encode<T: Serialize + ?Sized>(
        &self,
        value: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        rmp_serde::encode::write_named(out, value).map_err(EncodeError::new)
    }

    fn rows(&self, _columns: &'static [&'static str]) -> MessagePackRows {
        MessagePackRows
    }

    fn reads(&self) -> &'static [&'static str] {
        &[
            "application/vnd.msgpack",
            "application/msgpack",
            "application/x-msgpack",
        ]
    }

    fn is_text(&self) -> bool {
        false
    }

    fn decode<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Malformed> {
        let mut reader = rmp_serde::Deserializer::new(Cursor::new(body));
        // Far deeper than people nest, and far from the end of a stack.
        reader.set_max_depth(128);
        let value = T::deserialize(&mut reader);
        let read = usize::try_from(reader.position()).unwrap_or(usize::MAX);
        match value {
            Ok(value) if read >= body.len() => Ok(value),
            Ok(_) => Err(Malformed::new("there is more than one value").at(Position::Byte(read))),
            Err(error) => Err(Malformed::new(error).at(Position::Byte(read))),
        }
    }
}

/// Writes records one after the other.
#[derive(Debug)]
pub struct MessagePackRows;

impl RowEncoder for MessagePackRows {
    fn row<T: Record>(&mut self, row: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        MessagePack.encode(row, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let at = |body: &[u8]| MessagePack.decode::<Vec<u8>>(body).unwrap_err().position();
        assert_eq!(
            MessagePack.decode::<Vec<u8>>(b"\x92\x01\x02").unwrap(),
            [1, 2]
        );
        assert_eq!(at(b"\x91\x01\x02"), Some(Position::Byte(2)));
        assert!(at(b"\x92\x01").is_some());
        assert!(at(&[0x91; 10_000]).is_some(), "nested too deep");
        let nested = |depth| {
            let body = [vec![0x91; depth], vec![0xc0]].concat();
            MessagePack.decode::<serde_json::Value>(&body).is_ok()
        };
        assert!(nested(100) && !nested(200));
        assert!(at(b"\xdd\xff\xff\xff\xff").is_some(), "a length that lies");
    }
}

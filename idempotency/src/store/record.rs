//! What is kept of finished work, and the bytes it is stored as.
//!
//! ```text
//! 0 │ origin                        a tombstone
//! 1 │ origin │ what Recorded::encode gives
//! 2 │ what a cipher made of one of the others
//! origin = milliseconds since 1970 u64, or 0 │ length u8 │ id of the request
//! ```

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use buttress_wire::Recorded;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use httpdate::HttpDate;

use super::StoreError;

thread_local! {
    /// Most requests come in the same second as the one before.
    static LAST_DATE: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static(""))) };
}

/// What is kept of finished work.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Record {
    /// The response, to be sent again, and when it was first asked for.
    Response(Recorded, Origin),
    /// The work is done; its response was too large to keep, or had to make room.
    Tombstone(Origin),
    /// One of the others, which only the holder of a key can read.
    Sealed(Bytes),
}

/// The request that a record is the answer to, by being executed: the first under its key, unless its work was left behind and a repetition has done it, or [told](crate::Reconciled::Done) how it
/// ended. What a person [marks done](crate::IdempotencyLayer::mark_done) has none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Origin {
    /// Since 1970; zero is not known.
    millis: u64,
    /// Shared, for few have one and all make room for it.
    request_id: Option<Arc<HeaderValue>>,
}

impl Origin {
    /// The longest request id that is kept.
    pub const MAX_REQUEST_ID: usize = 128;

    /// A request of this moment, and with this id, if it has one. An id that is longer than [`MAX_REQUEST_ID`](Self::MAX_REQUEST_ID) is not kept.
    #[must_use]
    pub fn new(at: SystemTime, request_id: Option<HeaderValue>) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            millis: since.as_millis() as u64,
            request_id: request_id
                .filter(|id| id.len() <= Self::MAX_REQUEST_ID)
                .map(Arc::new),
        }
    }

    /// When it came, by the clock of the process that took it, to the millisecond.
    #[must_use]
    pub fn at(&self) -> Option<SystemTime> {
        let known = (self.millis > 0).then_some(Duration::from_millis(self.millis))?;
        UNIX_EPOCH.checked_add(known)
    }

    /// The id it had.
    #[must_use]
    pub fn request_id(&self) -> Option<&HeaderValue> {
        self.request_id.as_deref()
    }

    /// The time as HTTP writes it (RFC 9110, section 5.6.7), to the second.
    pub(crate) fn http_date(&self) -> Option<HeaderValue> {
        let at = self.at()?;
        let second = self.millis / 1000;
        LAST_DATE.with_borrow_mut(|(of, date)| {
            if *of != second {
                let written = HeaderValue::try_from(HttpDate::from(at).to_string()).ok()?;
                (*of, *date) = (second, written);
            }
            Some(date.clone())
        })
    }

    fn put(&self, out: &mut BytesMut) {
        let id = self.request_id().map_or(&b""[..], HeaderValue::as_bytes);
        out.put_u64(self.millis);
        // Not longer than `MAX_REQUEST_ID`.
        out.put_u8(id.len() as u8);
        out.put_slice(id);
    }

    fn take(bytes: &mut Bytes) -> Result<Self, &'static str> {
        if bytes.len() < 9 {
            return Err("cut short");
        }
        let (millis, length) = (bytes.get_u64(), usize::from(bytes.get_u8()));
        if length > bytes.len().min(Self::MAX_REQUEST_ID) {
            return Err("the id of its request is longer than it can be");
        }
        let id = bytes.split_to(length);
        let id = HeaderValue::from_maybe_shared(id).map_err(|_| "the id of its request is none")?;
        Ok(Self {
            millis,
            request_id: (!id.is_empty()).then(|| Arc::new(id)),
        })
    }
}

const TOMBSTONE: u8 = 0;
const RESPONSE: u8 = 1;
const SEALED: u8 = 2;

impl Record {
    /// A response, or that there was one.
    #[must_use]
    pub fn of(response: Option<Recorded>, origin: Origin) -> Self {
        match response {
            Some(recorded) => Self::Response(recorded, origin),
            None => Self::Tombstone(origin),
        }
    }

    /// The record as bytes, for a store.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let (tag, rest) = match self {
            Self::Response(recorded, _) => (RESPONSE, recorded.encode()),
            Self::Tombstone(_) => (TOMBSTONE, Bytes::new()),
            Self::Sealed(sealed) => (SEALED, sealed.clone()),
        };
        let origin = match self {
            Self::Response(_, origin) | Self::Tombstone(origin) => Some(origin),
            Self::Sealed(_) => None,
        };
        let id = origin.and_then(Origin::request_id);
        let id = id.map_or(0, HeaderValue::len);
        // Exactly, for a store may keep it.
        let mut out = BytesMut::with_capacity(10 + id + rest.len());
        out.put_u8(tag);
        if let Some(origin) = origin {
            origin.put(&mut out);
        }
        out.put_slice(&rest);
        out.freeze()
    }

    /// The same in memory of its own, which nothing else is in.
    pub(super) fn copied(self) -> Self {
        // What was written just now can be read.
        Self::decode(self.encode()).unwrap_or(self)
    }

    /// Reads what [`encode`](Self::encode) wrote. The body is a slice of `bytes`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] for anything else.
    pub fn decode(mut bytes: Bytes) -> Result<Self, StoreError> {
        let corrupt = |why: &'static str| StoreError::Corrupt(why.into());
        let tag = bytes.try_get_u8().map_err(|_| corrupt("empty"))?;
        if tag == SEALED {
            return Ok(Self::Sealed(bytes));
        }
        let origin = Origin::take(&mut bytes).map_err(corrupt)?;
        match tag {
            TOMBSTONE if bytes.is_empty() => Ok(Self::Tombstone(origin)),
            TOMBSTONE => Err(corrupt("a tombstone has a rest")),
            RESPONSE => {
                let recorded = Recorded::decode(bytes);
                let recorded = recorded.map_err(|error| StoreError::Corrupt(error.into()))?;
                Ok(Self::Response(recorded, origin))
            }
            _ => Err(corrupt("unknown version")),
        }
    }

    /// The same with its body and fields forgotten.
    pub(super) fn bury(&mut self) -> Self {
        let origin = match self {
            Self::Response(_, origin) | Self::Tombstone(origin) => origin.clone(),
            Self::Sealed(_) => Origin::default(),
        };
        std::mem::replace(self, Self::Tombstone(origin))
    }

    /// How many bytes it keeps in memory, near enough for a bound.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Response(recorded, _) => {
                // Parts of a response, their counts of references, and those of a body that is sent again.
                const PARTS: usize = 200 + SHARED;
                let trailers = recorded.trailers().map_or(0, fields_weight);
                PARTS + recorded.body().len() + fields_weight(recorded.headers()) + trailers
            }
            Self::Sealed(sealed) => SHARED + sealed.len(),
            Self::Tombstone(_) => 0,
        }
    }
}

/// What bytes keep beside themselves once there is more than one reference to them.
const SHARED: usize = 32;

/// A map's table, as large as it has been made, and what is in it. What a name takes by itself is unknown, for most names are constants: long ones count.
fn fields_weight(fields: &HeaderMap) -> usize {
    /// Beside name and value a place has its hash and the ends of a list.
    const PLACE: usize = size_of::<HeaderName>() + size_of::<HeaderValue>() + 32;
    /// One more of a name, in such a list, which has room for a half more on average.
    const MORE: usize = (size_of::<HeaderValue>() + 32) * 3 / 2;
    /// Of three places four are indexed, by four bytes each.
    const INDEX: usize = 6;
    let mut bytes = 0;
    for (name, value) in fields {
        bytes += value.len() + name.as_str().len().saturating_sub(32);
    }
    // A constant is not kept, and what is not one has more beside itself.
    bytes += fields.len() * (SHARED / 2);
    let repeated = fields.len() - fields.keys_len();
    fields.capacity() * (PLACE + INDEX) + repeated * MORE + bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin() -> Origin {
        let at = UNIX_EPOCH + Duration::from_millis(1_795_000_000_123);
        Origin::new(at, Some(HeaderValue::from_static("req-1")))
    }

    fn recorded() -> Recorded {
        let body = Bytes::from_static(b"\0");
        Recorded::new(http::StatusCode::OK, http::HeaderMap::new(), body, None)
    }

    #[test]
    fn records_travel_and_nothing_else_is_one() {
        for record in [
            Record::Tombstone(Origin::default()),
            Record::Tombstone(origin()),
            Record::Response(recorded(), origin()),
            Record::Response(recorded(), Origin::default()),
            Record::Sealed(Bytes::from_static(b"?")),
        ] {
            assert_eq!(Record::decode(record.encode()).unwrap(), record);
            let cut = record.encode().slice(..record.encode().len() - 1);
            if !matches!(record, Record::Sealed(_)) {
                assert!(matches!(Record::decode(cut), Err(StoreError::Corrupt(_))));
            }
        }
        let long_id = [&[0, 0, 0, 0, 0, 0, 0, 0, 0, 200][..], &[b'a'; 200]].concat();
        for broken in [&b""[..], &[0, 0], &[1], &[200, 1], &[3; 40], &long_id] {
            let decoded = Record::decode(Bytes::copy_from_slice(broken));
            assert!(matches!(decoded, Err(StoreError::Corrupt(_))), "{broken:?}");
        }
    }

    #[test]
    fn an_origin_is_told_to_the_millisecond_or_not_at_all() {
        assert_eq!(
            origin().at(),
            Some(UNIX_EPOCH + Duration::from_millis(1_795_000_000_123))
        );
        assert_eq!(origin().request_id().unwrap(), "req-1");
        assert_eq!(Origin::default().at(), None);
        for _ in 0..2 {
            assert_eq!(
                origin().http_date().unwrap(),
                "Wed, 18 Nov 2026 11:06:40 GMT"
            );
            let later = Origin::new(origin().at().unwrap() + Duration::from_secs(1), None);
            assert_eq!(later.http_date().unwrap(), "Wed, 18 Nov 2026 11:06:41 GMT");
        }
        let long = HeaderValue::from_str(&"a".repeat(129)).unwrap();
        assert_eq!(Origin::new(UNIX_EPOCH, Some(long)), Origin::default());
    }

    #[test]
    fn a_record_that_makes_room_still_tells_its_origin() {
        let mut record = Record::Response(recorded(), origin());
        assert!(record.weight() > 0);
        let gone = record.bury();
        assert_eq!(gone, Record::Response(recorded(), origin()));
        assert_eq!(
            (&record, record.weight()),
            (&Record::Tombstone(origin()), 0)
        );
    }
}

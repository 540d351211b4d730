//! Stored responses as bytes, for the level that processes share.
//!
//! All integers are big-endian, times are in milliseconds:
//!
//! ```text
//! response  1 │ flags u8 │ age u64 │ lifetime u64 │ while revalidating u64 │ if error u64 │ tags │ keys │ (fields │ key)? │ what wire makes of a response
//! rule      2 │ flags u8 │ names
//! variants  3 │ count u16 │ fields* │ keys
//! each of tags, keys, fields, names = count u16 │ (length u32 │ bytes)*
//! ```
//!
//! The age is that at the time of writing; how long it was kept comes on top when it is read. Whatever else is found is a miss.

use std::sync::Arc;
use std::time::Duration;

use buttress_wire::Recorded;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{AGE, HeaderName};
use tokio::time::Instant;

use super::policy::Policy;
use super::query::SearchRule;
use super::status::{CACHE_STATUS, X_CACHE};
use super::stored::{CachedResponse, Kind, Stored};
use super::variants::{Selecting, Variant, Variants};
use crate::l2::{Codec, CodecError};

/// Writes and reads [`CachedResponse`]s, for a [`SecondLevel`](crate::l2::SecondLevel).
///
/// ```no_run
/// # #[cfg(feature = "redis")] fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use buttress_cache::http::{CachedResponse, HttpCacheLayer, ResponseCodec};
/// use buttress_cache::l2::{RedisL2, SecondLevel};
///
/// let redis = RedisL2::open("redis://127.0.0.1", "shop:responses:v1")?;
/// let responses = CachedResponse::cache().l2(SecondLevel::new(redis, ResponseCodec)).build();
/// let layer = HttpCacheLayer::new(responses).x_cache(true);
/// # let _ = layer; Ok(()) }
/// ```
///
/// What was written by another version of it, or by anybody else, is a miss.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseCodec;

impl Codec<CachedResponse> for ResponseCodec {
    fn version(&self) -> u8 {
        VERSION
    }

    fn encode(&self, response: &CachedResponse) -> Result<Bytes, CodecError> {
        let mut out = BytesMut::new();
        match &response.0 {
            Kind::Response(stored) => put_response(&mut out, stored)?,
            Kind::Search(rule) => put_rule(&mut out, rule)?,
            Kind::Variants(variants) => put_variants(&mut out, variants)?,
        }
        Ok(out.freeze())
    }

    fn decode(&self, bytes: Bytes) -> Result<CachedResponse, CodecError> {
        self.decode_kept(bytes, Duration::ZERO)
    }

    fn decode_kept(&self, mut bytes: Bytes, age: Duration) -> Result<CachedResponse, CodecError> {
        let kind = match bytes.try_get_u8()? {
            RESPONSE => Kind::Response(Arc::new(response(bytes, age)?)),
            RULE => Kind::Search(Arc::new(rule(&mut bytes)?)),
            VARIANTS => Kind::Variants(Arc::new(variants(&mut bytes)?)),
            _ => return Err("neither a response nor a mark".into()),
        };
        Ok(CachedResponse(kind))
    }
}

/// Among the numbers of codecs.
const VERSION: u8 = 17;

const RESPONSE: u8 = 1;
const RULE: u8 = 2;
const VARIANTS: u8 = 3;

const NO_CACHE: u8 = 1;
const FORBIDS_STALE: u8 = 2;
const REFUSES_MAX_STALE: u8 = 4;
const IMMUTABLE: u8 = 8;
const IS_VARIANT: u8 = 16;
/// `X-Cache` is the cache's, and not the origin's.
const TELLS_X_CACHE: u8 = 32;

const ORDERED: u8 = 1;
const ALL_BUT: u8 = 2;

fn put_response(out: &mut BytesMut, stored: &Stored) -> Result<(), CodecError> {
    if stored.pieces.is_some() {
        return Err("parts of a response are not shared".into());
    }
    let (policy, recorded) = (&stored.policy, stored.recorded.encode());
    out.reserve(recorded.len() + 256);
    out.put_u8(RESPONSE);
    let flags = [
        (policy.no_cache, NO_CACHE),
        (policy.forbids_stale, FORBIDS_STALE),
        (policy.refuses_max_stale, REFUSES_MAX_STALE),
        (policy.immutable, IMMUTABLE),
        (stored.variant.is_some(), IS_VARIANT),
        (stored.tells_x_cache, TELLS_X_CACHE),
    ];
    out.put_u8(set_of(&flags));
    for time in [
        stored.age(Instant::now()),
        policy.lifetime,
        policy.while_revalidating,
        policy.if_error,
    ] {
        put_time(out, time);
    }
    put_list(out, stored.tags.iter())?;
    put_list(out, stored.depends_on.iter())?;
    if let Some((selecting, key)) = &stored.variant {
        put_list(out, selecting.iter().map(HeaderName::as_str))?;
        put_bytes(out, key)?;
    }
    out.put_slice(&recorded);
    Ok(())
}

fn response(mut bytes: Bytes, kept: Duration) -> Result<Stored, CodecError> {
    let bytes = &mut bytes;
    let flags = bytes.try_get_u8()?;
    let is = |flag| flags & flag != 0;
    let policy = Policy {
        // It was younger when it was written, and nothing here is younger than it says.
        initial_age: take_time(bytes)?.saturating_add(kept),
        lifetime: take_time(bytes)?,
        while_revalidating: take_time(bytes)?,
        if_error: take_time(bytes)?,
        no_cache: is(NO_CACHE),
        forbids_stale: is(FORBIDS_STALE),
        refuses_max_stale: is(REFUSES_MAX_STALE),
        immutable: is(IMMUTABLE),
    };
    let tags = take_list(bytes)?.into_iter().map(String::from_utf8);
    let tags = tags.collect::<Result<Vec<_>, _>>()?.into();
    let depends_on = take_list(bytes)?.into();
    let variant = is(IS_VARIANT).then(|| take_variant(bytes)).transpose()?;
    let recorded = Recorded::decode(std::mem::take(bytes))?;
    if recorded.status().is_informational() {
        return Err("an interim response is not stored".into());
    }
    let headers = recorded.headers();
    if !headers.keys().take(2).eq([&AGE, &CACHE_STATUS]) {
        return Err("there is no room for what a hit tells".into());
    }
    Ok(Stored {
        is_only_teller: headers.get_all(CACHE_STATUS).iter().count() == 1,
        tells_x_cache: is(TELLS_X_CACHE) && headers.contains_key(X_CACHE),
        recorded,
        policy,
        variant,
        said: None,
        tags,
        depends_on,
        pieces: None,
        received: Instant::now(),
    })
}

fn take_variant(bytes: &mut Bytes) -> Result<Variant, CodecError> {
    Ok((take_fields(bytes)?, take_bytes(bytes)?[..].into()))
}

fn put_rule(out: &mut BytesMut, rule: &SearchRule) -> Result<(), CodecError> {
    let (ordered, all_but, names) = rule.words();
    out.put_u8(RULE);
    let flags = [(ordered, ORDERED), (all_but, ALL_BUT)];
    out.put_u8(set_of(&flags));
    put_list(out, names.iter())
}

fn rule(bytes: &mut Bytes) -> Result<SearchRule, CodecError> {
    let flags = bytes.try_get_u8()?;
    let names = take_list(bytes)?;
    ended(bytes)?;
    let (ordered, all_but) = (flags & ORDERED != 0, flags & ALL_BUT != 0);
    Ok(SearchRule::from_words(ordered, all_but, names))
}

fn put_variants(out: &mut BytesMut, variants: &Variants) -> Result<(), CodecError> {
    out.put_u8(VARIANTS);
    out.put_u16(variants.sets.len().try_into()?);
    for set in &variants.sets {
        put_list(out, set.iter().map(HeaderName::as_str))?;
    }
    put_list(out, variants.keys.iter())
}

fn variants(bytes: &mut Bytes) -> Result<Variants, CodecError> {
    let count = bytes.try_get_u16()?;
    let sets = (0..count).map(|_| take_fields(bytes));
    let sets = sets.collect::<Result<_, _>>()?;
    let keys = take_list(bytes)?.into_iter().map(Arc::from).collect();
    ended(bytes)?;
    Ok(Variants { sets, keys })
}

fn take_fields(bytes: &mut Bytes) -> Result<Selecting, CodecError> {
    let names = take_list(bytes)?;
    let names = names.iter().map(|name| HeaderName::from_lowercase(name));
    Ok(names.collect::<Result<_, _>>()?)
}

/// The flags that hold.
fn set_of(flags: &[(bool, u8)]) -> u8 {
    let set = flags.iter().filter(|(holds, _)| *holds);
    set.fold(0, |all, (_, flag)| all | flag)
}

fn put_list<T: AsRef<[u8]>>(
    out: &mut BytesMut,
    list: impl ExactSizeIterator<Item = T>,
) -> Result<(), CodecError> {
    out.put_u16(list.len().try_into()?);
    for element in list {
        put_bytes(out, element.as_ref())?;
    }
    Ok(())
}

/// The count is believed only as far as there are bytes for it.
fn take_list(bytes: &mut Bytes) -> Result<Vec<Vec<u8>>, CodecError> {
    let count = bytes.try_get_u16()?;
    let elements = (0..count).map(|_| Ok(take_bytes(bytes)?.to_vec()));
    elements.collect()
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) -> Result<(), CodecError> {
    out.put_u32(bytes.len().try_into()?);
    out.put_slice(bytes);
    Ok(())
}

fn take_bytes(bytes: &mut Bytes) -> Result<Bytes, CodecError> {
    let length = bytes.try_get_u32()? as usize;
    if length > bytes.len() {
        return Err("cut short".into());
    }
    Ok(bytes.split_to(length))
}

fn put_time(out: &mut BytesMut, time: Duration) {
    out.put_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
}

fn take_time(bytes: &mut Bytes) -> Result<Duration, CodecError> {
    Ok(Duration::from_millis(bytes.try_get_u64()?))
}

fn ended(bytes: &Bytes) -> Result<(), CodecError> {
    if bytes.is_empty() {
        Ok(())
    } else {
        Err("there is more than there should be".into())
    }
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderMap, HeaderValue, VARY};
    use http::{HeaderName, StatusCode};
    use proptest::prelude::*;

    use super::super::dates::Dates;
    use super::super::stored::{Made, Marks};
    use super::*;

    fn stored(body: &'static [u8], x_cache: bool, policy: Policy) -> Stored {
        let mut headers = HeaderMap::from_iter([(VARY, HeaderValue::from_static("accept"))]);
        let odd = HeaderName::from_static("x-odd");
        headers.append(&odd, HeaderValue::from_bytes(b"a\xe4, b").unwrap());
        headers.append(odd, HeaderValue::from_static(""));
        let trailers = HeaderMap::from_iter([(VARY, HeaderValue::from_static("t"))]);
        let body = Bytes::from_static(body);
        let recorded = Recorded::new(StatusCode::NOT_FOUND, headers, body, Some(trailers));
        let made = Made {
            policy,
            tags: vec!["a".to_owned(), "\0group".to_owned()].into(),
            depends_on: vec![vec![1, 255], vec![]].into(),
            received: Instant::now(),
            date: std::time::SystemTime::UNIX_EPOCH,
        };
        let marks = Marks {
            name: "test".into(),
            x_cache,
            copies: false,
            dates: Dates::default(),
        };
        let mut stored = Stored::new(&recorded, made, &marks);
        stored.variant = Some(([VARY].into(), Arc::from(&b"key"[..])));
        stored
    }

    fn policy() -> Policy {
        let millis = Duration::from_millis;
        Policy {
            initial_age: millis(1500),
            lifetime: millis(60_000),
            no_cache: true,
            forbids_stale: false,
            refuses_max_stale: true,
            immutable: true,
            while_revalidating: millis(7),
            if_error: Duration::from_secs(u32::MAX.into()),
        }
    }

    fn encoded(kind: Kind) -> Bytes {
        ResponseCodec.encode(&CachedResponse(kind)).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_is_the_same_after_the_trip_and_as_much_older() {
        for x_cache in [false, true] {
            let before = stored(b"body", x_cache, policy());
            tokio::time::advance(Duration::from_secs(2)).await;
            let bytes = put(&before);
            // The clock of another process says nothing here.
            tokio::time::advance(Duration::from_secs(100)).await;
            let kept = Duration::from_secs(3);
            let after = ResponseCodec.decode_kept(bytes, kept).unwrap();
            let Kind::Response(after) = after.0 else {
                panic!("it was a response")
            };
            assert_eq!(after.recorded, before.recorded);
            let age = Duration::from_millis(1500 + 2000 + 3000);
            assert_eq!(after.age(Instant::now()), age);
            let initial_age = policy().initial_age;
            let same = Policy {
                initial_age,
                ..after.policy.clone()
            };
            assert_eq!(same, policy());
            assert_eq!(after.tags, before.tags);
            assert_eq!(after.depends_on, before.depends_on);
            assert_eq!(after.variant, before.variant);
            assert_eq!(after.tells_x_cache, x_cache);
            assert!(after.is_only_teller());
        }
    }

    fn put(stored: &Stored) -> Bytes {
        let mut out = BytesMut::new();
        put_response(&mut out, stored).unwrap();
        out.freeze()
    }

    #[tokio::test]
    async fn a_body_is_not_copied() {
        let bytes = put(&stored(&[7; 4096], false, policy()));
        let inside = bytes.as_ptr_range();
        let Kind::Response(read) = ResponseCodec.decode(bytes).unwrap().0 else {
            panic!("it was a response")
        };
        assert!(inside.contains(&read.recorded.body().as_ptr()));
    }

    #[test]
    fn marks_are_the_same_after_the_trip() {
        for (ordered, all_but) in [(true, false), (false, true), (true, true)] {
            let rule = SearchRule::from_words(ordered, all_but, vec![b"a".into(), vec![0]]);
            let bytes = encoded(Kind::Search(Arc::new(rule.clone())));
            let Kind::Search(read) = ResponseCodec.decode(bytes.clone()).unwrap().0 else {
                panic!("it was a rule")
            };
            assert_eq!(*read, rule);
            assert!(
                ResponseCodec
                    .decode(bytes.slice(..bytes.len() - 1))
                    .is_err()
            );
            assert!(
                ResponseCodec
                    .decode([&bytes[..], b"x"].concat().into())
                    .is_err()
            );
        }
        let sets = vec![Selecting::from([VARY]), Selecting::from([VARY, AGE])];
        let keys = vec![Arc::from(&b"k"[..]), Arc::from(&b""[..])];
        let bytes = encoded(Kind::Variants(Arc::new(Variants { sets, keys })));
        let Kind::Variants(read) = ResponseCodec.decode(bytes.clone()).unwrap().0 else {
            panic!("these were variants")
        };
        assert_eq!((read.sets.len(), read.keys.len()), (2, 2));
        assert!(read.has(&[VARY, AGE].into(), b"k"));
        assert!(
            ResponseCodec
                .decode([&bytes[..], b"x"].concat().into())
                .is_err()
        );
    }

    #[tokio::test]
    async fn what_has_no_room_for_what_a_hit_tells_is_a_miss() {
        let good = stored(b"body", false, policy());
        let of = |headers: HeaderMap, status| {
            let bare = Stored {
                recorded: Recorded::new(status, headers, Bytes::new(), None),
                ..stored(b"", false, policy())
            };
            ResponseCodec.decode(put(&bare)).is_ok()
        };
        let headers = good.recorded.headers();
        assert!(of(headers.clone(), StatusCode::OK));
        assert!(!of(headers.clone(), StatusCode::EARLY_HINTS));
        assert!(!of(HeaderMap::new(), StatusCode::OK));
        for name in [AGE, CACHE_STATUS] {
            let mut without = headers.clone();
            without.remove(name);
            assert!(!of(without, StatusCode::OK));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_something_or_a_miss(kind in 0_u8..5, noise: Vec<u8>) {
            let _ = ResponseCodec.decode([&[kind], &noise[..]].concat().into());
        }

        #[test]
        fn a_byte_that_changes_never_panics(at: prop::sample::Index, to: u8, cut: prop::sample::Index) {
            let mut bytes = put(&stored(b"body", true, policy())).to_vec();
            let cut = cut.index(bytes.len());
            prop_assert!(ResponseCodec.decode(bytes[..cut].to_vec().into()).is_err());
            let at = at.index(bytes.len());
            bytes[at] = to;
            let _ = ResponseCodec.decode(bytes.into());
        }
    }
}

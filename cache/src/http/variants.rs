//! Which of the stored responses for a target a request selects (RFC 9111, section 4.1).

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use buttress_wire::fields::list;
use buttress_wire::key::{Field, KeyBuilder, Write, with_buffer};
use buttress_wire::lex::elements;
use http::header::{self, HeaderMap, HeaderName, HeaderValue, VARY};

use super::glance::Glance;

/// The request fields that a response varies by.
pub(super) type Selecting = Arc<[HeaderName]>;

/// What a stored response was selected by: the fields, and the key that its request's values of them give.
pub(super) type Variant = (Selecting, Arc<[u8]>);

/// What is known of the variants of one target.
#[derive(Clone, Debug, Default)]
pub(super) struct Variants {
    /// The sets of selecting fields that its responses have named, the last one first.
    pub(super) sets: Vec<Selecting>,
    /// The keys of its stored responses, the last one first.
    pub(super) keys: Vec<Arc<[u8]>>,
}

/// How many sets of fields one target is looked up by. An origin has one, and perhaps another for its errors.
const MAX_SETS: usize = 4;

/// What an allocation takes beside what is in it: the pointer to it, the counts of references, and what the allocator keeps.
const ALLOCATED: usize = 48;

impl Variants {
    /// Of a target that has one response, under `key`.
    pub(super) fn one(selecting: &Selecting, key: &[u8]) -> Self {
        Self {
            sets: vec![Arc::clone(selecting)],
            keys: vec![key.into()],
        }
    }

    /// With one more; at most `max` are known. Gives the keys that are not any more.
    pub(super) fn with(
        &self,
        selecting: &Selecting,
        key: &Arc<[u8]>,
        max: usize,
    ) -> (Self, Vec<Arc<[u8]>>) {
        let mut sets = vec![Arc::clone(selecting)];
        sets.extend(self.sets.iter().filter(|set| *set != selecting).cloned());
        sets.truncate(MAX_SETS);
        let mut keys = vec![Arc::clone(key)];
        keys.extend(self.keys.iter().filter(|other| *other != key).cloned());
        let gone = keys.split_off(max.max(1).min(keys.len()));
        (Self { sets, keys }, gone)
    }

    pub(super) fn has(&self, selecting: &Selecting, key: &[u8]) -> bool {
        self.sets.contains(selecting) && self.keys.iter().any(|other| **other == *key)
    }

    /// Each of them, and each of the two lists, is an allocation of its own. Where the responses are large and the room is small, what is kept may be little else.
    pub(super) fn weight(&self) -> usize {
        let keys = self.keys.iter();
        let keys: usize = keys.map(|key| key.len() + ALLOCATED).sum();
        let sets = self.sets.iter();
        let sets: usize = sets
            .map(|set| size_of_val::<[HeaderName]>(set) + ALLOCATED)
            .sum();
        keys + sets + 2 * ALLOCATED
    }
}

/// The selecting fields of a response, each once, in order. `None` when there are none; a name that no field can have selects
/// nothing.
pub(super) fn selecting(headers: &HeaderMap) -> Option<Selecting> {
    let mut named = list(headers, VARY).filter_map(|name| HeaderName::from_bytes(name).ok());
    let first = named.next()?;
    let Some(second) = named.next() else {
        return Some(Arc::new([first]));
    };
    let mut names = vec![first, second];
    names.extend(named);
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    Some(names.into())
}

/// By what the last response varied, whose next one mostly varies by the same: it is read once. A clone is the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Usual(Arc<Mutex<Option<(HeaderValue, Selecting)>>>);

impl Usual {
    /// The [selecting] fields of a response.
    pub(super) fn selecting(&self, headers: &HeaderMap) -> Option<Selecting> {
        let mut lines = headers.get_all(VARY).iter();
        let (line, more) = (lines.next()?, lines.next());
        // Nobody waits for what takes as long to read.
        let (None, Ok(mut last)) = (more, self.0.try_lock()) else {
            return selecting(headers);
        };
        if let Some((known, selecting)) = &*last
            && known == line
        {
            return Some(Arc::clone(selecting));
        }
        let found = selecting(headers)?;
        // A copy, which keeps nothing of a connection.
        let line = HeaderValue::from_bytes(line.as_bytes());
        *last = line.ok().map(|line| (line, Arc::clone(&found)));
        Some(found)
    }
}

/// What a request says in a selecting field, if somebody has a better word for it than the field itself.
pub(super) type Normalize =
    dyn for<'a> Fn(&HeaderName, &'a HeaderMap) -> Option<Cow<'a, [u8]>> + Send + Sync;

/// The secondary key of a request: the primary one, and what the request says in the selecting fields.
pub(super) fn write_variant<K: Write>(
    key: &mut K,
    primary: &[u8],
    selecting: &[HeaderName],
    request: &HeaderMap,
    normalize: Option<&Normalize>,
) {
    key.write(primary);
    let mut builder = KeyBuilder::new(key);
    builder.part("vary");
    for name in selecting {
        builder.part(name.as_str());
        write_value(&mut builder, request, name, normalize);
    }
}

/// Whether `known` is the secondary key of a request: compared as it is written, and written nowhere.
pub(super) fn is_variant(
    known: &[u8],
    primary: &[u8],
    selecting: &[HeaderName],
    request: &HeaderMap,
    normalize: Option<&Normalize>,
) -> bool {
    let mut same = Same(Some(known));
    write_variant(&mut same, primary, selecting, request, normalize);
    same.0.is_some_and(<[u8]>::is_empty)
}

/// What a request says in the selecting fields, where each is on one line or absent: one after the other, each with its length, and one for that it is there, in front.
///
/// A copy: the request's own lines may keep all that was read from its connection.
pub(super) type Said = Arc<[u8]>;

/// `None` where a field is on several lines.
pub(super) fn said(selecting: &[HeaderName], request: &HeaderMap) -> Option<Said> {
    with_buffer(|said| {
        for name in selecting {
            let mut lines = request.get_all(name).iter();
            let line = lines.next().map(HeaderValue::as_bytes);
            said.extend_from_slice(&length(line));
            said.extend_from_slice(line.unwrap_or_default());
            if lines.next().is_some() {
                return None;
            }
        }
        Some(said.as_slice().into())
    })
}

/// Whether a request says the same, byte for byte. Who says otherwise may still mean the same.
pub(super) fn says(said: &Said, selecting: &[HeaderName], request: &Glance<'_>) -> bool {
    let mut rest = &said[..];
    selecting.iter().all(|name| {
        let line = match request.field(name) {
            Field::Absent => None,
            Field::Once(line) => Some(line.as_bytes()),
            Field::Repeated => return false,
        };
        let own = rest.strip_prefix(&length(line));
        let own = own.and_then(|rest| rest.strip_prefix(line.unwrap_or_default()));
        rest = own.unwrap_or_default();
        own.is_some()
    })
}

fn length(line: Option<&[u8]>) -> [u8; 8] {
    line.map_or(0, |line| line.len() as u64 + 1).to_le_bytes()
}

/// What of a key has not been written yet; `None` once something else was.
struct Same<'a>(Option<&'a [u8]>);

impl Write for Same<'_> {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = self.0.and_then(|rest| rest.strip_prefix(bytes));
    }
}

/// Appends what a request says in one field. An absent field is not an empty one.
pub(super) fn write_value<K: Write>(
    builder: &mut KeyBuilder<'_, K>,
    request: &HeaderMap,
    name: &HeaderName,
    normalize: Option<&Normalize>,
) {
    if let Some(value) = normalize.and_then(|normalize| normalize(name, request)) {
        builder.part("=").part(value);
        return;
    }
    let lines = request.get_all(name).iter().map(HeaderValue::as_bytes);
    write_lines(builder, name, lines);
}

/// The same for these lines of it.
pub(super) fn write_lines<'a, K: Write>(
    builder: &mut KeyBuilder<'_, K>,
    name: &HeaderName,
    lines: impl IntoIterator<Item = &'a [u8]>,
) {
    let mut lines = lines.into_iter().peekable();
    if is_list(name) && lines.peek().is_some() {
        builder.part(",");
        // A list is the same on one line and on several, and with or without spaces between its elements (RFC 9110, 5.3 and 5.6.1).
        lines.flat_map(elements).for_each(|element| {
            builder.optional(Some(element));
        });
    } else {
        builder.part("");
        lines.for_each(|line| {
            builder.optional(Some(line));
        });
    }
    builder.optional(None::<&[u8]>);
}

/// The fields that are known to be lists. Of any other an origin may make what it likes of lines and spaces.
fn is_list(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::ACCEPT | header::ACCEPT_CHARSET | header::ACCEPT_ENCODING | header::ACCEPT_LANGUAGE
    )
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    fn of(lines: &[&'static str]) -> Option<Selecting> {
        let lines = lines
            .iter()
            .map(|line| (VARY, HeaderValue::from_static(line)));
        selecting(&lines.collect())
    }

    #[test]
    fn selecting_fields_are_a_set() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[", ,"]), None);
        assert_eq!(of(&["Accept, origin", "accept"]), of(&["origin", "ACCEPT"]));
    }

    #[test]
    fn what_is_usual_is_read_once_and_what_is_not_anew() {
        let usual = Usual::default();
        let of = |lines: &[&'static str]| {
            let lines = lines.iter();
            let lines = lines.map(|line| (VARY, HeaderValue::from_static(line)));
            usual.selecting(&lines.collect())
        };
        let first = of(&["accept, origin"]).unwrap();
        assert!(Arc::ptr_eq(&first, &of(&["accept, origin"]).unwrap()));
        assert_eq!(of(&["accept", "origin"]).as_ref(), Some(&first));
        assert_eq!(of(&["accept"]).unwrap()[..], ["accept"]);
        assert_eq!(of(&["accept, origin"]), Some(first));
        assert_eq!((of(&[]), of(&[", ,"])), (None, None));
    }

    fn key(name: &'static str, lines: &[&'static str]) -> Vec<u8> {
        let name = HeaderName::from_static(name);
        let lines = lines.iter().copied().map(HeaderValue::from_static);
        let request: HeaderMap = lines.map(|line| (name.clone(), line)).collect();
        let mut key = Vec::new();
        let name = [name];
        write_variant(&mut key, b"primary", &name, &request, None);
        let is = |known: &[u8]| is_variant(known, b"primary", &name, &request, None);
        assert!(is(&key) && !is(&key[1..]) && !is(&key[..key.len() - 1]));
        assert!(!is(&[&key[..], b"x"].concat()));
        let own = said(&name, &request);
        assert_eq!(own.is_none(), request.len() > 1);
        let says = |own: &Said| {
            let mut parts = http::Request::new(()).into_parts().0;
            parts.headers = request.clone();
            says(own, &name, &Glance::at(&parts))
        };
        assert!(own.is_none_or(|own| says(&own)));
        if let Some(first) = request.get(&name[0]).filter(|_| request.len() > 1) {
            let first = HeaderMap::from_iter([(name[0].clone(), first.clone())]);
            let first = said(&name, &first).unwrap();
            assert!(!says(&first), "there is more");
        }
        let other = HeaderMap::from_iter([(name[0].clone(), HeaderValue::from_static("other"))]);
        let other = said(&name, &other).unwrap();
        assert!(!says(&other));
        key
    }

    /// RFC 9111, 4.1.
    #[test]
    fn lists_are_compared_as_lists_and_nothing_else_is() {
        let list = |lines| key("accept-encoding", lines);
        assert_eq!(list(&["gzip, br"]), list(&["gzip,br"]));
        assert_eq!(list(&["gzip, br"]), list(&["gzip", "br"]));
        assert_eq!(list(&["gzip, br"]), list(&[" gzip ,, br ,"]));
        for other in [&[][..], &[""], &["br, gzip"], &["gzip"], &["gzip;br"]] {
            assert_ne!(list(&["gzip, br"]), list(other), "{other:?}");
        }
        assert_ne!(list(&[]), list(&[""]), "absent is not empty");
        let other = |lines| key("x-any", lines);
        assert_ne!(other(&["a, b"]), other(&["a,b"]));
        assert_ne!(other(&["a, b"]), other(&["a", "b"]));
        assert_ne!(other(&[]), other(&[""]));
        assert_eq!(other(&["a", "b"]), other(&["a", "b"]));
    }

    #[test]
    fn somebody_may_know_a_better_word_for_a_field() {
        let normalize: Box<Normalize> = Box::new(|name, _| {
            (*name == header::USER_AGENT).then_some(Cow::Borrowed(&b"mobile"[..]))
        });
        let key = |agent: &'static str, name| {
            let request =
                HeaderMap::from_iter([(header::USER_AGENT, HeaderValue::from_static(agent))]);
            let mut key = Vec::new();
            write_variant(&mut key, b"", &[name], &request, Some(&*normalize));
            key
        };
        assert_eq!(key("a", header::USER_AGENT), key("b", header::USER_AGENT));
        assert_eq!(key("a", header::ORIGIN), key("b", header::ORIGIN));
    }

    #[test]
    fn what_is_known_of_a_target_is_bounded_and_the_last_comes_first() {
        let set = |name: &'static str| of(&[name]).unwrap();
        let key = |n: u8| Arc::from([n].as_slice());
        let mut variants = Variants::default();
        for n in 0..6 {
            let names = ["accept", "origin", "cookie", "x-a", "x-b", "accept"];
            let (next, gone) = variants.with(&set(names[n as usize]), &key(n), 3);
            assert_eq!(gone.len(), usize::from(n >= 3));
            variants = next;
        }
        assert_eq!(variants.sets.len(), MAX_SETS);
        assert_eq!(variants.sets[0], set("accept"));
        assert_eq!(variants.keys, [key(5), key(4), key(3)]);
        let (same, gone) = variants.with(&set("accept"), &key(4), 3);
        assert_eq!((same.keys, gone.len()), (vec![key(4), key(5), key(3)], 0));
        assert!(variants.has(&set("accept"), &[5]) && !variants.has(&set("accept"), &[0]));
    }
}

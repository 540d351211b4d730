//! What a handler says about its own request.

use std::borrow::Cow;
use std::error::Error;
use std::sync::Arc;
use std::time::SystemTime;

use crate::{Clock, SystemClock, current};

/// Something that was said about a request while it ran: [`Finished::notes`](crate::Finished::notes).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Note {
    /// A fact.
    Attribute {
        /// Its name.
        key: Cow<'static, str>,
        /// What it is.
        value: Value,
    },
    /// Something that happened.
    Event {
        /// What.
        name: Cow<'static, str>,
        /// When.
        at: SystemTime,
    },
    /// Something that went wrong.
    Error {
        /// The error and its sources, in words: the first 8 KiB of them.
        message: String,
        /// When.
        at: SystemTime,
    },
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// Text.
    Text(Cow<'static, str>),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// Yes or no.
    Bool(bool),
}

/// The most notes that are kept for one request; further ones are dropped.
pub const MAX_NOTES: usize = 128;

/// Adds an attribute to the request that is being polled on this thread.
///
/// Costs nothing but the look-up where no request is, or one that no sink wants to hear of. In a task of its own
/// ([`InTrace`](crate::InTrace)) there is only a copy of the context: what is said there is told to nobody, and not kept.
pub fn attribute(key: impl Into<Cow<'static, str>>, value: impl Into<Value>) {
    let (key, value) = (key.into(), value.into());
    current::note(|| Note::Attribute { key, value });
}

/// Adds an event to the request that is being polled on this thread.
pub fn event(name: impl Into<Cow<'static, str>>) {
    let name = name.into();
    current::note(|| Note::Event {
        name,
        at: SystemClock.wall(),
    });
}

/// Adds an error, with its sources, to the request that is being polled on this thread. It does not change its outcome.
pub fn error(error: &dyn Error) {
    current::note(|| Note::Error {
        message: in_words(error),
        at: SystemClock.wall(),
    });
}

/// Says whose request is being polled on this thread: for its record, and for the calls made for it from now on.
///
/// For whoever checks credentials. What it says should be an opaque id, not a name: it stands in logs.
pub fn user(id: impl Into<Arc<str>>) {
    let id = id.into();
    current::change(|context| context.set_user(id));
}

/// The most bytes that are kept of what an error says: it may repeat what a stranger sent.
const MAX_WORDS: usize = 8 * 1024;

fn in_words(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    // A chain may be a ring.
    for _ in 0..16 {
        let Some(error) = source else { break };
        words.push_str(": ");
        words.push_str(&error.to_string());
        source = error.source();
    }
    words.truncate(words.floor_char_boundary(MAX_WORDS));
    words
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Self {
        Self::Bool(is)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Ring;

    impl fmt::Display for Ring {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("ring")
        }
    }

    impl Error for Ring {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(self)
        }
    }

    #[test]
    fn an_error_is_told_with_its_sources_and_a_ring_has_an_end() {
        assert_eq!(in_words(&Ring), ["ring"; 17].join(": "));
        assert_eq!(in_words(&std::fmt::Error), std::fmt::Error.to_string());
    }
}

//! What a hit tells that has nothing particular to tell: `Age`, and the line of `Cache-Status`.

use std::cell::RefCell;
use std::sync::Arc;

use http::HeaderValue;

use super::age::age_value;
use super::status::Told;

/// What a hit tells.
#[derive(Clone, Debug)]
pub(super) struct Words {
    pub(super) age: HeaderValue,
    /// Of `Cache-Status`.
    pub(super) line: HeaderValue,
}

impl Words {
    /// Of the cache `name`, about a response of this age and with so much freshness left, in seconds.
    ///
    /// They are made once, and not per hit, as long as a thread finds them among the last that it told: what many hits tell in one second, or of many responses
    /// that came in one second. Each thread has its own, since a lock would be the dearest part of telling.
    #[inline]
    pub(super) fn of(name: &Arc<str>, age: u64, ttl: i64) -> Self {
        let known = |last: &RefCell<Vec<Option<Last>>>| {
            let mut last = last.borrow_mut();
            if last.is_empty() {
                last.resize_with(KNOWN, || None);
            }
            // Of responses that are fresh for as long, each second has another place.
            let known = &mut last[age as usize % KNOWN];
            match known {
                Some(known) if known.is(name, age, ttl) => known.words.clone(),
                _ => known.insert(Last::of(name, age, ttl)).words.clone(),
            }
        };
        // A thread that is torn down remembers nothing.
        LAST.try_with(known)
            .unwrap_or_else(|_| Self::new(name, age, ttl))
    }

    fn new(name: &str, age: u64, ttl: i64) -> Self {
        let told = Told {
            ttl: Some(ttl),
            ..Told::default()
        };
        Self {
            age: age_value(age),
            line: told.line(name),
        }
    }
}

/// What was told last of some age.
#[derive(Debug)]
struct Last {
    /// Held, so that no other name is at its place in memory.
    name: Arc<str>,
    age: u64,
    ttl: i64,
    words: Words,
}

impl Last {
    fn of(name: &Arc<str>, age: u64, ttl: i64) -> Self {
        Self {
            name: Arc::clone(name),
            age,
            ttl,
            words: Words::new(name, age, ttl),
        }
    }

    fn is(&self, name: &Arc<str>, age: u64, ttl: i64) -> bool {
        self.age == age && self.ttl == ttl && Arc::ptr_eq(&self.name, name)
    }
}

/// How many are known to a thread: some 25 KiB.
const KNOWN: usize = 128;

thread_local! {
    static LAST: RefCell<Vec<Option<Last>>> = const { RefCell::new(Vec::new()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_say_what_is_asked_whoever_asked_before() {
        let names: [Arc<str>; 2] = ["a".into(), "b".into()];
        for _ in 0..2 {
            for name in &names {
                for age in [0, 1, KNOWN as u64, 5000, u64::MAX] {
                    for ttl in [-1, 0, 60] {
                        let words = Words::of(name, age, ttl);
                        assert_eq!(words.age, age.to_string());
                        assert_eq!(words.line, format!("{name}; hit; ttl={ttl}"));
                    }
                }
            }
        }
    }

    #[test]
    fn what_was_told_is_not_made_again() {
        let name = "shop".into();
        let line = |age, ttl| Words::of(&name, age, ttl).line;
        let first = line(7, 53);
        assert_eq!(first.as_bytes().as_ptr(), line(7, 53).as_bytes().as_ptr());
        assert_eq!(line(7, 54), "shop; hit; ttl=54");
        assert_ne!(first.as_bytes().as_ptr(), line(7, 53).as_bytes().as_ptr());
    }
}

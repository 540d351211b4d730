//! What has happened, for the page: counts, the newest traces, and a story in words.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::storefront::history::{Counts, History};

/// Everything that is counted. Observers write here; the page's stream reads.
#[derive(Debug)]
pub(crate) struct Stats {
    started: Instant,
    state: Mutex<State>,
    history: Mutex<History>,
    /// Moves whenever something was written.
    version: watch::Sender<u64>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) dedup: Dedup,
    pub(crate) idempotency: Idempotency,
    pub(crate) negotiate: Negotiated,
    /// Calls that a breaker refused, by its name.
    pub(crate) rejected: Vec<(String, u64)>,
    /// How often one of them opened. A breaker's own count begins again when it has been well for a while.
    pub(crate) trips: u64,
    pub(crate) finished: u64,
    pub(crate) traces: VecDeque<Trace>,
    pub(crate) story: VecDeque<Story>,
    next_story: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Dedup {
    pub(crate) led: u64,
    pub(crate) joined: u64,
    pub(crate) promoted: u64,
    pub(crate) private: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Idempotency {
    pub(crate) claimed: u64,
    pub(crate) completed: u64,
    pub(crate) replayed: u64,
    pub(crate) in_progress: u64,
    pub(crate) mismatch: u64,
    pub(crate) detached: u64,
    pub(crate) forgotten: u64,
    /// Answers that said that nobody knows what became of an order.
    pub(crate) unfinished: u64,
    /// How often a key was left to whoever sends the same order again.
    pub(crate) orphaned: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Negotiated {
    pub(crate) json: u64,
    pub(crate) csv: u64,
    pub(crate) xml: u64,
    pub(crate) refused: u64,
}

/// One finished request.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Trace {
    pub(crate) at_ms: u64,
    pub(crate) kind: &'static str,
    pub(crate) method: String,
    pub(crate) route: String,
    pub(crate) status: Option<u16>,
    pub(crate) ms: f64,
    pub(crate) outcome: String,
    pub(crate) trace_id: String,
    pub(crate) request_id: String,
}

/// One sentence about what a pattern did.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Story {
    pub(crate) id: u64,
    pub(crate) at_ms: u64,
    pub(crate) pattern: &'static str,
    pub(crate) text: String,
}

const TRACES: usize = 30;
const STORIES: usize = 40;

impl Stats {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            state: Mutex::default(),
            history: Mutex::default(),
            version: watch::Sender::new(0),
        }
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Writes something down.
    pub(crate) fn note(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.touch();
    }

    /// Says that something has changed that is kept elsewhere.
    pub(crate) fn touch(&self) {
        self.version.send_modify(|version| *version += 1);
    }

    /// Tells what a pattern did.
    pub(crate) fn tell(&self, pattern: &'static str, text: impl Into<String>) {
        let at_ms = self.now();
        let text = text.into();
        self.note(|state| {
            state.next_story += 1;
            let id = state.next_story;
            let story = Story {
                id,
                at_ms,
                pattern,
                text,
            };
            make_room(&mut state.story);
            state.story.push_front(story);
        });
    }

    pub(crate) fn finished(&self, trace: Trace) {
        self.note(|state| {
            state.finished += 1;
            push(&mut state.traces, trace, TRACES);
        });
    }

    pub(crate) fn rejected(&self, breaker: &str) {
        self.note(
            |state| match state.rejected.iter_mut().find(|(name, _)| name == breaker) {
                Some((_, count)) => *count += 1,
                None => state.rejected.push((breaker.to_owned(), 1)),
            },
        );
    }

    pub(crate) fn state(&self) -> State {
        self.lock().clone()
    }

    /// A second is over, in which so much was counted since the start.
    pub(crate) fn tick(&self, counted: Counts) {
        self.history().tick(counted);
    }

    /// The last two minutes.
    pub(crate) fn seconds(&self) -> Vec<Counts> {
        self.history().seconds()
    }

    /// Milliseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        self.uptime().as_millis() as u64
    }

    /// Wakes whenever something changes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(crate) fn rejected_by(&self, breaker: &str) -> u64 {
        self.rejected
            .iter()
            .find(|(name, _)| name == breaker)
            .map_or(0, |(_, count)| *count)
    }
}

/// The oldest goes, but for the last that is told of a pattern: each card of the page shows that, however much the others have to tell.
fn make_room(story: &mut VecDeque<Story>) {
    if story.len() < STORIES {
        return;
    }
    let is_followed = |n: &usize| {
        let is_of_it = |one: &Story| one.pattern == story[*n].pattern;
        story.range(..*n).any(is_of_it)
    };
    let oldest = (0..story.len()).rev().find(is_followed);
    story.remove(oldest.expect("there are fewer patterns than places"));
}

/// Newest first, and no more than `most`.
fn push<T>(list: &mut VecDeque<T>, item: T, most: usize) {
    list.truncate(most - 1);
    list.push_front(item);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_told_seldom_stays_while_others_tell_much() {
        let stats = Stats::new();
        stats.tell("circuit", "opened");
        stats.tell("circuit", "closed");
        for n in 0..3 * STORIES {
            stats.tell("cache", n.to_string());
        }
        let story = stats.state().story;
        assert_eq!(story.len(), STORIES);
        let texts: Vec<_> = story.iter().map(|one| &*one.text).collect();
        assert_eq!((texts[0], texts[STORIES - 1]), ("119", "closed"));
    }
}

//! The one task that talks with the others.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::num::NonZeroU8;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Feed;
use super::outbox::{Outbox, Tripped, Trips};
use super::trip::{Instance, Trip};
use super::votes::Votes;
use crate::breaker::Breaker;
use crate::event::{Cause, Event, Observer, tell};
use crate::machine::{State, deadline};
use crate::policy::{A_DAY, Backoff};

/// What a process makes of the trips of others.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Policy {
    /// A closed breaker opens when one other process has tripped its like.
    #[default]
    Adopt,
    /// It opens when so many other processes have, all of them still open.
    Quorum {
        /// How many.
        instances: NonZeroU8,
    },
    /// It does not open; trips of others are only told.
    Observe,
}

/// Shares trips with other processes. One for a process and a feed.
///
/// # Guarantees
///
/// - Only a closed breaker adopts a trip: what was forced stays, and so does what a process has found out by itself.
/// - What was adopted is not told to others: no trip goes round in circles.
/// - A feed that fails is tried again, after 100 ms at first and ten seconds at last; meanwhile nothing changes locally. That is told by
///   [`Event::FeedLost`] and [`Event::FeedRestored`]. What trips meanwhile is told to the others afterwards, if it is still open.
/// - At most 256 breakers wait to be told of.
/// - No trip is longer than [a kibibyte](Trip::encode): a breaker with a name that leaves no room for the rest is not told of.
///
/// A process that is away when a trip is told misses it, and finds out by itself. A connection that is cut off silently is noticed by the feed
/// itself; or, where it [echoes](Feed::echoes), five seconds after the next trip of this process, which does not come back then.
pub struct Sharing {
    instance: Instance,
    policy: Policy,
    at_most: Duration,
    outbox: Arc<Outbox>,
    observers: Vec<Box<dyn Observer>>,
}

/// What does not come back in so long has failed.
const PATIENCE: Duration = Duration::from_secs(5);
/// A connection that was lost and has held for so long is restored, though there was nothing to carry.
const HELD: Duration = Duration::from_secs(1);
const RETRY: Backoff =
    Backoff::exponential(Duration::from_millis(100), 2.0, Duration::from_secs(10));

impl Sharing {
    /// A part of this process's.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            instance: Instance::random(),
            policy,
            at_most: Duration::from_mins(5),
            outbox: Arc::new(Outbox::new()),
            observers: Vec::new(),
        }
    }

    /// Bounds the time that is adopted: a process that is open for longer says so again. Default: five minutes.
    #[must_use]
    pub fn at_most(self, time: Duration) -> Self {
        Self {
            at_most: time,
            ..self
        }
    }

    /// One more who hears of trips elsewhere, and of a feed that is lost or restored. Default: nobody.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observers.push(Box::new(observer));
        self
    }

    /// What hears of the trips of this process: an observer for each breaker that is to be shared, or for the model of keyed ones.
    #[must_use]
    pub fn trips(&self) -> Trips {
        Trips(Arc::clone(&self.outbox))
    }

    /// The number of this process among the others.
    #[must_use]
    pub fn instance(&self) -> Instance {
        self.instance
    }

    /// Shares trips over `feed` for as long as it is polled. `find` gives the breaker of a name, if this process has it; the name was
    /// sent by another process, so do not make one on its word.
    ///
    /// # Panics
    ///
    /// When polled outside of a tokio runtime with time enabled.
    ///
    /// # Cancellation
    ///
    /// Dropping it ends the sharing at once: what was not told yet is never told, and the breakers go on alone.
    pub async fn run<F: Feed>(
        self,
        mut feed: F,
        find: impl Fn(&str) -> Option<Breaker>,
    ) -> Infallible {
        let _close = Close(&self.outbox);
        let mut member = Member {
            sharing: &self,
            find,
            votes: Votes::default(),
            since: Instant::now(),
        };
        let mut failures = 0;
        loop {
            let error = match in_time(feed.connect()).await {
                Ok(()) => member.serve(&mut feed, &mut failures).await,
                Err(error) => error,
            };
            if failures == 0 {
                self.tell(&Event::FeedLost(&*error));
            }
            sleep(
                RETRY
                    .time(failures, 0.0)
                    .mul_f64(fastrand::f64().midpoint(1.0)),
            )
            .await;
            failures = failures.saturating_add(1);
        }
    }

    fn tell(&self, event: &Event<'_>) {
        self.observers
            .iter()
            .for_each(|observer| tell(&**observer, event));
    }
}

impl fmt::Debug for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sharing")
            .field("instance", &self.instance)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

struct Close<'a>(&'a Outbox);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

type Failed = Box<dyn Error + Send + Sync>;

async fn in_time<T, E: Error + Send + Sync + 'static>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Failed> {
    Ok(timeout(PATIENCE, work).await??)
}

/// This process, while it is connected.
struct Member<'a, G> {
    sharing: &'a Sharing,
    find: G,
    votes: Votes,
    since: Instant,
}

enum Next<E> {
    /// The connection has held for long enough.
    Held,
    /// What was published did not come back.
    Deaf,
    Ours(Tripped),
    Theirs(Result<Trip, E>),
}

impl<G: Fn(&str) -> Option<Breaker>> Member<'_, G> {
    /// Until something fails. A feed that connects is not restored before it has carried something, or has held for a while: one that connects
    /// and fails at once, again and again, is to be tried less and less often.
    async fn serve<F: Feed>(&mut self, feed: &mut F, failures: &mut u32) -> Failed {
        let (mut held, mut echo) = (Some(Instant::now() + HELD), None);
        if *failures == 0 {
            held = None;
        }
        loop {
            let next = self.next(feed, held, echo).await;
            let carried = match next {
                Next::Held => true,
                Next::Deaf => return "the feed does not deliver what was published".into(),
                Next::Theirs(Ok(trip)) => {
                    if trip.instance == self.sharing.instance {
                        echo = None;
                    }
                    self.hear(&trip);
                    true
                }
                Next::Theirs(Err(error)) => return error.into(),
                Next::Ours(tripped) => {
                    let Some(trip) = self.trip(&tripped) else {
                        continue;
                    };
                    if let Err(error) = in_time(feed.publish(&trip)).await {
                        self.sharing.outbox.put_back(tripped);
                        return error;
                    }
                    if feed.echoes() {
                        echo.get_or_insert(Instant::now() + PATIENCE);
                    }
                    true
                }
            };
            if carried && held.take().is_some() {
                *failures = 0;
                self.sharing.tell(&Event::FeedRestored);
            }
        }
    }

    /// What is next to do. One timer: for the end of the trial, or for an echo that does not come.
    async fn next<F: Feed>(
        &self,
        feed: &mut F,
        held: Option<Instant>,
        echo: Option<Instant>,
    ) -> Next<F::Error> {
        let mut ours = pin!(self.sharing.outbox.next());
        let mut theirs = pin!(feed.receive());
        let work = poll_fn(|cx| {
            if let Poll::Ready(tripped) = ours.as_mut().poll(cx) {
                return Poll::Ready(Next::Ours(tripped));
            }
            theirs.as_mut().poll(cx).map(Next::Theirs)
        });
        let Some(first) = held.into_iter().chain(echo).min() else {
            return work.await;
        };
        match timeout_at(first, work).await {
            Ok(next) => next,
            Err(_) if echo == Some(first) => Next::Deaf,
            Err(_) => Next::Held,
        }
    }

    /// What there is to tell of it by now.
    fn trip(&self, tripped: &Tripped) -> Option<Trip> {
        let breaker = &Breaker(tripped.breaker.upgrade()?);
        let word = breaker.word();
        let is_same = word.generation() == tripped.generation && word.state() == State::Open;
        let left = word.remaining(breaker.now()).filter(|_| is_same)?;
        let trip = Trip {
            instance: self.sharing.instance,
            breaker: breaker.name().to_string(),
            open_for: Duration::from_millis(left),
        };
        trip.can_be_read().then_some(trip)
    }

    fn hear(&mut self, trip: &Trip) {
        if trip.instance == self.sharing.instance || trip.open_for.is_zero() {
            return;
        }
        let Some(breaker) = (self.find)(&trip.breaker) else {
            return;
        };
        let time = trip.open_for.min(self.sharing.at_most);
        self.sharing.tell(&Event::TrippedElsewhere(&breaker, time));
        if let Some(time) = self.decide(trip, time) {
            breaker.open_like_others(time);
        }
    }

    fn decide(&mut self, trip: &Trip, time: Duration) -> Option<Duration> {
        match self.sharing.policy {
            Policy::Adopt => Some(time),
            Policy::Observe => None,
            Policy::Quorum { instances } => {
                let (needed, now) = (instances.get().into(), self.since.elapsed());
                let Trip {
                    breaker, instance, ..
                } = trip;
                self.votes.cast(breaker, *instance, time, needed, now)
            }
        }
    }
}

impl Breaker {
    /// Opens as its like in another process did, if it is closed.
    fn open_like_others(&self, time: Duration) {
        let time = time.clamp(Duration::from_millis(1), A_DAY);
        self.shift(Cause::Adopted, |_, word, now| {
            // ## Closed => Open
            let next = word.next(State::Open, deadline(now, time));
            (word.state() == State::Closed).then_some((next, Some(time)))
        });
    }
}

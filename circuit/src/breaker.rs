//! The breaker that everybody shares.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;

use crate::builder::{Builder, Fixed, New};
use crate::clock::nanos;
use crate::config::{Config, Current, Settings};
use crate::control::Control;
use crate::error::{ConfigError, Error, Rejected};
use crate::machine::{Slots, State, Word};
use crate::name::Name;
use crate::permit::{LentPermit, Permit};
use crate::stamped::{Stamp, Stamped};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex};
use crate::verdict::{Classify, ErrIsFailure};
use crate::wait::Waiters;

/// A circuit breaker. Clones share it: cloning costs one reference count.
///
/// The state is one atomic word and calls take no lock. Transitions, which are rare, happen one at a time.
///
/// ```
/// use buttress_circuit::{Breaker, Error, State, consecutive};
///
/// # async fn pay() -> Result<(), std::io::Error> { Err(std::io::ErrorKind::TimedOut.into()) }
/// # tokio_test::block_on(async {
/// let breaker = Breaker::builder("payments").trip(consecutive(2)).build()?;
/// for _ in 0..2 {
///     assert!(matches!(breaker.call(pay).await, Err(Error::Inner(_))));
/// }
/// let Err(Error::Rejected(rejected)) = breaker.call(pay).await else { panic!() };
/// assert_eq!(rejected.breaker(), "payments");
/// assert_eq!(breaker.state(), State::Open);
/// # Ok::<(), buttress_circuit::ConfigError>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct Breaker(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    /// A [`Word`]. Written only under the lock of `control`, read by every call.
    word: AtomicU64,
    /// [`Slots`], of the half-open generation.
    pub(crate) slots: Stamped,
    /// Until when the service does not want to be called.
    pub(crate) requested: Stamped,
    /// What a service that gets its load back has saved up for its next call.
    pub(crate) credit: Stamped,
    /// Whether anybody asks when a call began.
    pub(crate) reads_start: AtomicBool,
    /// How many calls may be under way. Any number, where that is the largest there is.
    pub(crate) max_in_flight: AtomicU32,
    /// The calls under way, where there is a bound.
    pub(crate) in_flight: AtomicU32,
    config: Config,
    /// What the breaker goes by since it was reconfigured.
    changed: OnceLock<ArcSwap<Config>>,
    /// No rule opens it before.
    pub(crate) warm_at: u64,
    pub(crate) fixed: Fixed,
    /// Whether anybody wants to hear of single calls.
    pub(crate) watches_calls: bool,
    #[cfg(feature = "histogram")]
    pub(crate) latencies: Option<Box<crate::latency::Recorder>>,
    pub(crate) name: Name,
    pub(crate) control: Mutex<Control>,
    pub(crate) waiters: Waiters,
}

impl Breaker {
    /// Starts a breaker named `name`. The settings have defaults.
    pub fn builder(name: impl Into<Name>) -> Builder<New> {
        Builder::new(name.into(), Settings::default(), Fixed::new())
    }

    pub(crate) fn new(
        name: Name,
        settings: Arc<Settings>,
        fixed: Fixed,
    ) -> Result<Self, ConfigError> {
        let warm_up = nanos(fixed.warm_up);
        let config = Config::new(settings, fixed.times_calls())?;
        let now = fixed.clock.now();
        let has_observers = !fixed.observers.is_empty();
        Ok(Self(Arc::new(Shared {
            word: AtomicU64::new(Word::START.0),
            slots: Stamped::new(),
            requested: Stamped::new(),
            credit: Stamped::new(),
            in_flight: AtomicU32::new(0),
            reads_start: AtomicBool::new(config.reads_start),
            max_in_flight: AtomicU32::new(config.max_in_flight()),
            config,
            changed: OnceLock::new(),
            warm_at: if warm_up > 0 {
                now.saturating_add(warm_up)
            } else {
                0
            },
            watches_calls: fixed.times_calls(),
            #[cfg(feature = "histogram")]
            latencies: fixed
                .latencies
                .map(crate::latency::Recorder::new)
                .map(Box::new),
            fixed,
            name,
            control: Mutex::new(Control::new(now, has_observers)),
            waiters: Waiters::default(),
        })))
    }

    /// Another breaker with these settings and these observers, closed and empty.
    #[must_use]
    pub fn fresh(&self) -> Self {
        self.fresh_as(self.0.name.clone())
    }

    /// The same, with a name of its own.
    #[must_use]
    pub fn fresh_as(&self, name: impl Into<Name>) -> Self {
        let fresh = self.fresh_untold(name.into());
        fresh.tell_built();
        fresh
    }

    /// Nobody has been told yet that it was built.
    pub(crate) fn fresh_untold(&self, name: Name) -> Self {
        let settings = Arc::clone(&self.config().settings);
        Self::new(name, settings, self.0.fixed.clone())
            .expect("they were checked when this one was built")
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// Asks to make a call.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if the call must not be made.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit, Rejected> {
        match self.admit() {
            Ok(ticket) => Ok(Permit::new(self.clone(), ticket)),
            Err(refusal) => Err(self.rejected(refusal)),
        }
    }

    /// Makes a call if that is allowed: an error is a failure, and so is a panic.
    ///
    /// # Errors
    ///
    /// [`Error::Rejected`] if `work` was not started, [`Error::Inner`] if it failed.
    ///
    /// # Cancellation
    ///
    /// Nothing happens before the first poll. Dropping the future drops the work first, and then settles by the breaker's
    /// [`Cancel`](crate::Cancel) policy; a probe's slot is free again at once.
    pub fn call<T, E, F>(
        &self,
        work: impl FnOnce() -> F,
    ) -> impl Future<Output = Result<T, Error<E>>>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.call_with(ErrIsFailure, work)
    }

    /// The same, where `classify` says what a result means.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// # Cancellation
    ///
    /// As [`call`](Self::call).
    pub async fn call_with<T, E, F>(
        &self,
        classify: impl Classify<T, E>,
        work: impl FnOnce() -> F,
    ) -> Result<T, Error<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let ticket = match self.admit() {
            Ok(ticket) => ticket,
            Err(refusal) => return Err(self.rejected(refusal).into()),
        };
        let mut lent = LentPermit::new(self, ticket);
        let mut work = std::pin::pin!(lent.run(work));
        let result = poll_fn(|cx| lent.run(|| work.as_mut().poll(cx))).await;
        lent.record(classify.classify(&result));
        // It has told, and need not be asked.
        std::mem::forget(lent);
        result.map_err(Error::Inner)
    }

    /// The state. An open breaker whose time is over is [`State::HalfOpen`], though nothing has happened yet: the next call
    /// is a probe.
    #[must_use]
    pub fn state(&self) -> State {
        self.state_at(self.word(), self.now())
    }

    pub(crate) fn state_at(&self, word: Word, now: u64) -> State {
        match word.state() {
            State::Open if word.remaining(now).is_none() => State::HalfOpen,
            state => state,
        }
    }

    /// The configuration that it was built with, if that still holds. On the path of every call: a guard that must be given back is in the way
    /// of breakers that are never reconfigured.
    #[inline]
    pub(crate) fn first_config(&self) -> Option<&Config> {
        match self.0.changed.get() {
            None => Some(&self.0.config),
            Some(_) => None,
        }
    }

    /// Only under the lock.
    pub(crate) fn set_config(&self, config: Config) {
        self.0.reads_start.store(config.reads_start, Relaxed);
        self.0.max_in_flight.store(config.max_in_flight(), Relaxed);
        let config = Arc::new(config);
        let first = self
            .0
            .changed
            .get_or_init(|| ArcSwap::new(Arc::clone(&config)));
        first.store(config);
    }

    /// The configuration that holds.
    pub(crate) fn config(&self) -> Current<'_> {
        match self.0.changed.get() {
            None => Current::First(&self.0.config),
            Some(config) => Current::Changed(config.load()),
        }
    }

    #[inline]
    pub(crate) fn word(&self) -> Word {
        Word(self.0.word.load(Acquire))
    }

    /// Only under the lock.
    pub(crate) fn set_word(&self, word: Word) {
        self.0.word.store(word.0, Release);
    }

    pub(crate) fn slots(&self, word: Word) -> Slots {
        Slots(self.0.slots.read(Stamp::new(word.generation().into())))
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker")
            .field("name", self.name())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

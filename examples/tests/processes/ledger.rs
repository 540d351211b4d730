//! Which prices there were, and how late each may still be seen.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// The relay's rest (0.5 s) and the pages' `max_lag` (1 s) are promised; the rest is room for a machine on which servers are killed and started, and which does other things beside. What is looked for,
/// a page that nobody has told of the change, would be shown for a minute.
pub(crate) const BOUND: Duration = Duration::from_millis(500 + 1000 + 6500);

/// For who waits for a price, on a machine that may stand still. A page that was stored just before, and that nobody has told of the change, would not show it by then.
pub(crate) const LONG: Duration = Duration::from_secs(25);

/// Prices only grow, and each product has one who sets them, so that a price says how old it is.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Books>);

#[derive(Debug, Default)]
struct Books {
    /// When each price was known to be committed, in order.
    prices: HashMap<&'static str, Vec<(u64, Instant)>>,
    /// When what carries invalidations was last lost or found again.
    disturbed: Option<Instant>,
    /// The outbox cannot be read.
    is_blind: bool,
    /// How many reads came so late that a price was due.
    due: usize,
    /// For how long the oldest price that was shown had been another one by then, while nothing was lost.
    latest: Duration,
}

impl Ledger {
    pub(crate) fn committed(&self, product: &'static str, cents: u64) {
        let mut books = self.0.lock().unwrap();
        let prices = books.prices.entry(product).or_default();
        prices.push((cents, Instant::now()));
    }

    pub(crate) fn current(&self, product: &str) -> Option<u64> {
        let books = self.0.lock().unwrap();
        Some(books.prices.get(product)?.last()?.0)
    }

    /// Redis or Postgres has died, or lives again; nobody is promised anything of the time when the outbox cannot be read.
    pub(crate) fn disturb(&self, is_blind: bool) {
        let mut books = self.0.lock().unwrap();
        books.disturbed = Some(Instant::now());
        books.is_blind = is_blind;
    }

    /// A price that was shown to who asked then, when none below `lowest` was to be shown any more.
    pub(crate) fn shown(&self, product: &str, cents: u64, lowest: u64, asked: Instant) {
        let mut books = self.0.lock().unwrap();
        books.due += usize::from(lowest > 0);
        let prices = books.prices.get(product).into_iter().flatten();
        let next = prices.into_iter().find(|(price, _)| *price > cents);
        let Some((_, committed)) = next.filter(|_| !books.is_blind) else {
            return;
        };
        let from = books.disturbed.map_or(*committed, |at| at.max(*committed));
        books.latest = books.latest.max(asked.saturating_duration_since(from));
    }

    /// How many reads were made when a price was due, and so had to see it.
    pub(crate) fn due(&self) -> usize {
        self.0.lock().unwrap().due
    }

    /// How late a price was seen at the latest, when what carries changes was there.
    pub(crate) fn latest(&self) -> Duration {
        self.0.lock().unwrap().latest
    }

    /// The lowest price that may be shown to who asks now.
    pub(crate) fn lowest(&self, product: &str) -> u64 {
        let books = self.0.lock().unwrap();
        let now = Instant::now();
        let is_due = |(_, committed): &&(u64, Instant)| {
            let from = books.disturbed.map_or(*committed, |at| at.max(*committed));
            !books.is_blind && from + BOUND < now
        };
        let prices = books.prices.get(product).into_iter().flatten();
        prices
            .filter(is_due)
            .map(|(cents, _)| *cents)
            .max()
            .unwrap_or(0)
    }
}

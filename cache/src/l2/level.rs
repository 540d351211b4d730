//! A second level as a cache has it: with a codec, and with what is to be when it cannot be reached.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use buttress_dedup::Coordinator;

use super::node::NodeSettings;
use super::{Codec, Compression, L2};

/// A second level for a [`Cache`](crate::Cache): given to [`Builder::l2`](crate::Builder::l2).
///
/// # Guarantees
///
/// **What was invalidated in any process is served by none of them later than [`max_lag`](Self::max_lag) after that**, and by the one that invalidated it not at all; no fill
/// that began before it brings it back, wherever and however late it ends. For that each process looks at the shared clock several times in `max_lag`, beside being told of each
/// step; as long as it cannot, it serves what it holds for `max_lag` and then as [`OnPartition`] says. If the second level goes back to what it held before (a failover that lost
/// writes), whoever saw what was lost notices at its next look, and takes everything away, everywhere: from `max_lag` after that on all of this holds again. Only if nobody who
/// saw it is left is a value served until its ttl is over.
///
/// It is never an error that the second level is down, slow or holds rubbish: it is a miss, and an [event](crate::Event::L2Failed), and each question to it costs a call no more than
/// its [`timeout`](Self::timeout): one before the source is asked, one more with [`leases`](Self::leases), and one after. After some failures in a row it is left in peace for `max_lag`.
#[must_use]
pub struct SecondLevel<V> {
    pub(super) l2: Arc<dyn L2>,
    pub(super) codec: Arc<dyn Codec<V>>,
    pub(super) settings: NodeSettings,
    pub(super) coordinator: Option<Arc<dyn Coordinator>>,
}

/// What becomes of what a process holds in memory when it cannot look at the shared clock.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnPartition {
    /// After [`max_lag`](SecondLevel::max_lag) the source is asked instead.
    #[default]
    Bypass,
    /// It is served for so long more, though something of it may have been invalidated by others.
    ServeFor(Duration),
}

impl<V> SecondLevel<V> {
    /// Values go to `l2` as `codec` writes them.
    pub fn new(l2: impl L2, codec: impl Codec<V>) -> Self {
        Self {
            l2: Arc::new(l2),
            codec: Arc::new(codec),
            settings: NodeSettings {
                max_lag: Duration::from_secs(1),
                serve_for: Duration::ZERO,
                patience: Duration::from_millis(100),
                compression: Compression::Off,
            },
            coordinator: None,
        }
    }

    /// Whether values are compressed. Default: not.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.settings.compression = compression;
        self
    }

    /// How long an answer is waited for. Default: 100 ms.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.patience = timeout;
        self
    }

    /// How late this process may know of what others invalidated, ten milliseconds at least. The clock is looked at three times in it. Default: 1 s.
    pub fn max_lag(mut self, max_lag: Duration) -> Self {
        self.settings.max_lag = max_lag.max(Duration::from_millis(10));
        self
    }

    /// What becomes of what is in memory when the clock cannot be looked at. Default: [`OnPartition::Bypass`].
    pub fn on_partition(mut self, policy: OnPartition) -> Self {
        self.settings.serve_for = match policy {
            OnPartition::Bypass => Duration::ZERO,
            OnPartition::ServeFor(time) => time,
        };
        self
    }

    /// Lets one process at a time read a value from its source; the others wait for it, as long as the coordinator lets them: that is neither in
    /// [`timeout`](Self::timeout) nor in the [hard timeout](crate::Builder::hard_timeout), and its own settings bound it. Default: one fill per process.
    ///
    /// For `get_or_set`. An HTTP cache asks for no lease: to have one request at the origin for all processes, put `DedupLayer::http()` with the same coordinator inside of it.
    pub fn leases(mut self, coordinator: impl Coordinator) -> Self {
        self.coordinator = Some(Arc::new(coordinator));
        self
    }
}

impl<V> fmt::Debug for SecondLevel<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecondLevel")
            .field("settings", &self.settings)
            .field("leases", &self.coordinator.is_some())
            .finish_non_exhaustive()
    }
}

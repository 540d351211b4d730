//! What is done to Redis and to the processes while they work.

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// Redis is killed and started again, on its data.
    KillRedis,
    /// Redis forgets everything.
    FlushAll,
    /// Redis forgets the clock, and keeps the entries.
    LoseClock,
    /// Redis answers nobody for a while.
    Pause,
    /// The way to Redis is slow for a while.
    SlowLink,
    /// All connections are cut.
    Cut,
    /// A process is killed, and another one takes its place.
    KillWorker,
}

const ALL: [Fault; 7] = [
    Fault::Cut,
    Fault::KillRedis,
    Fault::Pause,
    Fault::FlushAll,
    Fault::KillWorker,
    Fault::SlowLink,
    Fault::LoseClock,
];

impl Fault {
    pub(crate) fn of(round: usize) -> Self {
        ALL[round % ALL.len()]
    }
}

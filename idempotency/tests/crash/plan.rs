//! What a story is about, and what a worker is told of it.

use std::path::PathBuf;

/// Where claims and effects are, and what must hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Plan {
    /// Effect and record in one transaction: one effect, always.
    Postgres,
    Sqlite,
    /// An effect elsewhere, and an unknown outcome is refused: at most one.
    RedisReject,
    /// An effect elsewhere, and an unknown outcome is done again: at least one.
    RedisReexecute,
    /// Like `Sqlite`, with a bug.
    Planted(Bug),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Bug {
    /// The claim is completed whoever holds it.
    NoFence,
    /// The claim is completed before there is an effect.
    CommitBeforeEffect,
    /// The claim is given back after its effect.
    AbandonAfterEffect,
}

const PLANS: [Plan; 7] = [
    Plan::Postgres,
    Plan::Sqlite,
    Plan::RedisReject,
    Plan::RedisReexecute,
    Plan::Planted(Bug::NoFence),
    Plan::Planted(Bug::CommitBeforeEffect),
    Plan::Planted(Bug::AbandonAfterEffect),
];

/// How many keys a round has.
pub(crate) const KEYS: usize = 100;

/// What one worker is to do.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) plan: Plan,
    /// Of the server, or the file.
    pub(crate) url: String,
    /// Where effects go that are in no database.
    pub(crate) effects: PathBuf,
    pub(crate) round: usize,
}

const NAMES: [&str; 4] = ["CRASH_PLAN", "CRASH_URL", "CRASH_EFFECTS", "CRASH_ROUND"];

impl Work {
    /// For the environment of a worker.
    pub(crate) fn env(&self) -> impl Iterator<Item = (&'static str, String)> {
        let values = [
            format!("{:?}", self.plan),
            self.url.clone(),
            self.effects.to_str().unwrap().to_owned(),
            self.round.to_string(),
        ];
        NAMES.into_iter().zip(values)
    }

    /// `None` if this process is no worker.
    pub(crate) fn from_env() -> Option<Self> {
        let [plan, url, effects, round] = NAMES.map(|name| std::env::var(name).ok());
        let plan = plan?;
        Some(Self {
            plan: *PLANS.iter().find(|p| format!("{p:?}") == plan).unwrap(),
            url: url?,
            effects: effects?.into(),
            round: round?.parse().unwrap(),
        })
    }

    pub(crate) fn key(&self, n: usize) -> String {
        format!("{}-{n}", self.round)
    }
}

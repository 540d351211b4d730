//! Worker processes on one store, killed at any moment, and their servers with them: how many effects does each key have?
//!
//! Each story goes in rounds of a hundred new keys. Some workers send all of them to a handler of theirs, behind the layer, until each is answered; meanwhile
//! workers are killed, stopped until their leases are over and woken again as zombies, and the server is killed and started again. Then the effects are counted.
//!
//! `CRASH_KILLS` is how many kills a story has; a few dozen if it is not set.
#![allow(clippy::unwrap_used)]

mod check;
mod handler;
mod plan;
mod server;
mod story;
mod worker;

use self::plan::{Bug, Plan};
use self::story::{Story, tell};

/// The binary runs itself with this test alone, and a plan in its environment.
#[test]
fn worker() {
    if let Some(work) = plan::Work::from_env() {
        worker::run(work);
    }
}

fn holds(plan: Plan) {
    let kills = std::env::var("CRASH_KILLS").map_or(24, |kills| kills.parse().unwrap());
    let mut story = Story::begin(plan);
    while story.kills() < kills {
        if let Err(found) = story.round() {
            panic!("{plan:?}: {found}");
        }
        tell(format_args!("{plan:?}: {story} of {kills} kills"));
    }
}

#[test]
fn a_transaction_on_postgres_has_one_effect() {
    holds(Plan::Postgres);
}

#[test]
fn a_transaction_on_sqlite_has_one_effect() {
    holds(Plan::Sqlite);
}

#[test]
fn on_redis_a_key_that_is_not_done_again_has_at_most_one_effect() {
    holds(Plan::RedisReject);
}

#[test]
fn on_redis_a_key_that_is_done_again_has_at_least_one_effect() {
    holds(Plan::RedisReexecute);
}

/// The checker proves itself first.
#[test]
fn what_is_planted_is_found() {
    for bug in [
        Bug::NoFence,
        Bug::CommitBeforeEffect,
        Bug::AbandonAfterEffect,
    ] {
        let mut story = Story::begin(Plan::Planted(bug));
        let found = (0..20).find_map(|_| story.round().err());
        let found = found.unwrap_or_else(|| panic!("{bug:?} was not found"));
        tell(format_args!("{bug:?}: {found}"));
    }
}

//! Four processes with one Redis, or a cluster of three, which is killed, emptied, slowed down and cut off, as they are: is anything served that was invalidated?
//!
//! Each process reads and changes values at random, and writes down what it was served and when what it invalidated was done. A database that nobody disturbs says which version
//! of a value is the newest. The checker looks for a value that is older than an invalidation that was done in the same process before the read began, or in any process `MAX_LAG` before.
//!
//! `CACHE_ROUNDS` is how many rounds there are, each with a fault; fifty if it is not set.
#![allow(clippy::unwrap_used)]

mod check;
mod fault;
mod link;
mod servers;
mod story;
mod worker;

/// The binary runs itself with this test alone, and its work in its environment.
#[test]
fn worker() {
    if let Some(work) = worker::Work::from_env() {
        worker::run(&work);
    }
}

#[test]
fn nothing_that_was_invalidated_is_served() {
    let rounds = std::env::var("CACHE_ROUNDS").map_or(50, |rounds| rounds.parse().unwrap());
    let told = tell_story(servers::Servers::one(), rounds);
    assert!(
        told.hits > told.reads / 20,
        "it is a cache, and not a way around one"
    );
}

#[test]
fn nothing_that_was_invalidated_is_served_with_a_cluster_either() {
    tell_story(servers::Servers::cluster(), 7);
}

fn tell_story(servers: servers::Servers, rounds: usize) -> check::Told {
    let mut story = story::Story::begin(servers);
    for round in 0..rounds {
        story.round(fault::Fault::of(round));
    }
    let told = story.end();
    story::tell(format_args!("{told}"));
    assert!(
        told.reads + told.changes >= rounds * 2000,
        "each round has so many operations"
    );
    assert!(told.changes * 8 >= told.reads, "a tenth of them invalidate");
    told
}

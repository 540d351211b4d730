//! The long story: hostility, and what is left of it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use testkit::alloc;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::census::{Census, SLACK};
use crate::client::{Client, Manner, Orders};
use crate::honest;
use crate::tally::Tally;
use crate::turns::{Length, Turns};
use crate::world::{LOOKS, World};

/// How many clients there are of each manner.
const QUICK: u8 = 24;
const SLOW: u8 = 12;
const A_MINUTE: Duration = Duration::from_mins(1);
/// How many turns make everything as large as it has to be, and how many more the test has; a soak has `HOSTILITY_SECONDS`.
const FIRST: u64 = 1500;
const TURNS: u64 = 40_000;

#[test]
fn nothing_is_left_of_what_is_hostile() {
    let seconds = std::env::var("HOSTILITY_SECONDS").ok();
    let length = seconds.map_or(Length::Turns(TURNS), |seconds| {
        Length::Time(Duration::from_secs(seconds.parse().unwrap()))
    });
    let seed = std::env::var("HOSTILITY_SEED").ok();
    let seed = seed.map_or_else(|| fastrand::u64(..1 << 32), |seed| seed.parse().unwrap());
    println!("HOSTILITY_SEED={seed}");
    let _alone = alone();
    let clients = runtime();
    let begun = alloc::held();
    let stopped = clients.block_on(async {
        let mut world = World::start().await;
        println!("{:?}", world.places());
        let first = load(&world, seed, Length::Turns(FIRST)).await;
        let before = world.quiet().await;
        println!("before: {before:?}");
        println!("the load begins");
        let all = load(&world, seed + 1, length).await;
        println!("the load has ended after {:?}", all.took);
        honest::seldom(&all.acts);
        honest::served(&all.acts);
        let after = world.settle(&before, LOOKS).await;
        let after = after.unwrap_or_else(|left| panic!("seed {seed}: something is left:\n{left}"));
        world.leaves_only_what_is_told().await;
        world.is_well().await;
        report(&world, &all, &before, &after);
        drop(first);
        world.stop().await
    });
    for runtime in stopped {
        until_nobody_is_left(&runtime);
        drop(runtime);
    }
    drop(clients);
    let left = alloc::held().saturating_sub(begun);
    println!("left when all have ended: {left} bytes");
    assert!(left < SLACK, "{left} bytes are nobody's");
}

/// Connections to upstreams end when those who kept them have, a moment later. Whatever a program has left behind would be there for ever.
fn until_nobody_is_left(runtime: &Runtime) {
    let begun = Instant::now();
    while runtime.metrics().num_alive_tasks() > 0 {
        assert!(begun.elapsed() < A_MINUTE, "a task is left after the end");
        std::thread::yield_now();
    }
}

/// Memory is counted for the whole process: one test at a time.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

pub(crate) struct Load {
    pub(crate) acts: Tally,
    took: Duration,
}

/// Everybody, until it is over.
pub(crate) async fn load(world: &World, seed: u64, length: Length) -> Load {
    let (orders, turns, acts) = (Orders::default(), Turns::new(length), Tally::default());
    let mut clients = JoinSet::new();
    for number in 0..QUICK + SLOW {
        let manner = if number < QUICK {
            Manner::Quick
        } else {
            Manner::Slow
        };
        let client = Client::new(seed, number, world.places(), &orders, &turns, &acts);
        clients.spawn(client.run(manner));
    }
    // Whoever fails ends the test here.
    clients.join_all().await;
    Load {
        acts,
        took: turns.took(),
    }
}

#[expect(clippy::print_stdout, reason = "what a soak shows")]
fn report(world: &World, load: &Load, before: &Census, after: &Census) {
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    println!("{} acts of clients in {:?}:", load.acts.total(), load.took);
    print!("{}", load.acts);
    println!("what the upstream did:\n{}", world.upstream.tally);
    println!(
        "bytes allocated: {:.2} MiB before, {:.2} MiB at the highest, {:.2} MiB after",
        mib(before.held),
        mib(alloc::highest()),
        mib(after.held)
    );
    println!(
        "kept on purpose: {:?}, and before {:?}",
        after.kept, before.kept
    );
    for counted in &after.programs {
        println!(
            "{}: {} tasks, {:?}",
            counted.name, counted.tasks, counted.under_way
        );
    }
}

//! What each configuration costs, by one thread, and by two where they share something: windows, rules and clocks of a breaker, keys and bodies of flights, codecs, compression and sizes of values, first levels of
//! the HTTP cache, replays, formats, samplers and sinks. The other side of `rows`, which has one row for each promise.
#![allow(clippy::unwrap_used)]

mod circuit;
mod dedup;
mod http_cache;
mod idempotency;
mod negotiate;
mod second_level;
#[path = "../support/threads.rs"]
mod threads;
mod trace_ctx;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    circuit::windows(&mut criterion);
    circuit::rules(&mut criterion);
    circuit::keys(&mut criterion);
    dedup::keys(&mut criterion);
    dedup::bodies(&mut criterion);
    second_level::codecs(&mut criterion);
    second_level::compression(&mut criterion);
    http_cache::hits(&mut criterion);
    idempotency::replays(&mut criterion);
    negotiate::collections(&mut criterion);
    trace_ctx::samplers(&mut criterion);
    trace_ctx::sinks(&mut criterion);
    criterion.final_summary();
}

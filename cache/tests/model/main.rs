//! Histories against a naive reference: it keeps every invalidation, and asks for each value whether it may still be served.
#![cfg(not(buttress_loom))]
#![allow(clippy::unwrap_used)]

mod history;
mod naive;

use buttress_cache::Memory;
use proptest::prelude::*;

use history::{History, Op, Says, Settings};

const KEYS: usize = 3;
const TAGS: usize = 3;
const MEMORIES: &[Memory] = &[
    Memory::QuickCache,
    #[cfg(feature = "moka")]
    Memory::Moka(buttress_cache::Eviction::TinyLfu),
    #[cfg(feature = "moka")]
    Memory::Moka(buttress_cache::Eviction::Lru),
];

fn op() -> impl Strategy<Value = Op> {
    let key = 0..KEYS;
    let tags = || prop::collection::vec(0..TAGS, 0..3);
    let index = any::<prop::sample::Index>;
    let says = prop_oneof![
        6 => Just(Says::Value),
        3 => Just(Says::Fails),
        1 => Just(Says::Nothing),
        2 => Just(Says::NotModified),
        1 => Just(Says::Panics),
    ];
    let dependency = prop::option::weighted(0.3, 0..KEYS);
    prop_oneof![
        8 => (key.clone(), tags(), dependency).prop_map(|(key, tags, parent)| Op::Begin { key, tags, parent }),
        7 => (index(), says).prop_map(|(which, says)| Op::Finish { which, says }),
        1 => index().prop_map(Op::Drop),
        1 => index().prop_map(Op::DropTask),
        4 => key.clone().prop_map(Op::Get),
        1 => (key.clone(), tags(), any::<bool>()).prop_map(|(key, tags, old)| Op::Set { key, tags, old }),
        3 => (tags(), any::<bool>()).prop_map(|(tags, remove)| Op::Invalidate { tags, remove }),
        2 => (key, any::<bool>()).prop_map(|(key, remove)| Op::InvalidateKey { key, remove }),
        1 => Just(Op::Clear),
        1 => tags().prop_map(Op::Guard),
        2 => index().prop_map(Op::Unguard),
        6 => (1..8_u64).prop_map(Op::Pass),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let seconds = |range: std::ops::Range<u64>| prop::option::of(range);
    (
        prop::sample::select(MEMORIES),
        prop_oneof![Just(0), Just(30_u64)],
        prop_oneof![Just(0), Just(4_u64)],
        seconds(1..6),
        any::<bool>(),
        seconds(1..4),
        seconds(5..8),
    )
        .prop_map(
            |(memory, grace, throttle, negative_ttl, eager, soft, hard)| Settings {
                memory,
                ttl: 10,
                grace,
                throttle,
                negative_ttl,
                eager,
                soft,
                hard,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn every_answer_is_one_that_the_reference_gives_too(
        settings in settings(),
        ops in prop::collection::vec(op(), 1..80),
    ) {
        History::new(settings).run(ops);
    }
}

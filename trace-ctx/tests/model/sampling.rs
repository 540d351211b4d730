//! What is recorded can be counted up to what there was.

use buttress_trace_ctx::{
    FastIds, IdGenerator, Policy, Probability, RequestId, SpanId, TraceContext, TraceId,
};
use http::Request;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::sync::Mutex;

/// The same random ids in every run: a statistic that is true stays true.
struct Seeded(Mutex<SmallRng>);

impl IdGenerator for Seeded {
    fn trace_id(&self) -> TraceId {
        TraceId::from_bytes(self.0.lock().unwrap().random()).unwrap()
    }

    fn span_id(&self) -> SpanId {
        FastIds.span_id()
    }

    fn request_id(&self) -> RequestId {
        FastIds.request_id()
    }

    fn is_random(&self) -> bool {
        true
    }
}

const TRACES: usize = 16_000;

fn sampled(share: f64, seed: u64) -> Vec<TraceContext> {
    let policy = Policy::default()
        .ids(Seeded(Mutex::new(SmallRng::seed_from_u64(seed))))
        .sampler(Probability::new(share));
    let all = (0..TRACES).map(|_| policy.accept(&mut Request::new(())));
    all.filter(TraceContext::is_sampled).collect()
}

/// The share that a `th` stands for, read as its specification says.
fn share_of(context: &TraceContext) -> f64 {
    let ot = context.state().get("ot").unwrap();
    let digits = ot.strip_prefix("th:").unwrap();
    assert!((1..=14).contains(&digits.len()));
    let threshold = u64::from_str_radix(&format!("{digits:0<14}"), 16).unwrap();
    1.0 - threshold as f64 / (1u64 << 56) as f64
}

#[test]
fn the_adjusted_count_is_what_there_was() {
    for (seed, share) in [(1, 1.0), (2, 0.5), (3, 0.1), (4, 0.013), (5, 1.0 / 3.0)] {
        let recorded = sampled(share, seed);
        let adjusted: f64 = recorded.iter().map(|context| 1.0 / share_of(context)).sum();
        let mean = adjusted / TRACES as f64;
        let deviation = ((1.0 - share) / (share * TRACES as f64)).sqrt();
        assert!(
            (mean - 1.0).abs() <= 3.0 * deviation + 1e-12,
            "{share}: {mean}"
        );
        let told = recorded
            .iter()
            .map(|context| (share_of(context) - share).abs());
        assert!(
            told.fold(0.0, f64::max) <= 1.0 / (1u64 << 52) as f64,
            "{share}"
        );
    }
}

/// Chi-squared over sixteen shares: traces are spread evenly over the thresholds between them.
#[test]
fn every_share_gets_its_part() {
    let counts: Vec<_> = (0..=16)
        .map(|step| sampled(f64::from(step) / 16.0, 7).len())
        .collect();
    assert_eq!((counts[0], counts[16]), (0, TRACES));
    assert!(
        counts.is_sorted(),
        "what a smaller share records, a larger one does"
    );
    let expected = TRACES as f64 / 16.0;
    let parts = counts.windows(2).map(|pair| (pair[1] - pair[0]) as f64);
    let chi: f64 = parts.map(|part| (part - expected).powi(2) / expected).sum();
    assert!(
        chi < 37.7,
        "15 degrees of freedom, one in a thousand: {chi}"
    );
}

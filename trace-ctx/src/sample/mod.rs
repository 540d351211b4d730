//! Which traces are recorded.

use crate::{Head, Remote, Sampling, TraceId};

mod choose;
pub(crate) mod ot;
mod rate;

pub use self::choose::{DebugHeader, PerRoute};
pub use self::rate::RateLimited;

/// Decides whether a trace is recorded. Asked once per request, before anything is built for it.
/// A closure from a [`SampleRequest`] to a [`Sampling`] is one.
pub trait Sampler: Send + Sync + 'static {
    /// The decision, which also goes out with every call made for this request.
    fn sample(&self, request: &SampleRequest<'_>) -> Decision;
}

/// What a [`Sampler`] may look at.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct SampleRequest<'a> {
    /// The trace, whether continued or new.
    pub trace_id: TraceId,
    /// The caller's context, if its trace goes on.
    pub parent: Option<&'a Remote>,
    /// The request.
    pub head: Head<'a>,
}

/// What a [`Sampler`] decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// To record or not.
    pub sampling: Sampling,
    /// What those who come after are told of how it was decided.
    pub threshold: Threshold,
}

/// The `th` of the `ot` member in `tracestate`: with it, what was recorded can be counted up to what there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// As it came: somebody else decided.
    Kept,
    /// None: the decision was not one of probability.
    Erased,
    /// Recorded, because its 56 bits of randomness are at least this.
    AtLeast(u64),
}

/// A decision that has nothing to do with probability.
impl From<Sampling> for Decision {
    fn from(sampling: Sampling) -> Self {
        Self {
            sampling,
            threshold: Threshold::Erased,
        }
    }
}

impl<'a> SampleRequest<'a> {
    /// A question about this trace, for this request.
    #[must_use]
    pub fn new(trace_id: TraceId, parent: Option<&'a Remote>, head: Head<'a>) -> Self {
        Self {
            trace_id,
            parent,
            head,
        }
    }
}

impl<F> Sampler for F
where
    F: Fn(&SampleRequest<'_>) -> Sampling + Send + Sync + 'static,
{
    fn sample(&self, request: &SampleRequest<'_>) -> Decision {
        self(request).into()
    }
}

/// Records every trace.
#[derive(Clone, Copy, Debug, Default)]
pub struct Always;

/// Records none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Never;

/// Does what the caller decided, and asks the sampler inside where nobody has.
#[derive(Clone, Copy, Debug, Default)]
pub struct ParentBased<S>(pub S);

/// Leaves open what the sampler inside denies: whether such a request is recorded is known when it is over, by a sink that
/// [looks](crate::SampledOr) at how it went. Requests that a caller has denied stay denied: put this inside of [`ParentBased`].
///
/// Those we call are told that it is not sampled: of a request that is recorded in the end, ours is the only span.
#[derive(Clone, Copy, Debug, Default)]
pub struct Deferring<S>(pub S);

/// Records this share of the traces, and every service that is asked about one trace gives the same answer:
/// what is recorded at one share is recorded at each larger share.
///
/// Compares 56 random bits with a threshold: those of the trace id, or of the `rv` in the `ot` member of
/// `tracestate` where the caller sent one. The share goes out as its `th`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probability {
    /// Records iff the randomness is at least this. In `0..=1 << 56`.
    threshold: u64,
}

impl Sampler for Always {
    fn sample(&self, _: &SampleRequest<'_>) -> Decision {
        Sampling::Accept.into()
    }
}

impl Sampler for Never {
    fn sample(&self, _: &SampleRequest<'_>) -> Decision {
        Sampling::Deny.into()
    }
}

impl<S: Sampler> Sampler for ParentBased<S> {
    fn sample(&self, request: &SampleRequest<'_>) -> Decision {
        match request.parent.map(|parent| parent.sampling) {
            Some(sampling @ (Sampling::Accept | Sampling::Deny | Sampling::Debug)) => Decision {
                sampling,
                threshold: Threshold::Kept,
            },
            Some(Sampling::Defer) | None => self.0.sample(request),
        }
    }
}

impl<S: Sampler> Sampler for Deferring<S> {
    fn sample(&self, request: &SampleRequest<'_>) -> Decision {
        match self.0.sample(request) {
            Decision {
                sampling: Sampling::Deny,
                ..
            } => Sampling::Defer.into(),
            decision => decision,
        }
    }
}

impl Probability {
    const RANGE: f64 = (1u64 << 56) as f64;

    /// The share of traces to record. Below 0 (or not a number) is 0, above 1 is 1.
    #[must_use]
    pub fn new(share: f64) -> Self {
        let share = if share.is_nan() {
            0.0
        } else {
            share.clamp(0.0, 1.0)
        };
        Self {
            threshold: ((1.0 - share) * Self::RANGE) as u64,
        }
    }

    fn randomness(request: &SampleRequest<'_>) -> u64 {
        let explicit = request
            .parent
            .and_then(|parent| parent.state.get("ot"))
            .and_then(ot::rv);
        explicit.unwrap_or_else(|| request.trace_id.randomness())
    }
}

impl Sampler for Probability {
    fn sample(&self, request: &SampleRequest<'_>) -> Decision {
        let accepted = Self::randomness(request) >= self.threshold;
        if accepted {
            Decision {
                sampling: Sampling::Accept,
                threshold: Threshold::AtLeast(self.threshold),
            }
        } else {
            Sampling::Deny.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};

    use super::*;
    use crate::{Flags, SpanId, TraceParent, TraceState};

    fn remote(sampling: Sampling, state: &'static str) -> Remote {
        let parent = TraceParent {
            trace_id: TraceId::from_bytes([1; 16]).unwrap(),
            span_id: SpanId::from_bytes([1; 8]).unwrap(),
            flags: Flags::default(),
        };
        let state = TraceState::parse(HeaderValue::from_static(state)).unwrap();
        Remote::new(parent, sampling, state)
    }

    fn ask(sampler: &dyn Sampler, randomness: u64, parent: Option<&Remote>) -> Sampling {
        let request = Request::new(());
        let mut id = [0xff; 16];
        id[8..].copy_from_slice(&randomness.to_be_bytes());
        let trace_id = TraceId::from_bytes(id).unwrap();
        sampler
            .sample(&SampleRequest::new(trace_id, parent, Head::of(&request)))
            .sampling
    }

    #[test]
    fn parent_based_follows_whoever_decided() {
        for (parent, expected) in [
            (Some(Sampling::Accept), Sampling::Accept),
            (Some(Sampling::Deny), Sampling::Deny),
            (Some(Sampling::Debug), Sampling::Debug),
            (Some(Sampling::Defer), Sampling::Accept),
            (None, Sampling::Accept),
        ] {
            let parent = parent.map(|sampling| remote(sampling, ""));
            assert_eq!(ask(&ParentBased(Always), 0, parent.as_ref()), expected);
        }
        assert_eq!(ask(&ParentBased(Never), 0, None), Sampling::Deny);
    }

    #[test]
    fn what_is_denied_is_deferred_and_nothing_else() {
        for (inside, expected) in [
            (Sampling::Deny, Sampling::Defer),
            (Sampling::Defer, Sampling::Defer),
            (Sampling::Accept, Sampling::Accept),
            (Sampling::Debug, Sampling::Debug),
        ] {
            let sampler = Deferring(move |_: &SampleRequest<'_>| inside);
            assert_eq!(ask(&sampler, 0, None), expected);
        }
    }

    #[test]
    fn a_larger_share_records_all_that_a_smaller_one_does() {
        let shares = [0.0, 1e-9, 0.01, 0.25, 0.5, 0.99, 1.0];
        for step in 0..1000u64 {
            let randomness = step * ((1 << 56) / 1000);
            let sampled = shares.map(|p| ask(&Probability::new(p), randomness, None).is_sampled());
            assert!(sampled.is_sorted(), "{randomness:x}: {sampled:?}");
        }
    }

    #[test]
    fn the_share_is_kept_exactly() {
        let last = (1 << 56) - 1;
        for (share, randomness, sampled) in [
            (0.0, last, false),
            (-1.0, last, false),
            (f64::NAN, last, false),
            (1.0, 0, true),
            (7.0, 0, true),
            (0.5, (1 << 55) - 1, false),
            (0.5, 1 << 55, true),
            (0.25, (3 << 54) - 1, false),
            (0.25, 3 << 54, true),
        ] {
            let decision = ask(&Probability::new(share), randomness, None);
            assert_eq!(decision.is_sampled(), sampled, "{share} {randomness:x}");
        }
    }

    #[test]
    fn explicit_randomness_counts_before_the_trace_id() {
        let half = Probability::new(0.5);
        for (state, sampled) in [
            ("ot=rv:80000000000000", true),
            ("ot=th:c;rv:7fffffffffffff", false),
            // Not an `rv`: the trace id decides, and here says no.
            ("ot=rv:8000000000000", false),
            ("ot=rv:8000000000000G", false),
            ("ot=rv:+8000000000000", false),
            ("other=rv:80000000000000", false),
        ] {
            let parent = remote(Sampling::Defer, state);
            assert_eq!(
                ask(&half, 0, Some(&parent)).is_sampled(),
                sampled,
                "{state}"
            );
        }
    }
}

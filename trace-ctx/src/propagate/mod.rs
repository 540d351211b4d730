//! The formats in which a context travels in header fields.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::fields::{self, Field};
use crate::{
    Baggage, Flags, IdGenerator, Sampling, TraceContext, TraceParent, TraceParentError, TraceState,
};

mod b3;
mod jaeger;
mod named;
mod read;
mod xray;

pub use self::b3::B3;
pub use self::jaeger::Jaeger;
pub use self::named::{Propagators, UnknownPropagator};
pub use self::xray::XRay;

pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub(crate) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A format in which a context travels in header fields.
///
/// A tuple of propagators reads the first valid format and writes them all; [`ExtractOnly`] keeps one of them
/// from being written, as for a format that is on its way out.
pub trait Propagator: Send + Sync + 'static {
    /// Reads what the caller sent.
    fn extract(&self, headers: &HeaderMap) -> Extracted;

    /// Writes this context. Afterwards each of [`fields`](Self::fields) says what the context says or is absent:
    /// nothing that was there before stays.
    fn inject(&self, context: &TraceContext, headers: &mut HeaderMap);

    /// Reads the baggage that came beside the trace. Only [`BaggageFields`](crate::BaggageFields) does by default.
    fn baggage(&self, _: &HeaderMap) -> Option<Baggage> {
        None
    }

    /// Names the header fields of this format.
    fn fields(&self, visit: &mut dyn FnMut(&HeaderName));

    /// Names those of them that came and are not valid: all, or none, by default. Asked where one format was refused and another one was not, for what is to be removed from
    /// the request.
    fn refused(&self, headers: &HeaderMap, visit: &mut dyn FnMut(&HeaderName)) {
        if self.extract(headers) == Extracted::Invalid {
            self.fields(visit);
        }
    }
}

/// What a [`Propagator`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extracted {
    /// No context.
    Nothing,
    /// Something that is not valid in this format.
    Invalid,
    /// The caller's context.
    Remote(Remote),
}

/// The caller's context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The trace and the caller's span in it. Of its flags only `random` is looked at.
    pub parent: TraceParent,
    /// The caller's decision.
    pub sampling: Sampling,
    /// What vendors keep about the trace.
    pub state: TraceState,
    /// Whether a state came that is not valid: it is to be removed from the request.
    pub(crate) is_state_refused: bool,
    /// Whether it came in another format too, and there it is not valid: that is to be removed as well.
    pub(crate) is_other_refused: bool,
}

impl Remote {
    /// A caller's context.
    #[must_use]
    pub fn new(parent: TraceParent, sampling: Sampling, state: TraceState) -> Self {
        Self {
            parent,
            sampling,
            state,
            is_state_refused: false,
            is_other_refused: false,
        }
    }

    /// A span of ours below the caller's, in his trace and by his decision, with what he has [deferred](Sampling::Defer) still undecided: for who has a [`Propagator`] and no layer, as on a queue.
    #[must_use]
    pub fn child(mut self, ids: &dyn IdGenerator) -> TraceContext {
        let sampling = self.sampling;
        TraceContext::continuing(&mut self, sampling, ids, None)
    }
}

/// `traceparent` and `tracestate` (W3C Trace Context level 2).
///
/// A bad or repeated `traceparent` is no context at all, and its `tracestate` is dropped with it; a bad `tracestate` is
/// dropped alone (3.3.1.1). A list longer than 512 characters is shortened when it comes in (3.3.1.5).
#[derive(Clone, Copy, Debug, Default)]
pub struct W3c;

/// Reads a format and never writes it.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExtractOnly<P>(pub P);

impl W3c {
    /// The `traceparent` of these headers.
    ///
    /// # Errors
    ///
    /// When it is not valid or stands there more than once.
    pub fn traceparent(headers: &HeaderMap) -> Option<Result<TraceParent, TraceParentError>> {
        let [field] = fields::find(headers, [&TRACEPARENT]);
        Self::read(field)
    }

    #[inline]
    fn read(field: Field<'_>) -> Option<Result<TraceParent, TraceParentError>> {
        match field {
            Field::Absent => None,
            Field::Once(value) => Some(TraceParent::parse(value.as_bytes())),
            Field::Repeated => Some(Err(TraceParentError::Repeated)),
        }
    }

    /// Apart: most requests have none.
    #[cold]
    fn read_state(headers: &HeaderMap, remote: &mut Remote) {
        let read = TraceState::from_headers(headers);
        remote.is_state_refused = read.is_err();
        remote.state = read.unwrap_or_default();
        remote.state.truncate(TraceState::MAX_LEN);
    }

    /// A list that a user of ours has made too long is shortened when it goes out.
    fn sent_state(state: &TraceState) -> Option<HeaderValue> {
        if state.as_bytes().len() <= TraceState::MAX_LEN {
            return state.to_header_value();
        }
        let mut state = state.clone();
        state.truncate(TraceState::MAX_LEN);
        state.to_header_value()
    }
}

impl Propagator for W3c {
    fn extract(&self, headers: &HeaderMap) -> Extracted {
        let [parent, state] = fields::find(headers, [&TRACEPARENT, &TRACESTATE]);
        match Self::read(parent) {
            None => Extracted::Nothing,
            Some(Err(_)) => Extracted::Invalid,
            Some(Ok(parent)) => {
                let sampling = decision(parent.flags);
                let mut remote = Remote::new(parent, sampling, TraceState::default());
                if state != Field::Absent {
                    Self::read_state(headers, &mut remote);
                }
                Extracted::Remote(remote)
            }
        }
    }

    fn inject(&self, context: &TraceContext, headers: &mut HeaderMap) {
        // As a call is most often: nothing to write over.
        let is_new = fields::has_none(headers, [&TRACEPARENT, &TRACESTATE]);
        let parent = context.traceparent().to_header_value();
        if is_new {
            headers.insert(TRACEPARENT, parent);
        } else {
            fields::overwrite(headers, &TRACEPARENT, parent);
        }
        match Self::sent_state(context.state()) {
            Some(state) => drop(headers.insert(TRACESTATE, state)),
            None if is_new => {}
            None => fields::remove(headers, &TRACESTATE),
        }
    }

    fn fields(&self, visit: &mut dyn FnMut(&HeaderName)) {
        visit(&TRACEPARENT);
        visit(&TRACESTATE);
    }
}

fn decision(flags: Flags) -> Sampling {
    if flags.is_sampled() {
        Sampling::Accept
    } else {
        Sampling::Deny
    }
}

impl<P: Propagator> Propagator for ExtractOnly<P> {
    fn extract(&self, headers: &HeaderMap) -> Extracted {
        self.0.extract(headers)
    }

    fn baggage(&self, headers: &HeaderMap) -> Option<Baggage> {
        self.0.baggage(headers)
    }

    /// Only removes the fields: a copy of what came in must not go out beside the formats that are written.
    fn inject(&self, _: &TraceContext, headers: &mut HeaderMap) {
        strip(self, headers);
    }

    fn fields(&self, visit: &mut dyn FnMut(&HeaderName)) {
        self.0.fields(visit);
    }

    fn refused(&self, headers: &HeaderMap, visit: &mut dyn FnMut(&HeaderName)) {
        self.0.refused(headers, visit);
    }
}

impl From<Result<Option<Remote>, read::Invalid>> for Extracted {
    fn from(read: Result<Option<Remote>, read::Invalid>) -> Self {
        match read {
            Ok(None) => Self::Nothing,
            Ok(Some(remote)) => Self::Remote(remote),
            Err(read::Invalid) => Self::Invalid,
        }
    }
}

/// Removes every field of this propagator.
pub(crate) fn strip(propagator: &dyn Propagator, headers: &mut HeaderMap) {
    propagator.fields(&mut |name| fields::remove(headers, name));
}

/// Removes the fields of this propagator that are not valid.
#[cold]
pub(crate) fn strip_refused(propagator: &dyn Propagator, headers: &mut HeaderMap) {
    let mut refused = Vec::new();
    propagator.refused(headers, &mut |name| refused.push(name.clone()));
    refused
        .iter()
        .for_each(|name| fields::remove(headers, name));
}

impl Extracted {
    /// This, or the other one where this is no context. What is invalid in one format may be valid in another.
    fn or_else(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Self::Remote(_) => self,
            Self::Nothing => other(),
            Self::Invalid => match other() {
                Self::Nothing | Self::Invalid => Self::Invalid,
                Self::Remote(remote) => Self::Remote(Remote {
                    is_other_refused: true,
                    ..remote
                }),
            },
        }
    }
}

/// No format: nothing is read and nothing is written.
impl Propagator for () {
    fn extract(&self, _: &HeaderMap) -> Extracted {
        Extracted::Nothing
    }

    fn inject(&self, _: &TraceContext, _: &mut HeaderMap) {}

    fn fields(&self, _: &mut dyn FnMut(&HeaderName)) {}
}

macro_rules! tuples {
    ($($name:ident)+) => {
        impl<$($name: Propagator),+> Propagator for ($($name,)+) {
            fn extract(&self, headers: &HeaderMap) -> Extracted {
                #[expect(non_snake_case, reason = "one name for a type and its value")]
                let ($($name,)+) = self;
                Extracted::Nothing$(.or_else(|| $name.extract(headers)))+
            }

            fn inject(&self, context: &TraceContext, headers: &mut HeaderMap) {
                #[expect(non_snake_case, reason = "one name for a type and its value")]
                let ($($name,)+) = self;
                $($name.inject(context, headers);)+
            }

            #[expect(non_snake_case, reason = "one name for a type and its value")]
            fn baggage(&self, headers: &HeaderMap) -> Option<Baggage> {
                let ($($name,)+) = self;
                None$(.or_else(|| $name.baggage(headers)))+
            }

            fn fields(&self, visit: &mut dyn FnMut(&HeaderName)) {
                #[expect(non_snake_case, reason = "one name for a type and its value")]
                let ($($name,)+) = self;
                $($name.fields(visit);)+
            }

            #[expect(non_snake_case, reason = "one name for a type and its value")]
            fn refused(&self, headers: &HeaderMap, visit: &mut dyn FnMut(&HeaderName)) {
                let ($($name,)+) = self;
                $($name.refused(headers, visit);)+
            }
        }
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SequentialIds;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03";

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn who_has_no_layer_goes_on_below_the_caller() {
        let came = headers(&[("traceparent", VALID), ("tracestate", "a=1")]);
        let Extracted::Remote(remote) = W3c.extract(&came) else {
            panic!("it is valid")
        };
        let context = remote.clone().child(&SequentialIds::new());
        assert_eq!(context.trace_id(), remote.parent.trace_id);
        assert_eq!(context.parent_id(), Some(remote.parent.span_id));
        let mut sent = HeaderMap::new();
        W3c.inject(&context, &mut sent);
        let (trace, span) = (remote.parent.trace_id, context.span_id());
        assert_eq!(
            sent["traceparent"],
            format!("00-{trace}-{span}-03").as_str()
        );
        assert_eq!(sent["tracestate"], "a=1");
    }

    /// Another format: the trace parent under another name.
    struct Other;

    impl Propagator for Other {
        fn extract(&self, headers: &HeaderMap) -> Extracted {
            let renamed = headers
                .get("other")
                .map(|value| (TRACEPARENT.clone(), value.clone()));
            W3c.extract(&HeaderMap::from_iter(renamed))
        }

        fn inject(&self, context: &TraceContext, headers: &mut HeaderMap) {
            headers.insert("other", context.traceparent().to_header_value());
        }

        fn fields(&self, visit: &mut dyn FnMut(&HeaderName)) {
            visit(&HeaderName::from_static("other"));
        }
    }

    fn found(propagator: &dyn Propagator, fields: &[(&'static str, &str)]) -> &'static str {
        match propagator.extract(&headers(fields)) {
            Extracted::Nothing => "nothing",
            Extracted::Invalid => "invalid",
            Extracted::Remote(_) => "remote",
        }
    }

    #[test]
    fn a_repeated_traceparent_is_invalid_even_if_the_copies_agree() {
        assert_eq!(
            found(&W3c, &[("traceparent", VALID), ("traceparent", VALID)]),
            "invalid"
        );
        let repeated = headers(&[("traceparent", VALID), ("traceparent", "junk")]);
        assert_eq!(
            W3c::traceparent(&repeated),
            Some(Err(TraceParentError::Repeated))
        );
    }

    #[test]
    fn a_bad_tracestate_is_dropped_alone() {
        let sent = headers(&[("traceparent", VALID), ("tracestate", "a=1,B=2")]);
        let Extracted::Remote(remote) = W3c.extract(&sent) else {
            panic!("lost the trace")
        };
        assert!(remote.state.is_empty());
        assert_eq!(remote.sampling, Sampling::Accept);
    }

    #[test]
    fn a_tracestate_without_a_traceparent_is_nothing() {
        assert_eq!(found(&W3c, &[("tracestate", "a=1")]), "nothing");
    }

    #[test]
    fn a_long_tracestate_is_shortened_when_it_comes_in() {
        let list = (0..20)
            .map(|i| format!("key{i:02}={}", "v".repeat(30)))
            .collect::<Vec<_>>();
        let sent = headers(&[("traceparent", VALID), ("tracestate", &list.join(","))]);
        let Extracted::Remote(remote) = W3c.extract(&sent) else {
            panic!("lost the trace")
        };
        assert_eq!(remote.state.as_bytes(), list[..13].join(",").as_bytes());
    }

    #[test]
    fn inject_leaves_nothing_of_what_was_there() {
        let cx = TraceContext::root(&SequentialIds::new());
        let mut out = headers(&[
            ("traceparent", "x"),
            ("traceparent", "y"),
            ("tracestate", "a=1"),
        ]);
        W3c.inject(&cx, &mut out);
        assert_eq!(W3c::traceparent(&out), Some(Ok(cx.traceparent())));
        assert!(
            !out.contains_key("tracestate"),
            "an empty state is not sent"
        );
    }

    #[test]
    fn a_tuple_reads_the_first_valid_format() {
        let both = (W3c, Other);
        for (fields, expected) in [
            (&[][..], "nothing"),
            (&[("other", VALID)], "remote"),
            (&[("traceparent", "junk"), ("other", VALID)], "remote"),
            (&[("traceparent", "junk")], "invalid"),
            (&[("traceparent", "junk"), ("other", "junk")], "invalid"),
            (&[("other", "junk"), ("traceparent", VALID)], "remote"),
        ] {
            assert_eq!(found(&both, fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_tuple_writes_every_format_but_those_for_reading_only() {
        let cx = TraceContext::root(&SequentialIds::new());
        let mut out = HeaderMap::new();
        (W3c, Other).inject(&cx, &mut out);
        assert_eq!(out["traceparent"], out["other"]);
        (W3c, ExtractOnly(Other)).inject(&cx, &mut out);
        assert!(out.contains_key("traceparent") && !out.contains_key("other"));
    }
}

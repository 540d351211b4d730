//! How contexts come in, are made and go out: what the layers do, without a layer.

mod settings;

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Request};

use crate::baggage::BAGGAGE;
use crate::carry::Carried;
use crate::fields::{self, Field};
use crate::propagate::{self, TRACESTATE};
use crate::sample::ot;
use crate::slot::Slot;
use crate::{
    ClientIp, Decision, Extracted, Head, Hosts, IdGenerator, Link, Origin, Propagator, Remote,
    RequestId, SampleRequest, Sampler, Threshold, TraceContext, TraceId, Trust, TrustPolicy,
    current, request_id,
};

/// How contexts come in, are made and go out. What the layers do, without a layer.
///
/// Cloning costs a few reference counts and shares the parts.
#[derive(Clone)]
pub struct Policy {
    propagator: Arc<dyn Propagator>,
    trust: Arc<dyn TrustPolicy>,
    sampler: Arc<dyn Sampler>,
    ids: Arc<dyn IdGenerator>,
    pub(crate) request_id: HeaderName,
    pub(crate) correlation_id: Option<HeaderName>,
    /// Whether `baggage` is among the fields of the propagator.
    reads_baggage: bool,
    /// What few policies have, behind one branch.
    rare: Option<Arc<Rare>>,
}

#[derive(Clone, Debug, Default)]
struct Rare {
    client_ip: Option<ClientIp>,
    carry: Vec<HeaderName>,
    propagate_to: Option<Hosts>,
    forward_to: Option<Hosts>,
    is_passthrough: bool,
}

/// What came and was not taken: to be removed from the request.
#[derive(Default)]
struct Refused {
    request_id: bool,
    correlation_id: bool,
    state: bool,
    /// A context in another format than the one that was taken.
    other: bool,
    /// Of it some members, or all.
    baggage: bool,
}

impl Policy {
    /// Takes a request in: reads what the caller sent as far as it is trusted, opens a span, decides about sampling.
    ///
    /// What was refused is removed from the request, so that no handler forwards or logs it by accident.
    pub fn accept<B>(&self, request: &mut Request<B>) -> TraceContext {
        let head = Head::of(request);
        let trust = self.trust.trust(&head);
        let keep = trust == Trust::Continue;
        let mut refused = Refused::default();
        let request_id = &mut refused.request_id;
        let request_id = request_id::read(head.headers, &self.request_id, keep, request_id);
        let mut context = self.open(trust, &head, request_id, &mut refused);
        self.read_more(&mut context, keep, &head, &mut refused);
        if !self.rare.as_ref().is_some_and(|rare| rare.is_passthrough) {
            self.clean(&context, &refused, request.headers_mut());
        }
        context
    }

    /// What not every policy asks for.
    #[inline]
    fn read_more(
        &self,
        context: &mut TraceContext,
        keep: bool,
        head: &Head<'_>,
        refused: &mut Refused,
    ) {
        if keep && let Some(baggage) = self.propagator.baggage(head.headers) {
            *context.baggage_mut() = baggage;
        }
        refused.baggage = !keep || (self.reads_baggage && is_changed(context, head.headers));
        if let Some(name) = &self.correlation_id {
            let refused = &mut refused.correlation_id;
            if let Some(id) = request_id::read(head.headers, name, keep, refused) {
                context.set_correlation_id(RequestId::trusted(id));
            }
        }
        if let Some(rare) = &self.rare {
            rare.read(context, head);
        }
    }

    /// Removes what was refused.
    #[inline]
    fn clean(&self, context: &TraceContext, refused: &Refused, headers: &mut HeaderMap) {
        if refused.request_id {
            headers.remove(&self.request_id);
        }
        if let Some(name) = self
            .correlation_id
            .as_ref()
            .filter(|_| refused.correlation_id)
        {
            headers.remove(name);
        }
        if refused.state {
            headers.remove(&TRACESTATE);
        }
        if refused.other {
            propagate::strip_refused(&*self.propagator, headers);
        }
        let is_stripped = context.origin != Origin::Continued;
        if is_stripped {
            propagate::strip(&*self.propagator, headers);
        }
        // Baggage stands for itself, as the request id does.
        if refused.baggage || (is_stripped && self.reads_baggage) {
            match context.baggage().to_header_value() {
                Some(value) => drop(headers.insert(&BAGGAGE, value)),
                None => fields::remove(headers, &BAGGAGE),
            }
        }
    }

    /// The context of an outgoing request: a new span below the one in the request's extensions, or below
    /// [`current()`](crate::current), or of a new trace.
    pub fn descend<B>(&self, request: &Request<B>) -> TraceContext {
        match request.extensions().get::<TraceContext>() {
            Some(parent) => current::caught_up(parent.clone()).into_child(&*self.ids),
            None => self.descend_from_current(request),
        }
    }

    /// The same, and writes it into the request: layers below see the attempt, not the request it is made for. Where
    /// there is no extension it is [current](crate::current), and none is made up.
    #[inline]
    pub(crate) fn descend_in<B>(&self, request: &mut Request<B>) -> Slot {
        if let Some(context) = request.extensions_mut().get_mut::<TraceContext>() {
            current::with(|current| current.map(|current| context.catch_up(current)));
            context.descend(&*self.ids);
            return Slot::copy_of(context);
        }
        let mut slot = current::with(|current| current.map_or(Slot::EMPTY, Slot::copy_of));
        match slot.get_mut() {
            Some(context) => {
                context.descend(&*self.ids);
                slot
            }
            None => Slot::of(self.root(Origin::New, &Head::of(request), None)),
        }
    }

    fn descend_from_current<B>(&self, request: &Request<B>) -> TraceContext {
        match current::current() {
            Some(parent) => parent.into_child(&*self.ids),
            None => self.root(Origin::New, &Head::of(request), None),
        }
    }

    /// Makes an outgoing request one of this context: writes what the host it goes to may know, and removes what it may not.
    pub fn send<B>(&self, context: &TraceContext, request: &mut Request<B>) {
        let Some(rare) = &self.rare else {
            return self.inject(context, request.headers_mut());
        };
        if rare.may_propagate(request) {
            self.inject(context, request.headers_mut());
        } else {
            self.withhold(request.headers_mut());
        }
        rare.forward(context, request);
    }

    /// Writes the context and its ids into the headers of an outgoing request, in place of any that are there.
    pub fn inject(&self, context: &TraceContext, headers: &mut HeaderMap) {
        self.propagator.inject(context, headers);
        headers.insert(&self.request_id, context.request_id().to_header_value());
        if let Some(name) = &self.correlation_id {
            headers.insert(name, context.correlation_id().to_header_value());
        }
    }

    /// Removes every field that [`inject`](Self::inject) might have written.
    fn withhold(&self, headers: &mut HeaderMap) {
        propagate::strip(&*self.propagator, headers);
        headers.remove(&self.request_id);
        if let Some(name) = &self.correlation_id {
            headers.remove(name);
        }
    }

    fn open(
        &self,
        trust: Trust,
        head: &Head<'_>,
        request_id: Option<&HeaderValue>,
        refused: &mut Refused,
    ) -> TraceContext {
        // Looked at where it is: moving something that big out of an enum costs more than reading it.
        let mut extracted = self.propagator.extract(head.headers);
        let origin = match (&mut extracted, trust) {
            (Extracted::Remote(remote), Trust::Continue) => {
                refused.state = remote.is_state_refused;
                refused.other = remote.is_other_refused;
                let decision = self.decide(remote.parent.trace_id, Some(remote), *head);
                let mut context =
                    TraceContext::continuing(remote, decision.sampling, &*self.ids, request_id);
                tell(decision.threshold, &mut context);
                return context;
            }
            (Extracted::Remote(remote), Trust::Link) => {
                let context = self.root(Origin::Linked, head, request_id);
                return context.with_link(link(remote));
            }
            (Extracted::Nothing, _) => Origin::New,
            (_, Trust::Ignore) => Origin::Ignored,
            (Extracted::Invalid, _) => Origin::Invalid,
        };
        self.root(origin, head, request_id)
    }

    fn root(
        &self,
        origin: Origin,
        head: &Head<'_>,
        request_id: Option<&HeaderValue>,
    ) -> TraceContext {
        let mut context = TraceContext::open(&*self.ids, request_id);
        context.origin = origin;
        let decision = self.decide(context.trace_id, None, *head);
        context.sampling = decision.sampling;
        tell(decision.threshold, &mut context);
        context
    }

    fn decide(&self, trace_id: TraceId, parent: Option<&Remote>, head: Head<'_>) -> Decision {
        let question = SampleRequest::new(trace_id, parent, head);
        self.sampler.sample(&question)
    }
}

impl Rare {
    #[cold]
    fn read(&self, context: &mut TraceContext, head: &Head<'_>) {
        if let Some(ip) = self
            .client_ip
            .as_ref()
            .and_then(|client_ip| client_ip.of(head))
        {
            context.set_client_ip(ip);
        }
        if let Some(carried) = Carried::take(&self.carry, head.headers) {
            context.carry(carried);
        }
    }

    fn may_propagate<B>(&self, request: &Request<B>) -> bool {
        let hosts = self.propagate_to.as_ref();
        hosts.is_none_or(|hosts| hosts.receive(request))
    }

    fn forward<B>(&self, context: &TraceContext, request: &mut Request<B>) {
        match &self.forward_to {
            Some(hosts) if hosts.receive(request) => context.carried().give(request.headers_mut()),
            Some(_) => context.carried().withhold(request.headers_mut()),
            None => {}
        }
    }
}

/// Whether the baggage that was taken is another than the one that came.
fn is_changed(context: &TraceContext, headers: &HeaderMap) -> bool {
    let [came] = fields::find(headers, [&BAGGAGE]);
    match came {
        Field::Absent => false,
        Field::Once(value) => value.as_bytes() != context.baggage().as_bytes(),
        // Joined, they say the same if nothing was left out; that it is one line now is no harm.
        Field::Repeated => true,
    }
}

fn tell(threshold: Threshold, context: &mut TraceContext) {
    match threshold {
        Threshold::Kept => {}
        Threshold::Erased if context.state().is_empty() => {}
        Threshold::Erased => ot::set_th(context.state_mut(), None),
        Threshold::AtLeast(threshold) => ot::set_th(context.state_mut(), Some(threshold)),
    }
}

fn link(remote: &Remote) -> Link {
    Link {
        trace_id: remote.parent.trace_id,
        span_id: remote.parent.span_id,
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("request_id", &self.request_id)
            .field("correlation_id", &self.correlation_id)
            .field("rare", &self.rare)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        BaggageFields, FastIds, InTrace, Never, ParentBased, Probability, Sampling, SequentialIds,
        W3c,
    };

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03";

    fn policy() -> Policy {
        Policy::default()
            .ids(SequentialIds::new())
            .correlation_id(HeaderName::from_static("x-correlation-id"))
    }

    fn sent(traceparent: &str) -> Request<()> {
        Request::builder()
            .header("traceparent", traceparent)
            .header("tracestate", "a=1")
            .header("x-request-id", "theirs")
            .header("x-correlation-id", "order-7")
            .body(())
            .unwrap()
    }

    #[test]
    fn a_trusted_caller_is_followed() {
        let mut request = sent(PARENT);
        let cx = policy().accept(&mut request);
        assert_eq!(cx.trace_id().to_string(), &PARENT[3..35]);
        assert_eq!(cx.parent_id().unwrap().to_string(), &PARENT[36..52]);
        assert_ne!(cx.span_id(), cx.parent_id().unwrap());
        assert_eq!(
            cx.flags().bits(),
            3,
            "sampled as the caller decided, random as it was"
        );
        assert_eq!(cx.state().get("a"), Some("1"));
        assert_eq!(cx.request_id().to_string(), "theirs");
        assert_eq!(cx.correlation_id().to_string(), "order-7");
        assert_eq!(cx.origin(), Origin::Continued);
        assert_eq!(request.headers().len(), 4, "what was accepted stays");
    }

    #[test]
    fn a_stranger_brings_nothing_in() {
        let theirs = PARENT[3..35].to_owned();
        for trust in [Trust::Link, Trust::Ignore] {
            let mut request = sent(PARENT);
            let cx = policy().trust(trust).accept(&mut request);
            assert_ne!(cx.trace_id().to_string(), theirs);
            assert_eq!(cx.parent_id(), None);
            assert!(cx.state().is_empty());
            assert_ne!(cx.request_id().to_string(), "theirs");
            assert_eq!(cx.correlation_id(), cx.request_id());
            assert!(
                request.headers().is_empty(),
                "{trust:?}: {:?}",
                request.headers()
            );
            let remembered = cx.link().map(|link| link.trace_id.to_string());
            match trust {
                Trust::Link => assert_eq!(remembered.as_ref(), Some(&theirs)),
                _ => assert_eq!((cx.origin(), remembered), (Origin::Ignored, None)),
            }
        }
    }

    #[test]
    fn a_bad_traceparent_takes_its_tracestate_with_it() {
        let mut request = sent("00-junk");
        let cx = policy().accept(&mut request);
        assert_eq!(cx.origin(), Origin::Invalid);
        assert!(cx.state().is_empty());
        assert!(!request.headers().contains_key("traceparent"));
        assert!(!request.headers().contains_key("tracestate"));
        assert_eq!(
            cx.request_id().to_string(),
            "theirs",
            "the request id stands for itself"
        );
    }

    #[test]
    fn a_tracestate_alone_is_removed() {
        for trust in [Trust::Continue, Trust::Link, Trust::Ignore] {
            let mut request = sent(PARENT);
            request.headers_mut().remove("traceparent");
            let cx = policy().trust(trust).accept(&mut request);
            assert_eq!(cx.origin(), Origin::New);
            assert!(!request.headers().contains_key("tracestate"), "{trust:?}");
        }
    }

    #[test]
    fn a_bad_tracestate_is_removed_alone() {
        for (state, stays) in [("a=1", true), ("", true), ("A=1", false), ("a=1,b", false)] {
            let mut request = sent(PARENT);
            let value = HeaderValue::from_static(state);
            request.headers_mut().insert("tracestate", value);
            let cx = policy().accept(&mut request);
            assert_eq!(cx.origin(), Origin::Continued);
            assert!(request.headers().contains_key("traceparent"));
            assert_eq!(
                request.headers().contains_key("tracestate"),
                stays,
                "{state}"
            );
        }
    }

    #[test]
    fn a_handler_finds_the_baggage_that_was_taken() {
        let policy = policy().propagator((W3c, BaggageFields));
        for (lines, found) in [
            (&["a = 1;p"][..], Some("a = 1;p")),
            (&["a=1,bad,b=2"], Some("a=1,b=2")),
            (&["a=1", "b=2"], Some("a=1,b=2")),
            (&["bad"], None),
            (&[], None),
        ] {
            for traceparent in [PARENT, "junk"] {
                let mut request = sent(traceparent);
                for line in lines {
                    let line = HeaderValue::from_static(line);
                    request.headers_mut().append("baggage", line);
                }
                policy.accept(&mut request);
                let all: Vec<_> = request.headers().get_all("baggage").iter().collect();
                assert_eq!(all, found.into_iter().collect::<Vec<_>>(), "{lines:?}");
            }
        }
    }

    #[test]
    fn a_stranger_s_baggage_is_removed_though_nobody_reads_it() {
        for (trust, stays) in [
            (Trust::Continue, true),
            (Trust::Link, false),
            (Trust::Ignore, false),
        ] {
            let mut request = sent(PARENT);
            let baggage = HeaderValue::from_static("tenant=evil");
            request.headers_mut().insert("baggage", baggage);
            policy().trust(trust).accept(&mut request);
            assert_eq!(
                request.headers().contains_key("baggage"),
                stays,
                "{trust:?}"
            );
        }
    }

    #[test]
    fn no_tracestate_breaks_the_sampler_s_word_in_it() {
        let values = ["ot=x ;th:c", "ot= ;th:c", "ot=;th:c", "ot=th:c;rv:1 ;th:2"];
        for value in values {
            for sampler in [0.0, 1.0] {
                let mut request = sent(PARENT);
                let value = HeaderValue::from_static(value);
                request.headers_mut().insert("tracestate", value);
                let policy = policy().sampler(Probability::new(sampler));
                let told = policy.accept(&mut request).state().get("ot").map(str::len);
                assert!(told.is_none_or(|len| len > 0));
            }
        }
    }

    #[test]
    fn a_bad_request_id_is_replaced_and_removed() {
        let mut request = sent(PARENT);
        request
            .headers_mut()
            .insert("x-request-id", "a b".parse().unwrap());
        let cx = policy().accept(&mut request);
        assert_eq!(cx.request_id().to_string().len(), 32);
        assert!(!request.headers().contains_key("x-request-id"));
    }

    #[test]
    fn a_new_trace_asks_the_sampler() {
        let cx = policy()
            .sampler(ParentBased(Never))
            .accept(&mut Request::new(()));
        assert_eq!((cx.origin(), cx.sampling()), (Origin::New, Sampling::Deny));
        let cx = policy()
            .sampler(ParentBased(Never))
            .accept(&mut sent(PARENT));
        assert_eq!(cx.sampling(), Sampling::Accept);
    }

    #[test]
    fn the_random_flag_is_the_generator_s_for_a_new_trace_and_the_caller_s_otherwise() {
        let unsure = PARENT.replace("-03", "-01");
        for (ids_are_random, traceparent, random) in [
            (true, None, true),
            (false, None, false),
            (true, Some(&*unsure), false),
            (false, Some(PARENT), true),
        ] {
            let policy = if ids_are_random {
                Policy::default()
            } else {
                policy()
            };
            let mut request = traceparent.map_or(Request::new(()), sent);
            assert_eq!(policy.accept(&mut request).flags().is_random(), random);
        }
    }

    #[test]
    fn an_outgoing_call_descends_from_the_request_then_from_the_current_context() {
        let policy = policy();
        let (ours, other) = (TraceContext::root(&FastIds), TraceContext::root(&FastIds));
        let mut request = Request::new(());
        assert_eq!(policy.descend(&request).origin(), Origin::New);

        let below = |request: &Request<()>| {
            let descend = async { policy.descend(request) };
            tokio_test::block_on(descend.in_trace(other.clone()))
        };
        assert_eq!(below(&request).parent_id(), Some(other.span_id()));
        request.extensions_mut().insert(ours.clone());
        assert_eq!(below(&request).parent_id(), Some(ours.span_id()));
    }

    #[test]
    fn what_goes_out_replaces_what_was_there() {
        let cx = TraceContext::root(&FastIds);
        let mut headers = sent(PARENT).into_parts().0.headers;
        headers.append("x-request-id", "second".parse().unwrap());
        policy().inject(&cx, &mut headers);
        assert_eq!(headers["traceparent"], cx.traceparent().to_string());
        assert_eq!(headers.get_all("x-request-id").iter().count(), 1);
        assert_eq!(headers["x-request-id"], cx.request_id().to_string());
        assert_eq!(headers["x-correlation-id"], headers["x-request-id"]);
        assert!(!headers.contains_key("tracestate"));
    }
}

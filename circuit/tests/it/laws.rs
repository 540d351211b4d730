//! Tower's laws.

use buttress_circuit::{Breaker, CircuitLayer, FallbackTo, Judge, Probes, Single, consecutive};
use testkit::probe::ProbeError;

use super::{builder, fail, secs};

/// Half-open, with so many probes that it stays so.
fn probing() -> Breaker {
    let (builder, clock) = builder();
    let builder = builder.trip(consecutive(1)).half_open(Probes::new(4095));
    let breaker = builder.build().unwrap();
    fail(&breaker, 1);
    clock.advance(secs(60));
    breaker
}

fn no_probe_is_out<A, F, T>(layer: &CircuitLayer<A, Single, F, T>) {
    assert_eq!(layer.breaker().snapshot().probes.in_flight, 0);
}

testkit::tower_laws! {
    mod closed {
        readiness: PassedOn,
        layer: CircuitLayer::new(builder().0.build().unwrap()),
        request: || (),
        answer: |_probe, (): ()| Ok(()),
        read: |(): ()| async {},
        given_back: no_probe_is_out,
    }
}

testkit::tower_laws! {
    mod half_open {
        readiness: PassedOn,
        layer: CircuitLayer::new(probing()),
        request: || (),
        answer: |_probe, (): ()| Ok(()),
        read: |(): ()| async {},
        given_back: no_probe_is_out,
    }
}

/// Rejects everything.
fn forced_open() -> Breaker {
    let breaker = builder().0.build().unwrap();
    breaker.force_open();
    breaker
}

testkit::tower_laws! {
    mod closed_with_a_fallback {
        readiness: PassedOn,
        layer: CircuitLayer::new(builder().0.build().unwrap())
            .fallback(tower::service_fn(async |()| unreachable!())),
        request: || (),
        answer: |_probe, (): ()| Ok(()),
        read: |(): ()| async {},
        given_back: |_layer| {},
    }
}

type Nobody = tower::util::ServiceFn<fn(()) -> std::future::Pending<Result<(), ProbeError>>>;

/// The laws see the fallback where the inner service would be.
#[derive(Clone)]
struct Behind;

impl<S: Clone> tower::Layer<S> for Behind {
    type Service = buttress_circuit::Circuit<Nobody, Judge, FallbackTo<S>>;

    fn layer(&self, inner: S) -> Self::Service {
        let layer = CircuitLayer::new(forced_open()).fallback(inner);
        layer.layer(tower::service_fn(|()| std::future::pending()))
    }
}

testkit::tower_laws! {
    mod the_fallback_of_an_open_breaker {
        readiness: Always,
        layer: Behind,
        request: || (),
        answer: |_probe, (): ()| Ok(()),
        read: |(): ()| async {},
        given_back: |_layer| {},
    }
}

#[cfg(feature = "tokio")]
testkit::tower_laws! {
    mod half_open_with_a_timeout {
        readiness: PassedOn,
        layer: CircuitLayer::new(probing()).timeout(secs(9)),
        request: || (),
        answer: |_probe, (): ()| Ok(()),
        read: |(): ()| async {},
        given_back: no_probe_is_out,
    }
}

#[cfg(feature = "tokio")]
fn no_probe_of_the_waiting_is_out<A>(
    layer: &CircuitLayer<A, buttress_circuit::Waiting, buttress_circuit::NoFallback>,
) {
    assert_eq!(layer.breaker().snapshot().probes.in_flight, 0);
}

#[cfg(feature = "tokio")]
testkit::tower_laws! {
    mod half_open_and_waiting {
        readiness: PassedOn,
        layer: CircuitLayer::new(probing()).wait(),
        request: || (),
        answer: |_probe, (): ()| Ok(()),
        read: |(): ()| async {},
        given_back: no_probe_of_the_waiting_is_out,
    }
}

#[cfg(feature = "keyed")]
testkit::tower_laws! {
    mod half_open_by_key {
        readiness: PassedOn,
        layer: CircuitLayer::keyed(half_open_breakers(), (|(): &()| 7) as fn(&()) -> u32),
        request: || (),
        answer: |_probe, (): ()| Ok(()),
        read: |(): ()| async {},
        given_back: |layer: &buttress_circuit::KeyedCircuitLayer<u32, fn(&()) -> u32>| {
            assert_eq!(layer.breakers().get(&7).snapshot().probes.in_flight, 0);
        },
    }
}

#[cfg(feature = "keyed")]
fn half_open_breakers() -> buttress_circuit::Breakers<u32> {
    let (builder, clock) = builder();
    let builder = builder.trip(consecutive(1)).half_open(Probes::new(4095));
    let breakers = buttress_circuit::Breakers::new(builder.build().unwrap());
    fail(&breakers.get(&7), 1);
    clock.advance(secs(60));
    breakers
}

#[cfg(feature = "http")]
mod http_layer {
    use buttress_circuit::http::{CircuitBody, End, ServerErrors};
    use http::{Request, Response};
    use testkit::probe::ProbedBody;

    use super::*;

    testkit::tower_laws! {
        mod half_open_until_the_end_of_the_body {
            readiness: PassedOn,
            layer: CircuitLayer::http(probing())
                .classify_http(ServerErrors::default().until_end_of_body()),
            request: || Request::new(()),
            answer: |probe, _request: Request<()>| Ok(Response::new(probe.body(&["a", "b"]))),
            read: |response: Response<CircuitBody<ProbedBody, End>>| async {
                testkit::laws::read_body(response).await
            },
            given_back: no_probe_is_out,
        }
    }
}

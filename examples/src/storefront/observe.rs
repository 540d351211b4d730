//! Turns the events of the six crates into counts and sentences.

use std::sync::Arc;

use buttress_trace_ctx::{Finished, Kind};

use crate::storefront::stats::{Stats, Trace};

/// What a breaker does.
pub(crate) fn breaker(stats: &Arc<Stats>) -> impl buttress_circuit::Observer + use<> {
    use buttress_circuit::{Cause, Event, State};
    let stats = Arc::clone(stats);
    move |event: &Event<'_>| {
        let Event::Transition(breaker, transition) = event else {
            return;
        };
        let name = breaker.name();
        let words = match (transition.to, transition.cause) {
            (State::Open, Cause::Tripped(_)) => format!(
                "The {name} service failed too often, so its breaker opened. For {} s nobody calls it or waits for it: who asks gets a 503 that says when to come back.",
                transition.open_for.unwrap_or_default().as_secs()
            ),
            (State::Open, Cause::Adopted) => format!(
                "Another process has found that the {name} service fails: its breaker is open here too, before anybody had to wait."
            ),
            (State::Open, _) => {
                format!("The probe of the {name} service failed: its breaker stays open.")
            }
            (State::HalfOpen, _) => {
                format!(
                    "The {name} breaker's open time is over: one call may pass, to see whether the service is back."
                )
            }
            (State::Closed, _) => format!(
                "The probe succeeded: the {name} service is back, and its breaker is closed."
            ),
            _ => format!("Somebody set the {name} breaker by hand."),
        };
        if transition.to == State::Open {
            stats.note(|state| state.trips += 1);
        }
        stats.tell("circuit", words);
    }
}

/// What flights do.
pub(crate) fn dedup(stats: &Arc<Stats>) -> impl buttress_dedup::Observer + use<> {
    use buttress_dedup::Event;
    let stats = Arc::clone(stats);
    move |event: &Event<'_>| {
        stats.note(|state| match event {
            Event::Led => state.dedup.led += 1,
            Event::Joined => state.dedup.joined += 1,
            Event::Promoted => state.dedup.promoted += 1,
            Event::Private => state.dedup.private += 1,
            _ => {}
        });
        if matches!(event, Event::Promoted) {
            stats.tell("dedup", "A caller left in the middle of its flight; one of those who had joined it goes on.");
        }
    }
}

/// What becomes of keyed requests.
pub(crate) fn idempotency(stats: &Arc<Stats>) -> impl buttress_idempotency::Observer + use<> {
    use buttress_idempotency::Event;
    let stats = Arc::clone(stats);
    move |event: &Event<'_>| {
        stats.note(|state| {
            let counts = &mut state.idempotency;
            match event {
                Event::Claimed(_) => counts.claimed += 1,
                Event::Completed(_) => counts.completed += 1,
                Event::Replayed(_) => counts.replayed += 1,
                Event::InProgress => counts.in_progress += 1,
                Event::Mismatch => counts.mismatch += 1,
                Event::Detached => counts.detached += 1,
                Event::Forgotten(_) => counts.forgotten += 1,
                Event::Orphaned(_) => counts.orphaned += 1,
                _ => {}
            }
        });
        if let Some(words) = idempotency_words(event) {
            stats.tell("idempotency", words);
        }
    }
}

fn idempotency_words(event: &buttress_idempotency::Event<'_>) -> Option<&'static str> {
    use buttress_idempotency::Event;
    Some(match event {
        Event::Completed(_) => {
            "An order was placed under a new key, and its response was filed before it was sent."
        }
        Event::Replayed(_) => {
            "An order came a second time with the same key: nobody was charged again, and the first response was sent once more, byte for byte."
        }
        Event::Mismatch => "A key came with another order than the first time: refused with 422.",
        Event::InProgress => {
            "The same order came while the first was still running: 409, come back later."
        }
        Event::Forgotten(_) => {
            "An order was not placed, and its key is free to try again: under it the payment service charges once, however often it is asked."
        }
        Event::Orphaned(_) => {
            "Nobody knows whether an order was charged: its key is kept for the same order, which is to be sent again."
        }
        Event::Detached => {
            "A client left in the middle of its order; the order is finished without it."
        }
        _ => return None,
    })
}

/// What the cache does.
pub(crate) fn cache(stats: &Arc<Stats>) -> impl buttress_cache::Observer + use<> {
    use buttress_cache::{Depth, Event};
    let stats = Arc::clone(stats);
    move |event: &Event<'_>| {
        // Tags, that is: what an unsafe request takes by its address goes without saying.
        if let Event::Invalidated {
            depth: Depth::Expire,
            ..
        } = event
        {
            stats.tell(
                "cache",
                "Something was changed: every stored page that shows it is gone, and no other.",
            );
        } else {
            stats.touch();
        }
    }
}

/// Every request that is over, in and out.
pub(crate) fn traces(stats: &Arc<Stats>) -> impl Fn(&Finished<'_>) + Send + Sync + use<> {
    let stats = Arc::clone(stats);
    move |finished: &Finished<'_>| {
        let path = finished.uri.path();
        // The page's own traffic would drown what it is to show.
        if path.starts_with("/demo") || finished.route.is_some_and(|route| is_page(route.as_str()))
        {
            return;
        }
        if finished.kind == Kind::Client {
            let trace = finished.context.trace_id().to_string();
            let service = finished.route.map_or("another", |route| route.as_str());
            stats.tell("trace", format!("An attempt at the {service} service, made or refused: a span of its own, in the caller's trace {}…", &trace[..8]));
        }
        stats.finished(Trace {
            at_ms: stats.now(),
            kind: if finished.kind == Kind::Server {
                "server"
            } else {
                "client"
            },
            method: finished.method.to_string(),
            route: finished
                .route
                .map_or("-", |route| route.as_str())
                .to_owned(),
            status: finished.status.map(|status| status.as_u16()),
            ms: finished.total.as_secs_f64() * 1000.0,
            outcome: finished.outcome.to_string(),
            trace_id: finished.context.trace_id().to_string(),
            request_id: finished.context.request_id().to_string(),
        });
    }
}

fn is_page(route: &str) -> bool {
    matches!(route, "/" | "/style.css" | "/app.js" | "/favicon.ico")
}

//! A breaker per key.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use buttress_circuit::{
    Backoff, Breaker, Breakers, CircuitLayer, Error, Event, ManualClock, Probes, State, consecutive,
};
use testkit::alloc::count;
use testkit::probe::{Probe, Script};
use tokio_test::{assert_ready_ok, task};
use tower::{Layer, ServiceExt, service_fn};
use tower_test::mock;

use super::{builder, fail, secs};

fn model() -> (Breaker, ManualClock) {
    let (builder, clock) = builder();
    let builder = builder
        .trip(consecutive(1))
        .open_for(Backoff::constant(secs(10)))
        .half_open(Probes::new(1));
    (builder.build().unwrap(), clock)
}

fn up_to(capacity: usize, model: &Breaker) -> Breakers<u32> {
    Breakers::builder(model.clone())
        .capacity(NonZeroUsize::new(capacity).unwrap())
        .named_by(|key: &u32| format!("key {key}"))
        .build()
}

fn has(breakers: &Breakers<u32>, key: u32) -> bool {
    breakers.all().iter().any(|(known, _)| *known == key)
}

#[test]
fn a_key_has_one_breaker_and_keys_do_not_meet() {
    let (model, _clock) = model();
    let breakers = Breakers::<String>::new(model.clone());
    fail(&breakers.get("a"), 1);
    assert_eq!(breakers.get("a").state(), State::Open);
    assert_eq!(breakers.clone().get(&"a".to_owned()).state(), State::Open);
    assert_eq!(breakers.get("b").state(), State::Closed);
    assert_eq!(model.state(), State::Closed);
    assert_eq!(breakers.len(), 2);
    assert!(breakers.find("c").is_none());
    assert_eq!(breakers.len(), 2);
    assert_eq!(&**breakers.get("b").name(), "test");
}

#[test]
fn the_least_recently_used_of_the_closed_ones_goes() {
    let (model, _clock) = model();
    let breakers = up_to(3, &model);
    fail(&breakers.get(&1), 1);
    breakers.get(&2);
    breakers.get(&3);
    breakers.get(&2);
    assert_eq!(&**breakers.get(&4).name(), "key 4");
    assert_eq!(breakers.len(), 3);
    assert!(has(&breakers, 1), "open");
    assert!(has(&breakers, 2), "used later");
    assert!(!has(&breakers, 3));
}

#[test]
fn who_is_held_stays() {
    let (model, _clock) = model();
    let breakers = up_to(2, &model);
    let permit = breakers.get(&1).try_acquire().unwrap();
    let handle = breakers.get(&2);
    assert_eq!(&**breakers.get(&3).name(), "test/overflow");
    permit.success();
    assert_eq!(&**breakers.get(&3).name(), "key 3");
    assert!(has(&breakers, 2) && !has(&breakers, 1));
    drop(handle);
}

#[test]
fn what_an_operator_said_is_not_forgotten() {
    let (model, _clock) = model();
    let forces = [
        Breaker::force_open,
        Breaker::force_closed,
        Breaker::metrics_only,
    ];
    for force in forces {
        let breakers = up_to(1, &model);
        force(&breakers.get(&1));
        assert_eq!(&**breakers.get(&2).name(), "test/overflow");
        breakers.get(&1).auto();
        assert_eq!(&**breakers.get(&2).name(), "key 2");
    }
}

#[test]
fn if_all_are_open_new_keys_share_one_breaker_until_the_time_is_over() {
    let told = Arc::new(AtomicUsize::new(0));
    let (builder, clock) = builder();
    let counter = Arc::clone(&told);
    let model = builder
        .trip(consecutive(1))
        .open_for(Backoff::constant(secs(10)))
        .observer(move |event: &Event<'_>| {
            if let Event::Overflow(breaker) = event {
                assert_eq!(&**breaker.name(), "test/overflow");
                counter.fetch_add(1, Ordering::SeqCst);
            }
        })
        .build()
        .unwrap();
    let breakers = up_to(2, &model);
    for key in [1, 2] {
        fail(&breakers.get(&key), 1);
    }
    fail(&breakers.get(&3), 1);
    assert_eq!(breakers.get(&4).state(), State::Open, "shared with 3");
    assert_eq!(breakers.overflow().state(), State::Open);
    assert_eq!(breakers.len(), 2);
    assert_eq!(told.load(Ordering::SeqCst), 1, "told when it begins");
    clock.advance(secs(11));
    assert_eq!(&**breakers.get(&5).name(), "key 5");
    assert!(!has(&breakers, 1), "the oldest of those that are due");
    fail(&breakers.get(&2), 1);
    fail(&breakers.get(&5), 1);
    breakers.get(&6);
    assert_eq!(told.load(Ordering::SeqCst), 2, "it began again");
}

#[test]
fn idle_ones_go_when_room_is_made() {
    let (model, clock) = model();
    let breakers = Breakers::<u32>::builder(model)
        .capacity(NonZeroUsize::new(100).unwrap())
        .idle(secs(60))
        .build();
    for key in 0..10 {
        breakers.get(&key);
    }
    fail(&breakers.get(&7), 1);
    let held = breakers.get(&8);
    clock.advance(secs(50));
    breakers.get(&3);
    clock.advance(secs(10));
    breakers.get(&10);
    let mut keys: Vec<_> = breakers.all().into_iter().map(|(key, _)| key).collect();
    keys.sort_unstable();
    assert_eq!(keys, [3, 7, 8, 10]);
    drop(held);
}

/// In one part, so that each is seen whenever one is added.
fn idle_after_a_minute(model: Breaker) -> Breakers<u32> {
    Breakers::builder(model)
        .capacity(NonZeroUsize::new(100).unwrap())
        .idle(secs(60))
        .build()
}

#[test]
fn who_is_held_is_not_idle() {
    let (model, clock) = model();
    let breakers = idle_after_a_minute(model);
    let held = breakers.get(&1);
    clock.advance(secs(60));
    breakers.get(&2);
    assert!(has(&breakers, 1));
    drop(held);
    breakers.get(&3);
    assert!(!has(&breakers, 1));
}

#[test]
fn who_is_asked_for_begins_to_be_idle_anew() {
    let (model, clock) = model();
    let breakers = idle_after_a_minute(model);
    breakers.get(&1);
    clock.advance(secs(50));
    breakers.find(&1);
    clock.advance(secs(59));
    breakers.get(&2);
    assert!(has(&breakers, 1));
    clock.advance(secs(1));
    breakers.get(&3);
    assert!(!has(&breakers, 1));
}

#[test]
fn who_had_to_go_is_told_before_the_next_of_its_key_is_built() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&log);
    let model = builder().0.observer(move |event: &Event<'_>| match event {
        Event::Evicted(breaker) => told.lock().unwrap().push(format!("- {}", breaker.name())),
        Event::Built(breaker) => told.lock().unwrap().push(format!("+ {}", breaker.name())),
        _ => {}
    });
    let breakers = up_to(1, &model.build().unwrap());
    log.lock().unwrap().clear();
    for key in [1, 2, 2, 1] {
        breakers.get(&key);
    }
    let events = std::mem::take(&mut *log.lock().unwrap());
    assert_eq!(
        events,
        ["+ key 1", "- key 1", "+ key 2", "- key 2", "+ key 1"]
    );
}

#[test]
fn many_keys_stay_within_the_capacity() {
    let (model, _clock) = model();
    for capacity in [1, 3, 500, 1000, 5000] {
        let breakers = up_to(capacity, &model);
        for key in 0..6000 {
            breakers.get(&key);
            assert!(key % 100 != 0 || breakers.len() <= capacity);
        }
        assert!(breakers.len() <= capacity && breakers.len() * 10 >= capacity * 9);
    }
}

#[test]
fn asking_for_a_known_key_allocates_nothing() {
    let (model, _clock) = model();
    let breakers = Breakers::<String>::new(model);
    breakers.get("a");
    let (allocations, _) = count(|| breakers.get("a"));
    assert_eq!(allocations.count, 0);
}

#[tokio::test]
async fn a_layer_rejects_by_key() {
    let (model, _clock) = model();
    let layer = CircuitLayer::keyed(Breakers::new(model), |&(key, _): &(u32, bool)| key);
    let service = layer.layer(service_fn(
        async |(_, ok): (u32, bool)| {
            if ok { Ok(()) } else { Err("down") }
        },
    ));
    let call = async |key, ok| service.clone().oneshot((key, ok)).await;
    assert_eq!(call(1, false).await, Err(Error::Inner("down")));
    let Err(Error::Rejected(_)) = call(1, true).await else {
        panic!("not rejected");
    };
    assert_eq!(call(2, true).await, Ok(()));
    layer.breakers().get(&1).reset();
    assert_eq!(call(1, true).await, Ok(()));
}

#[tokio::test]
async fn a_rejected_key_leaves_the_inner_service_ready_for_others() {
    let (model, _clock) = model();
    let probe = Probe::new(Script::IMMEDIATE);
    let layer = CircuitLayer::keyed(Breakers::new(model), |&key: &u32| key);
    fail(&layer.breakers().get(&1), 1);
    let mut service = mock::Spawn::new(layer.layer(probe.service(|_, key: u32| Ok(key))));
    assert_ready_ok!(service.poll_ready::<u32>());
    assert!(matches!(service.call(1).await, Err(Error::Rejected(_))));
    assert_ready_ok!(service.poll_ready::<u32>());
    assert_eq!(probe.ready_polls(), 1);
    assert_eq!(service.call(2).await, Ok(2));
    let mut call = task::spawn(service.call(2));
    assert!(call.poll().is_ready(), "not made ready: rejected");
    assert_eq!(probe.calls(), 1);
}

#[tokio::test]
async fn a_fallback_hears_of_rejected_keys() {
    let (model, _clock) = model();
    let layer = CircuitLayer::keyed(Breakers::new(model), |&key: &u32| key)
        .fallback(service_fn(async |key: u32| Ok::<_, ()>(key * 100)));
    fail(&layer.breakers().get(&1), 1);
    let service = layer.layer(service_fn(async |key: u32| Ok::<_, ()>(key)));
    assert_eq!(service.clone().oneshot(1).await, Ok(100));
    assert_eq!(service.oneshot(2).await, Ok(2));
}

/// Asks for the breakers again wherever code of the user's may run.
#[derive(Clone)]
struct Prying(u32, Arc<Mutex<Option<Breakers<Prying>>>>);

impl PartialEq for Prying {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Prying {}

impl std::hash::Hash for Prying {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Drop for Prying {
    fn drop(&mut self) {
        let breakers = self.1.try_lock().ok().and_then(|mut slot| slot.take());
        if let Some(breakers) = breakers {
            assert!(breakers.len() <= 1);
            *self.1.lock().unwrap() = Some(breakers);
        }
    }
}

#[test]
fn names_are_made_and_keys_are_dropped_without_the_lock() {
    let (model, _clock) = model();
    let shared = Arc::new(Mutex::new(None));
    let for_names = Arc::clone(&shared);
    let breakers = Breakers::builder(model)
        .capacity(NonZeroUsize::MIN)
        .named_by(move |key: &Prying| {
            let slot: &Mutex<Option<Breakers<Prying>>> = &for_names;
            if let Some(breakers) = &*slot.lock().unwrap() {
                assert!(breakers.len() <= 1);
            }
            format!("{}", key.0)
        })
        .build();
    *shared.lock().unwrap() = Some(breakers.clone());
    for key in 0..3 {
        assert_eq!(
            &**breakers.get(&Prying(key, Arc::clone(&shared))).name(),
            format!("{key}")
        );
    }
    let held = shared.lock().unwrap().take();
    drop(held);
}

#[test]
fn there_is_no_overflow_while_one_is_closed_and_idle() {
    let model = Breaker::builder("up").trip(consecutive(1)).build().unwrap();
    let capacity = std::num::NonZeroUsize::new(200).unwrap();
    let breakers = Breakers::<u32>::builder(model)
        .capacity(capacity)
        .named_by(|key: &u32| format!("k{key}"))
        .build();
    for key in 0..64 {
        breakers.get(&key).try_acquire().unwrap().failure();
    }
    for key in 64..200 {
        drop(breakers.get(&key));
    }
    assert_eq!(&**breakers.get(&1000).name(), "k1000");
    assert_eq!(breakers.len(), 200);
}

#[test]
fn an_overflow_is_told_once_where_it_begins() {
    let told = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = std::sync::Arc::clone(&told);
    let overflows = move || told.load(std::sync::atomic::Ordering::Acquire);
    let model = Breaker::builder("up").trip(consecutive(1));
    let model = model.observer(move |event: &buttress_circuit::Event<'_>| {
        if let buttress_circuit::Event::Overflow(_) = event {
            count.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
        }
    });
    let capacity = std::num::NonZeroUsize::new(512).unwrap();
    let breakers = Breakers::<u32>::builder(model.build().unwrap());
    let breakers = breakers.capacity(capacity).build();
    for key in 0..2000 {
        if let Ok(permit) = breakers.get(&key).try_acquire() {
            permit.failure();
        }
    }
    assert_eq!(overflows(), 2, "once for each of its two parts");
}

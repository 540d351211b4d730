use std::sync::{Arc, Mutex};

use buttress_dedup::{DedupLayer, Event, Flights};
use buttress_wire::tasks::Tasks;
use tokio::sync::oneshot;
use tokio_test::task;
use tokio_test::{assert_pending, assert_ready, assert_ready_eq};
use tower::{Layer, ServiceExt};

use crate::backend::Backend;

type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tasks that run when the test polls them.
fn by_hand() -> (Tasks, Arc<Mutex<Vec<Task>>>) {
    let spawned = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&spawned);
    (
        Tasks::new(move |task| sink.lock().unwrap().push(task)),
        spawned,
    )
}

#[test]
fn work_goes_on_without_its_caller_and_followers_stay_with_it() {
    let (tasks, spawned) = by_hand();
    let flights = Flights::<u8, u32>::new();
    let (send, receive) = oneshot::channel();
    let mut leads =
        task::spawn(flights.run_detached(0, &tasks, || async { receive.await.unwrap() }));
    assert_pending!(leads.poll());
    let mut follows = task::spawn(flights.run(0, async || unreachable!("the work goes on")));
    assert_pending!(follows.poll());
    drop(leads);
    assert!(!follows.is_woken());
    assert_eq!(tasks.running(), 1);
    let mut late = task::spawn(flights.run(0, async || unreachable!("the work goes on")));
    assert_pending!(late.poll());
    send.send(7).unwrap();
    let task = spawned.lock().unwrap().pop().unwrap();
    assert_ready!(task::spawn(task).poll());
    assert_ready_eq!(follows.poll(), 7);
    assert_ready_eq!(late.poll(), 7);
    assert_eq!(tasks.running(), 0);
    assert!(flights.snapshot().is_idle());
}

#[test]
fn work_that_never_began_is_dropped_and_handed_over() {
    let (tasks, spawned) = by_hand();
    let flights = Flights::<u8, u32>::new();
    let leads = flights.run_detached(0, &tasks, async || unreachable!("it is never polled"));
    let mut follows = task::spawn(flights.run_detached(0, &tasks, async || 1));
    drop(leads);
    assert_ready_eq!(follows.poll(), 1);
    assert!(spawned.lock().unwrap().is_empty());
}

#[test]
fn a_task_that_its_runtime_drops_hands_over() {
    let (tasks, spawned) = by_hand();
    let flights = Flights::<u8, u32>::new();
    let mut leads = task::spawn(flights.run_detached(0, &tasks, std::future::pending));
    assert_pending!(leads.poll());
    drop(leads);
    let mut follows = task::spawn(flights.run(0, async || 1));
    assert_pending!(follows.poll());
    spawned.lock().unwrap().clear();
    assert!(follows.is_woken());
    assert_ready_eq!(follows.poll(), 1);
}

#[test]
fn work_that_panics_is_not_detached() {
    let (tasks, spawned) = by_hand();
    let flights = Flights::<u8, u32>::new();
    let mut leads = task::spawn(flights.run_detached(0, &tasks, async || panic!("on purpose")));
    let panics = std::panic::AssertUnwindSafe(|| leads.poll());
    assert!(std::panic::catch_unwind(panics).is_err());
    drop(leads);
    assert!(spawned.lock().unwrap().is_empty());
    assert!(flights.snapshot().is_idle());
}

#[test]
fn a_layers_call_goes_on_and_is_told() {
    let (tasks, spawned) = by_hand();
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let layer = DedupLayer::new(|key: &u8| Some(*key))
        .observer(move |event: &Event<'_>| heard.lock().unwrap().push(event.name()))
        .detached(tasks.clone());
    let backend = Backend::<u32>::default();
    let service = layer.layer(backend.clone());
    let mut leads = task::spawn(service.clone().oneshot(1));
    let mut follows = task::spawn(service.oneshot(1));
    assert_pending!(leads.poll());
    assert_pending!(follows.poll());
    drop(leads);
    assert_eq!((layer.tasks().running(), tasks.running()), (1, 1));
    backend.answer(Ok(7));
    let task = spawned.lock().unwrap().pop().unwrap();
    assert_ready!(task::spawn(task).poll());
    assert_eq!(assert_ready!(follows.poll()).unwrap(), 7);
    assert_eq!((layer.tasks().running(), tasks.running()), (0, 0));
    assert_eq!(*told.lock().unwrap(), ["led", "joined", "detached"]);
    assert_eq!(backend.calls(), 1);
}

#[cfg(feature = "http")]
#[tokio::test]
async fn an_http_call_goes_on_to_its_head_and_followers_read_the_body() {
    use ::http::{Request, Response};
    use bytes::Bytes;
    use http_body_util::{BodyExt, Empty};
    use testkit::body::{HandBody, by_hand as body_by_hand};

    let (tasks, spawned) = by_hand();
    let layer = DedupLayer::http::<HandBody>().detached(tasks);
    let backend = Backend::<Response<HandBody>>::default();
    let service = layer.layer(backend.clone());
    let get = || Request::get("/").body(Empty::<Bytes>::new()).unwrap();
    let mut leads = task::spawn(service.clone().oneshot(get()));
    let mut follows = task::spawn(service.oneshot(get()));
    assert_pending!(leads.poll());
    assert_pending!(follows.poll());
    drop(leads);
    let (body, hand) = body_by_hand();
    hand.data("shared").end();
    backend.answer(Ok(Response::new(body)));
    let task = spawned.lock().unwrap().pop().unwrap();
    assert_ready!(task::spawn(task).poll());
    let response = assert_ready!(follows.poll()).unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "shared");
    assert!(layer.snapshot().is_idle());
}

#[test]
fn where_nothing_can_be_spawned_the_work_is_dropped_and_handed_over() {
    let tasks = Tasks::new(|_| panic!("outside of a runtime"));
    let flights = buttress_dedup::Flights::<u8, u32>::new();
    let run = || task::spawn(flights.run_detached(0, &tasks, std::future::pending::<u32>));
    let (mut leads, mut follows) = (run(), run());
    assert!(leads.poll().is_pending() && follows.poll().is_pending());
    drop(leads);
    assert!(follows.is_woken());
    assert_eq!(flights.snapshot().promoted, 1);
    drop(follows);
    assert!(flights.snapshot().is_idle());
    assert_eq!(tasks.running(), 0);
}

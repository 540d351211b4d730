//! A payment service and a subscriber, which live on while the app is killed. Both do what they are asked for under one key once, and remember what they have done.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};

/// Asks for the app's death; answered when it lives again.
type Death = oneshot::Sender<()>;

#[derive(Clone)]
pub(crate) struct Neighbours {
    address: SocketAddr,
    books: Arc<Books>,
    deaths: Arc<Mutex<Option<mpsc::Receiver<Death>>>>,
}

struct Books {
    /// Key to answer, of those that were charged.
    charged: Mutex<HashMap<String, (String, String)>>,
    told: watch::Sender<HashMap<String, String>>,
    kill: mpsc::Sender<Death>,
    /// The next one that is charged is not told so.
    breaks: AtomicBool,
}

/// How often something happens between two deaths.
const EVERY: usize = 13;

impl Neighbours {
    pub(crate) async fn start() -> Self {
        let (kill, deaths) = mpsc::channel(64);
        let books = Arc::new(Books {
            charged: Mutex::default(),
            told: watch::Sender::default(),
            kill,
            breaks: AtomicBool::new(false),
        });
        let app = Router::new()
            .route("/payments", post(charge))
            .route("/events", post(hear))
            .with_state(Arc::clone(&books));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self {
            address,
            books,
            deaths: Arc::new(Mutex::new(Some(deaths))),
        }
    }

    pub(crate) fn urls(&self) -> (String, String) {
        let of = |path| format!("http://{}/{path}", self.address);
        (of("payments"), of("events"))
    }

    /// When to kill the app.
    pub(crate) fn deaths(&self) -> mpsc::Receiver<Death> {
        self.deaths
            .lock()
            .unwrap()
            .take()
            .expect("one app is killed")
    }

    /// Waits until so many events were told of. An event that is lost is never told of: then this gives up.
    pub(crate) async fn until_told(&self, count: usize) {
        let mut told = self.books.told.subscribe();
        let all = told.wait_for(|told| told.len() >= count);
        let waited = tokio::time::timeout(std::time::Duration::from_secs(60), all).await;
        drop(waited.expect("every order is told of"));
    }

    /// The next one to be charged is charged, and gets a failure for an answer.
    pub(crate) fn break_once(&self) {
        self.books.breaks.store(true, Ordering::SeqCst);
    }

    /// Payments, and what was charged.
    pub(crate) fn charges(&self) -> HashMap<String, String> {
        let charged = self.books.charged.lock().unwrap();
        charged.values().cloned().collect()
    }

    pub(crate) fn told(&self) -> Vec<Value> {
        let told = self.books.told.borrow();
        let event = |event: &String| serde_json::from_str(event).unwrap();
        told.values().map(event).collect()
    }
}

impl Books {
    /// Has the app killed, and is done when it lives again.
    async fn kill(&self) {
        let (done, lives) = oneshot::channel();
        if self.kill.send(done).await.is_ok() {
            let _ = lives.await;
        }
    }
}

/// Kills after the charge and before the answer.
async fn charge(
    State(books): State<Arc<Books>>,
    headers: HeaderMap,
    cents: String,
) -> Result<String, StatusCode> {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let (payment, count) = {
        let mut charged = books.charged.lock().unwrap();
        let next = format!("payment {}", charged.len());
        let new = !charged.contains_key(&key);
        let (payment, of) = charged.entry(key).or_insert((next, cents.clone()));
        assert_eq!(*of, cents, "one key, one charge");
        (payment.clone(), new.then_some(charged.len()))
    };
    if count.is_some_and(|count| count % EVERY == 0) {
        // In a task: whoever waits for the answer is about to die.
        let books = Arc::clone(&books);
        tokio::spawn(async move { books.kill().await })
            .await
            .unwrap();
    }
    if books.breaks.swap(false, Ordering::SeqCst) {
        return Err(StatusCode::INTERNAL_SERVER_ERROR);
    }
    Ok(payment)
}

/// Kills when it was told, before that can be marked.
async fn hear(State(books): State<Arc<Books>>, headers: HeaderMap, event: String) {
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let mut count = None;
    books.told.send_modify(|told| {
        if told.insert(key, event).is_none() {
            count = Some(told.len());
        }
    });
    if count.is_some_and(|count| count % EVERY == 0) {
        let books = Arc::clone(&books);
        tokio::spawn(async move { books.kill().await })
            .await
            .unwrap();
    }
}

//! What each call costs on the wire: how often somebody waits for the server.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use buttress_idempotency::{
    Begin, BeginRequest, Claim, Fingerprint, Origin, Record, Recovery, Store, Token,
};

const HOUR: Duration = Duration::from_secs(3600);

/// A way to a server that counts how often the client speaks after the server has: however many pieces each of them needs. Its threads end with the test.
struct Line {
    address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
    /// Whether the client is done with what it says by itself when a call is over.
    is_idle: Box<dyn Fn() -> bool>,
}

#[derive(Default)]
struct Heard {
    turns: usize,
    client_speaks: bool,
}

impl Line {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let line = Self {
            address: listener.local_addr().unwrap(),
            heard: Arc::default(),
            is_idle: Box::new(|| true),
        };
        let heard = Arc::clone(&line.heard);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(server).unwrap();
                for is_client in [true, false] {
                    let (client, server) =
                        (client.try_clone().unwrap(), server.try_clone().unwrap());
                    let heard = Arc::clone(&heard);
                    let ends = if is_client {
                        (client, server)
                    } else {
                        (server, client)
                    };
                    std::thread::spawn(move || hand_on(ends, is_client, &heard));
                }
            }
        });
        line
    }

    /// How many round trips a call takes on a connection that is idle, and what came of it.
    async fn of<T>(&self, call: impl Future<Output = T>) -> (usize, T) {
        while !(self.is_idle)() {
            tokio::task::yield_now().await;
        }
        let turns = || self.heard.lock().unwrap().turns;
        let before = turns();
        let output = call.await;
        (turns() - before, output)
    }
}

fn hand_on((mut from, mut to): (TcpStream, TcpStream), is_client: bool, heard: &Mutex<Heard>) {
    let _ = to.set_nodelay(true);
    let mut piece = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        // Before it is passed on, and so before it can be answered.
        let mut heard = heard.lock().unwrap();
        heard.turns += usize::from(is_client && !heard.client_speaks);
        heard.client_speaks = is_client;
        drop(heard);
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    for end in [from, to] {
        let _ = end.shutdown(Shutdown::Both);
    }
}

fn claimed(found: Begin) -> Claim {
    match found {
        Begin::Claimed(claim) => claim,
        found => panic!("{found:?} for a new key"),
    }
}

fn by_another(request: &BeginRequest) -> BeginRequest {
    BeginRequest {
        token: Token::random(),
        ..request.clone()
    }
}

/// What each call takes on a connection that has been used before.
#[derive(Debug, Eq, PartialEq)]
struct Costs {
    begin: usize,
    in_progress: usize,
    mismatch: usize,
    unknown_outcome: usize,
    again: usize,
    look: usize,
    renew: usize,
    confirm: usize,
    complete: usize,
    replay: usize,
    abandon: usize,
    take_over: usize,
}

async fn costs(line: &Line, store: &impl Store) -> Costs {
    let request = crate::order();
    let (begin, found) = line.of(store.begin(request.clone())).await;
    let claim = claimed(found.unwrap());
    let (in_progress, found) = line.of(store.begin(by_another(&request))).await;
    assert!(matches!(found.unwrap(), Begin::InProgress(_)));
    let other = BeginRequest {
        fingerprint: Fingerprint::from_bytes([8; 32]),
        ..by_another(&request)
    };
    let (mismatch, found) = line.of(store.begin(other)).await;
    assert_eq!(found.unwrap(), Begin::Mismatch);
    let (look, found) = line.of(store.look(&request)).await;
    assert!(matches!(found.unwrap(), Some(Begin::InProgress(_))));
    let (renew, renewed) = line.of(store.renew(&claim, HOUR, HOUR)).await;
    renewed.unwrap();
    let (confirm, confirmed) = line.of(store.confirm(&claim)).await;
    confirmed.unwrap();
    let record = Record::Tombstone(Origin::default());
    let (complete, completed) = line.of(store.complete(&claim, record, HOUR)).await;
    completed.unwrap();
    let (replay, found) = line.of(store.begin(by_another(&request))).await;
    assert!(matches!(found.unwrap(), Begin::Replay(_)));
    let orphaned = crate::order();
    let orphan = claimed(store.begin(orphaned.clone()).await.unwrap());
    store.renew(&orphan, Duration::ZERO, HOUR).await.unwrap();
    let (unknown_outcome, found) = line.of(store.begin(by_another(&orphaned))).await;
    assert_eq!(found.unwrap(), Begin::OutcomeUnknown);
    let heir = BeginRequest {
        recovery: Recovery::Reexecute,
        ..by_another(&orphaned)
    };
    let (again, found) = line.of(store.begin(heir)).await;
    assert_eq!(claimed(found.unwrap()).attempt, 2);
    let left = claimed(store.begin(crate::order()).await.unwrap());
    store.renew(&left, Duration::ZERO, HOUR).await.unwrap();
    let seized = line.of(store.seize(&left, Token::random(), HOUR));
    let (take_over, seized) = seized.await;
    let (abandon, abandoned) = line.of(store.abandon(&seized.unwrap())).await;
    abandoned.unwrap();
    Costs {
        begin,
        in_progress,
        mismatch,
        unknown_outcome,
        again,
        look,
        renew,
        confirm,
        complete,
        replay,
        abandon,
        take_over,
    }
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn on_postgres_a_call_is_one_round_trip_and_a_duplicate_two() {
    let server = testkit::server::Postgres::start().unwrap();
    let mut line = Line::to(server.address());
    let url = server.url();
    let over_the_line = url.replace(&server.address().to_string(), &line.address.to_string());
    assert_ne!(over_the_line, url);
    let store = crate::patient::postgres_of(&over_the_line, 1);
    store.migrate().await.unwrap();
    // sqlx asks a connection whether it is well when nobody waits for it any more.
    let pool = store.pool().clone();
    line.is_idle = Box::new(move || pool.num_idle() == 1);
    // Each connection has to prepare each statement once.
    costs(&line, &store).await;
    let expected = Costs {
        begin: 1,
        in_progress: 2,
        mismatch: 2,
        unknown_outcome: 2,
        again: 1,
        look: 1,
        renew: 1,
        confirm: 1,
        complete: 1,
        replay: 2,
        abandon: 1,
        take_over: 1,
    };
    assert_eq!(costs(&line, &store).await, expected);
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn on_redis_each_call_is_one_round_trip() {
    let server = testkit::server::Redis::start().unwrap();
    let line = Line::to(server.address());
    let store = crate::patient::redis(&format!("redis://{}", line.address));
    // Each script is loaded once.
    costs(&line, &store).await;
    let expected = Costs {
        begin: 1,
        in_progress: 1,
        mismatch: 1,
        unknown_outcome: 1,
        again: 1,
        look: 1,
        renew: 1,
        confirm: 1,
        complete: 1,
        replay: 1,
        abandon: 1,
        take_over: 1,
    };
    assert_eq!(costs(&line, &store).await, expected);
}

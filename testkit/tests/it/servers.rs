//! Each server is started, used over a real connection, killed in the middle, and finds its data again.

use testkit::server::{Postgres, Redis};

#[test]
fn a_redis_keeps_what_it_acknowledged_when_it_is_killed() {
    let mut redis = Redis::start().expect("redis starts");
    assert_eq!(redis.ask("PING").expect("it answers"), "+PONG");
    assert_eq!(redis.ask("SET kept yes").expect("it answers"), "+OK");
    redis.kill();
    assert!(redis.ask("PING").is_err(), "it is gone");
    redis.restart().expect("it comes back");
    assert_eq!(redis.ask("GET kept").expect("it answers"), "$3\r\nyes");
    let another = Redis::start().expect("there may be two");
    assert_ne!(another.address(), redis.address());
    assert_eq!(another.ask("GET kept").expect("it answers"), "$-1");
}

#[test]
fn a_postgres_keeps_what_it_committed_when_it_is_killed() {
    let mut postgres = Postgres::start().expect("postgres starts");
    postgres
        .ask("CREATE TABLE kept (word text); INSERT INTO kept VALUES ('yes')")
        .expect("it works");
    postgres.kill();
    assert!(postgres.ask("SELECT 1").is_err(), "it is gone");
    postgres.restart().expect("it recovers");
    assert_eq!(
        postgres.ask("SELECT word FROM kept").expect("it works"),
        "yes"
    );
    assert!(postgres.ask("no sql").is_err());
}

#[test]
fn a_server_ends_with_its_handle() {
    let redis = Redis::start().expect("redis starts");
    let address = redis.address();
    drop(redis);
    assert!(std::net::TcpStream::connect(address).is_err());
}

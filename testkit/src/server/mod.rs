//! Real servers of one's own: children of the test, on free loopback ports, in folders that vanish with them.
//!
//! A server runs as an unprivileged user when the test runs as root, is killed when its handle is dropped, and can be killed and started again
//! on the same data in the middle of a test. Nothing waits for a time: a server is up when it says so.

mod child;
mod postgres;
mod redis;

pub use self::postgres::Postgres;
pub use self::redis::{Redis, RedisCluster, RedisSentinel};

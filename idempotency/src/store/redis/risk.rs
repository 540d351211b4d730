//! Settings of a server under which claims can be lost.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use ::redis::aio::ConnectionLike;
use ::redis::{InfoDict, RedisResult, Value};

use super::RedisStore;
use crate::event::{Event, Observer, tell};
use crate::store::StoreError;

/// Why a Redis may lose claims that it has granted.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Risk {
    /// At its bound of memory it drops keys (`maxmemory-policy` is not `noeviction`): an effect may happen twice.
    Eviction,
    /// It writes no log (`appendonly no`): a crash of the process takes what it granted since its last snapshot, or all.
    NoLog,
    /// It does not tell of itself what has to be known, as where `CONFIG` is forbidden: whether it syncs each write, say.
    Untold,
    /// It does not sync each write (`appendfsync` is not `always`): a crash of the machine takes the last second, or more, and with
    /// `everysec` a crash of the process what was answered while it synced.
    NoSync,
}

/// What to do about a [`Risk`].
#[derive(Clone, Default)]
pub enum OnRisk {
    /// Nothing, and nobody is told of it. What comes of [`checked`](RedisStore::checked) then is that the server could be asked.
    #[default]
    Ignore,
    /// The store is refused.
    Refuse,
    /// The observer hears of it, as [`Event::StoreAtRisk`].
    Warn(Arc<dyn Observer>),
}

impl<C: ConnectionLike + Clone + Send + Sync> RedisStore<C> {
    /// The store, if its server is fit for it, or as you choose. Ask once, at the start. A server that does not tell is not known to be fit ([`Risk::Untold`]).
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when Redis cannot be reached, or is refused.
    pub async fn checked(self, on_risk: OnRisk) -> Result<Self, StoreError> {
        let risks = self.check().await?;
        match on_risk {
            OnRisk::Refuse if !risks.is_empty() => {
                return Err(StoreError::Unavailable(Box::new(Refused(risks))));
            }
            OnRisk::Warn(observer) => {
                let tell = |risk: &Risk| tell(&*observer, &Event::StoreAtRisk(*risk));
                risks.iter().for_each(tell);
            }
            OnRisk::Ignore | OnRisk::Refuse => {}
        }
        Ok(self)
    }
}

/// `CONFIG` is often forbidden, and `INFO` does not tell all.
pub(super) async fn check(connection: &mut impl ConnectionLike) -> RedisResult<Vec<Risk>> {
    let told: Value = ::redis::cmd("INFO").query_async(connection).await?;
    let (mut evicts, mut forgets, mut untold) = (false, false, false);
    for info in infos(told)? {
        let policy = info.get::<String>("maxmemory_policy");
        let log = info.get::<u8>("aof_enabled");
        untold |= policy.is_none() || log.is_none();
        evicts |= policy.is_some_and(|policy| policy != "noeviction");
        forgets |= log == Some(0);
    }
    let mut risks = Vec::new();
    if evicts {
        risks.push(Risk::Eviction);
    }
    if forgets {
        risks.push(Risk::NoLog);
    }
    if untold {
        risks.push(Risk::Untold);
    }
    if forgets || untold {
        return Ok(risks);
    }
    let sync: RedisResult<HashMap<String, String>> = ::redis::cmd("CONFIG")
        .arg("GET")
        .arg("appendfsync")
        .query_async(connection)
        .await;
    match sync {
        Ok(sync) if sync.values().any(|sync| sync != "always") => risks.push(Risk::NoSync),
        Ok(sync) if !sync.is_empty() => {}
        // It answers, and not to that.
        Ok(_) => risks.push(Risk::Untold),
        Err(error) if error.is_unrecoverable_error() || error.is_timeout() => return Err(error),
        Err(_) => risks.push(Risk::Untold),
    }
    Ok(risks)
}

/// Of one server; or of each master of a cluster, by its address.
fn infos(told: Value) -> RedisResult<Vec<InfoDict>> {
    let infos = match told {
        Value::Map(of_each) => of_each.into_iter().map(|(_, info)| info).collect(),
        info => vec![info],
    };
    let infos = infos.into_iter().map(::redis::from_redis_value);
    Ok(infos.collect::<Result<_, _>>()?)
}

#[derive(Debug)]
struct Refused(Vec<Risk>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "redis may lose claims: {:?}", self.0)
    }
}

impl std::error::Error for Refused {}

impl fmt::Debug for OnRisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ignore => "Ignore",
            Self::Refuse => "Refuse",
            Self::Warn(_) => "Warn",
        })
    }
}

//! Claims and records in Redis.

mod doors;
pub mod lua;
mod risk;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::redis::aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig};
use ::redis::{Client, ErrorKind, RedisError, Script, ServerErrorKind};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};

pub use self::risk::{OnRisk, Risk};
use super::remote::{claim, duration, millis};
use super::{Begin, BeginRequest, Claim, Record, Standing, Store, StoreError, Token};
use crate::key::RecordKey;

/// A store in Redis (5 or later), alone or a cluster. A clone is the same store.
///
/// # Guarantees
///
/// - Each call is one script on one key, and one round trip, but for [`unknown`](Store::unknown), which looks at every key, a hundred at a time.
/// - All times are the server's.
/// - It is as durable as its Redis. With `appendonly yes` and `appendfsync always`, what was answered survives a crash of the machine; with
///   `everysec`, that may take the last second, and even a crash of the process what was answered while a sync was under way; without a log, all of it is lost with the process. An
///   asynchronous failover may lose what was answered last: then a request may happen twice. [`check`](Self::check) tells what it finds.
///
/// # Cancellation
///
/// See [`Store`].
#[derive(Clone)]
pub struct RedisStore<C = ConnectionManager> {
    connection: C,
    scripts: Arc<Scripts>,
    prefix: Arc<str>,
}

/// How many keys are looked at together, when all of them are.
const AT_ONCE: usize = 100;

struct Scripts {
    begin: Script,
    look: Script,
    renew: Script,
    seize: Script,
    complete: Script,
    abandon: Script,
    confirm: Script,
    unknown: Script,
    names: Script,
}

impl RedisStore {
    /// A store on a connection of its own, which is made when it is first asked, and made again when it breaks. An answer is waited for up to two seconds.
    ///
    /// Nothing was asked of the server yet, also not whether it may lose claims: [`checked`](Self::checked) does that.
    ///
    /// # Errors
    ///
    /// If the URL cannot be parsed.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn open(url: &str) -> Result<Self, RedisError> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(1)))
            .set_response_timeout(Some(Duration::from_secs(2)));
        let connection = ConnectionManager::new_lazy_with_config(Client::open(url)?, config)?;
        Ok(Self::new(connection))
    }
}

impl<C> RedisStore<C> {
    /// A store on a connection of yours, of a cluster for example.
    #[must_use]
    pub fn new(connection: C) -> Self {
        Self {
            connection,
            scripts: Arc::new(Scripts {
                begin: Script::new(lua::BEGIN),
                look: Script::new(lua::LOOK),
                renew: Script::new(lua::RENEW),
                seize: Script::new(lua::SEIZE),
                complete: Script::new(lua::COMPLETE),
                abandon: Script::new(lua::ABANDON),
                confirm: Script::new(lua::CONFIRM),
                unknown: Script::new(lua::UNKNOWN),
                names: Script::new(lua::NAMES),
            }),
            prefix: "idempotency:".into(),
        }
    }

    /// What all names in Redis begin with. Default: `idempotency:`.
    #[must_use]
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.into();
        self
    }

    fn name(&self, key: &RecordKey) -> String {
        use std::fmt::Write;
        let mut name = String::with_capacity(self.prefix.len() + 64);
        name.push_str(&self.prefix);
        for byte in key.as_bytes() {
            let _ = write!(name, "{byte:02x}");
        }
        name
    }

    fn key(&self, name: &[u8]) -> Option<RecordKey> {
        let hex = name.strip_prefix(self.prefix.as_bytes())?;
        let (pairs, []) = hex.as_chunks::<2>() else {
            return None;
        };
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(RecordKey::from_bytes(bytes))
    }
}

impl<C: ConnectionLike + Clone + Send + Sync> RedisStore<C> {
    /// Looks for settings of the server under which it could lose claims: on a cluster, of each master that has keys; but whether writes are synced is asked of one of them, which the
    /// connection chooses.
    ///
    /// # Errors
    ///
    /// When Redis cannot be reached.
    pub async fn check(&self) -> Result<Vec<Risk>, StoreError> {
        risk::check(&mut self.connection.clone())
            .await
            .map_err(failed)
    }

    async fn ask<T: ::redis::FromRedisValue>(
        &self,
        call: &::redis::ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        self.try_ask(call).await.map_err(failed)
    }

    /// Looks once more if the connection broke: it is seen when it is used, and whatever is asked here may be asked again.
    async fn try_ask<T: ::redis::FromRedisValue>(
        &self,
        call: &::redis::ScriptInvocation<'_>,
    ) -> Result<T, RedisError> {
        let mut connection = self.connection.clone();
        match call.invoke_async(&mut connection).await {
            Err(error) if error.is_connection_dropped() => call.invoke_async(&mut connection).await,
            answer => answer,
        }
    }

    async fn is_held(&self, call: &::redis::ScriptInvocation<'_>) -> Result<(), StoreError> {
        match self.ask::<bool>(call).await? {
            true => Ok(()),
            false => Err(StoreError::Lost),
        }
    }

    /// A name for each server that can have keys of ours: one, unless they are a cluster.
    async fn doors(&self) -> Result<Vec<String>, StoreError> {
        let mut cmd = ::redis::cmd("CLUSTER");
        cmd.arg("SLOTS");
        let mut connection = self.connection.clone();
        let told = match cmd.query_async(&mut connection).await {
            Err(error) if error.is_connection_dropped() => cmd.query_async(&mut connection).await,
            told => told,
        };
        let told: Vec<Vec<::redis::Value>> = match told {
            // It is none, or must not tell.
            Err(error) if error.code().is_some() => Vec::new(),
            told => told.map_err(failed)?,
        };
        Ok(doors::doors(&self.prefix, &doors::shares(&told)))
    }

    /// Adds the unknown claims of one server until there are `limit`.
    async fn unknown_behind(
        &self,
        door: &str,
        limit: usize,
        unknown: &mut HashMap<RecordKey, Claim>,
    ) -> Result<(), StoreError> {
        let mut cursor = 0_u64;
        loop {
            let mut call = self.scripts.names.key(door);
            call.arg(cursor)
                .arg(format!("{}*", escape(&self.prefix)))
                .arg(500);
            let (next, names): (u64, Vec<Vec<u8>>) = match self.try_ask(&call).await {
                // This connection is to one node of a cluster, and not to this one.
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::Moved) => {
                    return Ok(());
                }
                names => names.map_err(failed)?,
            };
            let keys: Vec<_> = names.iter().filter_map(|name| self.key(name)).collect();
            let claims = stream::iter(keys).map(|key| self.unknown_claim(key));
            let mut claims = claims.buffer_unordered(AT_ONCE);
            while let Some(claim) = claims.try_next().await? {
                // A scan may give a key twice.
                if let Some(claim) = claim
                    && unknown.len() < limit
                {
                    unknown.insert(claim.key, claim);
                }
            }
            cursor = next;
            if cursor == 0 || unknown.len() >= limit {
                return Ok(());
            }
        }
    }

    async fn unknown_claim(&self, key: RecordKey) -> Result<Option<Claim>, StoreError> {
        let call = self.scripts.unknown.key(self.name(&key));
        let found: Option<(Vec<u8>, u64, u32)> = self.ask(&call).await?;
        found
            .map(|(token, fence, attempt)| claim(key.as_bytes(), &token, fence, attempt))
            .transpose()
    }
}

impl<C> Store for RedisStore<C>
where
    C: ConnectionLike + Clone + Send + Sync + 'static,
{
    async fn begin(&self, request: BeginRequest) -> Result<Begin, StoreError> {
        let mut call = self.scripts.begin.key(self.name(&request.key));
        call.arg(request.fingerprint.as_bytes())
            .arg(&request.token.to_bytes())
            .arg(millis(request.lease))
            .arg(millis(request.ttl))
            .arg(u8::from(request.takes_over()));
        let (found, what, attempt): (u8, Vec<u8>, u32) = self.ask(&call).await?;
        match found {
            0 => Ok(request.claimed(number(&what)?, attempt)),
            found => answer(found, what),
        }
    }

    async fn look(&self, request: &BeginRequest) -> Result<Option<Begin>, StoreError> {
        let mut call = self.scripts.look.key(self.name(&request.key));
        call.arg(request.fingerprint.as_bytes())
            .arg(u8::from(request.takes_over()));
        let (found, what, _): (u8, Vec<u8>, u32) = self.ask(&call).await?;
        match found {
            5 => Ok(None),
            found => answer(found, what).map(Some),
        }
    }

    async fn renew(&self, claim: &Claim, lease: Duration, ttl: Duration) -> Result<(), StoreError> {
        let mut call = self.scripts.renew.key(self.name(&claim.key));
        call.arg(&claim.token.to_bytes())
            .arg(millis(lease))
            .arg(millis(ttl));
        self.is_held(&call).await
    }

    async fn seize(
        &self,
        claim: &Claim,
        token: Token,
        lease: Duration,
    ) -> Result<Claim, StoreError> {
        let mut call = self.scripts.seize.key(self.name(&claim.key));
        call.arg(&claim.token.to_bytes())
            .arg(&token.to_bytes())
            .arg(millis(lease));
        let seized: Option<(u64, u32)> = self.ask(&call).await?;
        let (fence, attempt) = seized.ok_or(StoreError::Lost)?;
        Ok(claim.seized(token, fence, attempt))
    }

    async fn complete(
        &self,
        claim: &Claim,
        record: Record,
        ttl: Duration,
    ) -> Result<(), StoreError> {
        let mut call = self.scripts.complete.key(self.name(&claim.key));
        call.arg(&claim.token.to_bytes())
            .arg(&record.encode()[..])
            .arg(millis(ttl));
        self.is_held(&call).await
    }

    async fn abandon(&self, claim: &Claim) -> Result<(), StoreError> {
        let mut call = self.scripts.abandon.key(self.name(&claim.key));
        call.arg(&claim.token.to_bytes());
        self.is_held(&call).await
    }

    /// Redis forgets by itself.
    async fn purge(&self, _: usize) -> Result<usize, StoreError> {
        Ok(0)
    }

    async fn confirm(&self, claim: &Claim) -> Result<Standing, StoreError> {
        let mut call = self.scripts.confirm.key(self.name(&claim.key));
        call.arg(&claim.token.to_bytes());
        match self.ask::<Option<String>>(&call).await?.as_deref() {
            None => Err(StoreError::Lost),
            Some("d") => Ok(Standing::Done),
            Some(_) => Ok(Standing::Running),
        }
    }

    /// Goes through all keys, a hundred at a time; of a cluster, master after master. What moves from one to another meanwhile may be missed, and is found the next time.
    async fn unknown(&self, limit: usize) -> Result<Vec<Claim>, StoreError> {
        let mut unknown = HashMap::new();
        for door in self.doors().await? {
            self.unknown_behind(&door, limit, &mut unknown).await?;
            if unknown.len() >= limit {
                break;
            }
        }
        Ok(unknown.into_values().collect())
    }
}

/// What a script found that has claimed nothing.
fn answer(found: u8, what: Vec<u8>) -> Result<Begin, StoreError> {
    Ok(match found {
        1 => Begin::Replay(Record::decode(Bytes::from(what))?),
        2 => Begin::InProgress(duration(number(&what)? as i64)),
        3 => Begin::Mismatch,
        _ => Begin::OutcomeUnknown,
    })
}

/// A prefix is a text and not a pattern.
fn escape(prefix: &str) -> String {
    let mut escaped = String::with_capacity(prefix.len());
    for c in prefix.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn number(digits: &[u8]) -> Result<u64, StoreError> {
    let number = std::str::from_utf8(digits)
        .ok()
        .and_then(|d| d.parse().ok());
    number.ok_or_else(|| StoreError::Corrupt("a number is none".into()))
}

fn failed(error: RedisError) -> StoreError {
    // Before Redis 7, what a script was refused is within what is said of the script.
    let is_full = |error: &RedisError| {
        error.code() == Some("OOM") || error.to_string().contains("OOM command not allowed")
    };
    if is_full(&error) {
        return StoreError::Full;
    }
    StoreError::Unavailable(error.into())
}

impl<C> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_key_and_others_tell_none() {
        let store = RedisStore::new(()).prefix("shop*:");
        let key = RecordKey::from_bytes(std::array::from_fn(|n| n as u8));
        let name = store.name(&key);
        assert_eq!(store.key(name.as_bytes()), Some(key));
        for other in ["", "shop*:", "shop*:00", &name[1..], &format!("{name}0")] {
            assert_eq!(store.key(other.as_bytes()), None, "{other}");
        }
        assert_eq!(escape("shop*:"), "shop\\*:");
    }
}

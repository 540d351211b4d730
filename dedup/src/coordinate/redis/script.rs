//! What is asked of Redis. Each script works on one key's names, which are in one slot of a cluster.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionManager;
use redis::{RedisError, Script};

use super::inbox::{Hash, Said};

/// What a key is called in Redis.
#[derive(Clone, Debug)]
pub(super) struct Name {
    hash: Hash,
    lease: String,
    waiters: String,
}

impl Name {
    pub(super) fn new(prefix: &str, key: &[u8]) -> Self {
        let hash = blake3::hash(key);
        let hex = hash.to_hex();
        Self {
            hash: *hash.as_bytes(),
            lease: format!("{prefix}:{{{hex}}}:lease"),
            waiters: format!("{prefix}:{{{hex}}}:waiters"),
        }
    }

    pub(super) fn hash(&self) -> Hash {
        self.hash
    }
}

/// What came of a claim.
pub(super) enum Asked {
    /// Somebody else holds the lease, for so long if it is not renewed. This process is registered for the result.
    Held(Duration),
    /// Somebody else holds it, and has been at work for too long to be waited for.
    Old,
    /// The lease is ours.
    Ours,
}

#[derive(Clone)]
pub(super) struct Scripts(Arc<[Script; 3]>);

/// Takes the lease, or registers for the result; or neither, if its holder has been at work for too long. The lease is `token ms`, by the clock of Redis. Those
/// who had registered with a holder that died stay so.
const CLAIM: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local held = redis.call('GET', KEYS[1])
if not held then
  redis.call('SET', KEYS[1], ARGV[1] .. string.format(' %.0f', now), 'PX', ARGV[2])
  return -1
end
if ARGV[4] ~= '' and now - tonumber(string.sub(held, 34)) > tonumber(ARGV[4]) then return -2 end
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('PEXPIRE', KEYS[2], 2 * ARGV[2])
return redis.call('PTTL', KEYS[1])";

const RENEW: &str = "
if string.sub(redis.call('GET', KEYS[1]) or '', 1, 32) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])";

/// Gives the lease back and tells all who have registered, at once: nobody can register in between and hear nothing.
const END: &str = "
if string.sub(redis.call('GET', KEYS[1]) or '', 1, 32) ~= ARGV[1] then return 0 end
local waiters = redis.call('SMEMBERS', KEYS[2])
redis.call('DEL', KEYS[1], KEYS[2])
for _, inbox in ipairs(waiters) do redis.call('PUBLISH', inbox, ARGV[2]) end
return 1";

impl Scripts {
    pub(super) fn new() -> Self {
        Self(Arc::new([CLAIM, RENEW, END].map(Script::new)))
    }

    pub(super) async fn claim(
        &self,
        mut connection: ConnectionManager,
        name: &Name,
        token: &str,
        inbox: &str,
        lease: Duration,
        max_age: Option<Duration>,
    ) -> Result<Asked, RedisError> {
        let mut claim = self.0[0].key(&name.lease);
        claim
            .key(&name.waiters)
            .arg(token)
            .arg(millis(lease))
            .arg(inbox)
            .arg(max_age.map_or_else(String::new, |age| millis(age).to_string()));
        let left: i64 = claim.invoke_async(&mut connection).await?;
        Ok(match u64::try_from(left) {
            // Not at once: it is gone when it is asked for the next time.
            Ok(left) => Asked::Held(Duration::from_millis(left + 1)),
            Err(_) if left == -2 => Asked::Old,
            Err(_) => Asked::Ours,
        })
    }

    /// False when the lease is not this token's any more.
    pub(super) async fn renew(
        &self,
        mut connection: ConnectionManager,
        name: &Name,
        token: &str,
        lease: Duration,
    ) -> Result<bool, RedisError> {
        let mut renew = self.0[1].key(&name.lease);
        renew.arg(token).arg(millis(lease));
        renew.invoke_async(&mut connection).await
    }

    pub(super) async fn end(
        &self,
        mut connection: ConnectionManager,
        name: &Name,
        token: &str,
        said: &Said,
    ) -> Result<(), RedisError> {
        let mut end = self.0[2].key(&name.lease);
        end.key(&name.waiters)
            .arg(token)
            .arg(said.encode(&name.hash));
        end.invoke_async(&mut connection).await
    }
}

/// Of a lease: nobody else has it.
pub(super) fn token() -> String {
    format!("{:032x}", rand::random::<u128>())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}

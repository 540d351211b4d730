//! The scripts, for those who run them through another client. Each works on one key, and so on one slot of a cluster.
//!
//! A key is a hash: `s` is `p` while it is worked on, `d` when it is done and `f` when it was given back; `fp`, `tok`, `fe` and `n` are fingerprint,
//! token, fence and attempt; `l` and `x` are when lease and ttl end, in milliseconds since 1970; `b` is the record. Redis forgets it a minute after both are
//! over: until then it keeps fences growing, whatever the clock does.
//!
//! A server that is at its bound of memory refuses a script's first write, if that may take memory, and none after it. So [`BEGIN`] writes first what may be refused,
//! and has changed nothing then; those that settle what was claimed begin with a `PEXPIRE`, which takes nothing, and are not refused.

/// Claims a key. `fp`, `token`, lease and ttl in milliseconds, 1 to take over a claim whose lease is over.
///
/// Claimed: `{0, fence, attempt}`. Done: `{1, record, 0}`. Worked on: `{2, milliseconds left, 0}`. Another request: `{3, '', 0}`. Outcome unknown:
/// `{4, '', 0}`.
pub const BEGIN: &str = "
local t = redis.call('TIME')
local us = t[1] * 1000000 + t[2]
local now = math.floor(us / 1000)
local s, fp, tok, l, fe, b, n, x = unpack(redis.call('HMGET', KEYS[1], 's', 'fp', 'tok', 'l', 'fe', 'b', 'n', 'x'))
local attempt = 1
if s and s ~= 'f' and not (tonumber(x) <= now and (s == 'd' or tonumber(l) <= now)) then
  if fp ~= ARGV[1] then return {3, '', 0} end
  if s == 'd' then return {1, b, 0} end
  if tok == ARGV[2] then return {0, fe, tonumber(n)} end
  if tonumber(l) > now then return {2, string.format('%.0f', l - now), 0} end
  if ARGV[5] ~= '1' then return {4, '', 0} end
  attempt = n + 1
end
local fence = us
if fe and tonumber(fe) >= fence then fence = fe + 1 end
fence = string.format('%.0f', fence)
redis.call('HSET', KEYS[1], 's', 'p', 'fp', ARGV[1], 'tok', ARGV[2], 'fe', fence, 'n', attempt,
  'l', string.format('%.0f', now + ARGV[3]), 'x', string.format('%.0f', now + ARGV[4]))
if b then redis.call('HDEL', KEYS[1], 'b') end
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(ARGV[3], ARGV[4]) + 60000))
return {0, fence, attempt}";

/// What [`BEGIN`] would find, without claiming: `fp`, 1 to take over. The same answers, and `{5, '', 0}` where it would claim.
pub const LOOK: &str = "
local s, fp, l, b, x = unpack(redis.call('HMGET', KEYS[1], 's', 'fp', 'l', 'b', 'x'))
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if not s or s == 'f' or (tonumber(x) <= now and (s == 'd' or tonumber(l) <= now)) then return {5, '', 0} end
if fp ~= ARGV[1] then return {3, '', 0} end
if s == 'd' then return {1, b, 0} end
if tonumber(l) > now then return {2, string.format('%.0f', l - now), 0} end
if ARGV[2] ~= '1' then return {4, '', 0} end
return {5, '', 0}";

/// Prolongs a lease: `token`, lease and ttl in milliseconds; for the ttl an outcome that nobody knows is remembered from now on. 1, or 0 when it is lost.
pub const RENEW: &str = "
local s, tok, x = unpack(redis.call('HMGET', KEYS[1], 's', 'tok', 'x'))
if s ~= 'p' or tok ~= ARGV[1] then return 0 end
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
x = math.max(x, now + ARGV[3])
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(ARGV[2], x - now) + 60000))
redis.call('HSET', KEYS[1], 'l', string.format('%.0f', now + ARGV[2]), 'x', string.format('%.0f', x))
return 1";

/// Takes a claim over whose lease is over: its `token`, the new one, lease in milliseconds. `{fence, attempt}`, or nothing when it is lost.
pub const SEIZE: &str = "
local s, tok, l, fe, n, x = unpack(redis.call('HMGET', KEYS[1], 's', 'tok', 'l', 'fe', 'n', 'x'))
if s ~= 'p' then return false end
if tok == ARGV[2] then return {fe, tonumber(n)} end
local t = redis.call('TIME')
local us = t[1] * 1000000 + t[2]
local now = math.floor(us / 1000)
if tok ~= ARGV[1] or tonumber(l) > now then return false end
local fence = us
if tonumber(fe) >= fence then fence = fe + 1 end
fence = string.format('%.0f', fence)
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.max(ARGV[3], x - now) + 60000))
redis.call('HSET', KEYS[1], 'tok', ARGV[2], 'fe', fence, 'n', n + 1, 'l', string.format('%.0f', now + ARGV[3]))
return {fence, n + 1}";

/// Files a record: `token`, record, ttl in milliseconds. 1, or 0 when it is lost. What is filed stays when it is done again.
pub const COMPLETE: &str = "
local s, tok = unpack(redis.call('HMGET', KEYS[1], 's', 'tok'))
if tok ~= ARGV[1] then return 0 end
if s == 'd' then return 1 end
local t = redis.call('TIME')
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', ARGV[3] + 60000))
redis.call('HSET', KEYS[1], 's', 'd', 'b', ARGV[2],
  'x', string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[3]))
return 1";

/// Gives a claim back: `token`. 1, or 0 when it is lost.
pub const ABANDON: &str = "
local s, tok = unpack(redis.call('HMGET', KEYS[1], 's', 'tok'))
if s ~= 'p' or tok ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], 60000)
redis.call('HSET', KEYS[1], 's', 'f', 'tok', '')
return 1";

/// How far a claim has come: `token`. `d` or `p`, or nothing when it is lost.
pub const CONFIRM: &str = "
local s, tok = unpack(redis.call('HMGET', KEYS[1], 's', 'tok'))
if tok ~= ARGV[1] then return false end
return s";

/// The claim of a key whose holder is gone: `{token, fence, attempt}`, or nothing.
pub const UNKNOWN: &str = "
local s, tok, l, fe, n, x = unpack(redis.call('HMGET', KEYS[1], 's', 'tok', 'l', 'fe', 'n', 'x'))
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if s ~= 'p' or tonumber(l) > now or tonumber(x) <= now then return false end
return {tok, fe, tonumber(n)}";

/// Some names of the server that has a key: `cursor`, `pattern`, `count`. The next cursor, and names.
pub const NAMES: &str = "
return redis.call('SCAN', ARGV[1], 'MATCH', ARGV[2], 'COUNT', ARGV[3])";

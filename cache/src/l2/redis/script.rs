//! What is asked of Redis. Each script is one round trip, and works on one key.

use redis::Script;

use crate::l2::TIPS;

/// The clock: one string, so that it is lost as a whole or not at all.
///
/// ```text
/// "bcc" bits:1 epoch:8 seq:8 tip:8   tips:8 × 4096   expired:6 × 2^bits   removed:6 × 2^bits
/// ```
pub(super) const HEADER: usize = 4 + 8 + 8 + 8;
/// Where its slots begin: 32796 in the scripts.
pub(super) const SLOTS_AT: usize = HEADER + 8 * TIPS;
pub(super) const MAGIC: &[u8; 3] = b"bcc";

pub(super) struct Scripts {
    pub(super) get: Script,
    pub(super) set: Script,
    pub(super) bump: Script,
    pub(super) begin: Script,
}

/// The entry and how many milliseconds it has left, of one moment.
const GET: &str = "
local entry = redis.call('GET', KEYS[1])
if not entry then return false end
return {entry, redis.call('PTTL', KEYS[1])}";

/// ARGV: the entry, its time, where its epoch and birth begin. Refused by one of the same kind and epoch that was born later.
const SET: &str = "
local new, at = ARGV[1], tonumber(ARGV[3])
local old = redis.call('GETRANGE', KEYS[1], 0, at + 15)
if #old == at + 16 and string.sub(old, 1, at + 8) == string.sub(new, 1, at + 8)
  and struct.unpack('>I8', old, at + 9) > struct.unpack('>I8', new, at + 9) then return 0 end
redis.call('SET', KEYS[1], new, 'PX', ARGV[2])
return 1";

/// ARGV: the channel, the first bytes of the clock, tip, plane, slots, and the epoch and `seq` to stand at if there is no clock. Tells `'m' head previous plane slots`, and gives
/// the head and the tip before.
const BUMP: &str = "
local clock, kind, slots = KEYS[1], ARGV[2], ARGV[5]
local head = redis.call('GETRANGE', clock, 0, 27)
local epoch, seq, previous = ARGV[6], struct.unpack('>I8', ARGV[7]), string.rep('\\0', 8)
if #head == 28 then
  if string.sub(head, 1, 4) ~= kind then return redis.error_reply('OTHERCLOCK a clock with another number of slots') end
  epoch, seq, previous = string.sub(head, 5, 12), struct.unpack('>I8', head, 13) + 1, string.sub(head, 21)
end
local size = 2 ^ string.byte(kind, 4)
local step = struct.pack('>I6', seq)
for at = 1, #slots, 4 do
  local slot = tonumber(ARGV[4]) * size + struct.unpack('>I4', slots, at)
  redis.call('SETRANGE', clock, 32796 + 6 * slot, step)
end
head = epoch .. struct.pack('>I8', seq) .. ARGV[3]
redis.call('SETRANGE', clock, 28 + 8 * (seq % 4096), ARGV[3])
redis.call('SETRANGE', clock, 0, kind .. head)
redis.call('PUBLISH', ARGV[1], 'm' .. head .. previous .. ARGV[4] .. slots)
return {head, previous}";

/// ARGV: the channel, the head that is expected (nothing if no clock is), and the one to begin with. The slots stay: steps are counted on.
const BEGIN: &str = "
if redis.call('GETRANGE', KEYS[1], 0, 27) ~= ARGV[2] then return 0 end
redis.call('SETRANGE', KEYS[1], 0, ARGV[3])
local seq, tip = struct.unpack('>I8', ARGV[3], 13), string.sub(ARGV[3], 21)
redis.call('SETRANGE', KEYS[1], 28 + 8 * (seq % 4096), tip)
redis.call('PUBLISH', ARGV[1], 'b')
return 1";

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            get: Script::new(GET),
            set: Script::new(SET),
            bump: Script::new(BUMP),
            begin: Script::new(BEGIN),
        }
    }
}

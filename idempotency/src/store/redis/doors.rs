//! Names by which each master of a cluster can be asked, over a connection that finds its way by the names of keys.

use std::ops::RangeInclusive;

use ::redis::Value;

/// Slots, and who has them.
pub(super) type Share = (RangeInclusive<u16>, Value);

/// What `CLUSTER SLOTS` tells.
pub(super) fn shares(reply: &[Vec<Value>]) -> Vec<Share> {
    let share = |share: &Vec<Value>| match &share[..] {
        [
            Value::Int(first),
            Value::Int(last),
            Value::Array(master),
            ..,
        ] => {
            let slots = u16::try_from(*first).ok()?..=u16::try_from(*last).ok()?;
            // Its address may be unknown; its id came later than its address.
            let master = master.get(2).or_else(|| master.get(1))?;
            Some((slots, master.clone()))
        }
        _ => None,
    };
    reply.iter().filter_map(share).collect()
}

/// A name that begins with `prefix` for each master that can have such names: of several if they differ in their slots, of one if the prefix says the slot,
/// and of one where there are no shares.
pub(super) fn doors(prefix: &str, shares: &[Share]) -> Vec<String> {
    /// To miss even one slot of all is less likely than that the machine fails.
    const ATTEMPTS: u32 = 1 << 19;
    let name = |n: u32| format!("{prefix}{{{n}}}");
    let (mut doors, mut behind): (Vec<String>, Vec<&Value>) = (Vec::new(), Vec::new());
    if shares.is_empty() || tag(prefix.as_bytes()).is_some() {
        return vec![name(0)];
    }
    for name in (0..ATTEMPTS).map(name) {
        let slot = slot(name.as_bytes());
        let share = shares.iter().find(|(slots, _)| slots.contains(&slot));
        if let Some((_, master)) = share
            && !behind.contains(&master)
        {
            behind.push(master);
            doors.push(name);
            if shares.iter().all(|(_, master)| behind.contains(&master)) {
                break;
            }
        }
    }
    doors
}

/// Where a name belongs (Redis Cluster Specification, "Key distribution model").
fn slot(name: &[u8]) -> u16 {
    crc16(tag(name).unwrap_or(name)) % 16384
}

/// What is between the first brace and the next that closes, if there is anything.
fn tag(name: &[u8]) -> Option<&[u8]> {
    let opened = name.iter().position(|byte| *byte == b'{')? + 1;
    let length = name[opened..].iter().position(|byte| *byte == b'}')?;
    (length > 0).then(|| &name[opened..opened + length])
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    let bit = |crc: u16, _| (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 };
    let byte = |crc: u16, byte: &u8| (0..8).fold(crc ^ (u16::from(*byte) << 8), bit);
    bytes.iter().fold(0, byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_the_one_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        // As `CLUSTER KEYSLOT` says.
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b"{foo}bar"), 12182);
        assert_eq!(slot(b"x{foo}{bar}"), 12182);
        assert_eq!(slot(b"{}foo"), crc16(b"{}foo") % 16384);
        assert_eq!(slot(b"{foo"), crc16(b"{foo") % 16384);
    }

    #[test]
    fn each_master_has_a_door() {
        let master = |n: i64| Value::Int(n);
        let shares = [
            (0..=5460, master(1)),
            (5461..=5461, master(2)),
            (5462..=16000, master(1)),
            (16001..=16383, master(3)),
        ];
        let doors = doors("idempotency:", &shares);
        let behind = |door: &String| {
            let slot = slot(door.as_bytes());
            let share = shares.iter().find(|(slots, _)| slots.contains(&slot));
            share.map(|(_, master)| master)
        };
        let mut behind: Vec<_> = doors.iter().map(behind).collect();
        behind.sort_by_key(|master| format!("{master:?}"));
        assert_eq!(
            behind,
            [&master(1), &master(2), &master(3)].map(Some).to_vec()
        );
        assert_eq!(super::doors("{shop}:", &shares).len(), 1);
        assert_eq!(super::doors("shop:", &[]).len(), 1);
    }
}

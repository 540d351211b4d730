use std::{hint::black_box, sync::Mutex};

use super::Work;

/// What [`calibration`] takes on the machine that the budgets were set on: two shared vCPUs of an AMD EPYC (Zen 4).
pub const REFERENCE_NANOS: f64 = 41.5;

/// A fixed piece of work made of what our paths are made of: dependent arithmetic, a lock that nobody else wants, and a
/// small allocation. It uses none of our code, so that no change of ours can move it.
#[must_use]
pub fn calibration() -> Work {
    let state = Mutex::new(0x9e37_79b9_7f4a_7c15_u64);
    Work::new(move || {
        let mut seed = state.lock().expect("nobody panics in here");
        *seed = (0..24).fold(*seed, |hash, _| mix(hash));
        black_box(Box::new([*seed; 4]))
    })
}

/// A step of a multiplicative hash; each waits for the one before.
fn mix(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash.rotate_left(29)
}

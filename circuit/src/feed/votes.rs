//! Who says that a breaker should be open: plain data.

use std::collections::HashMap;
use std::time::Duration;

use super::trip::Instance;

/// For each breaker the instances that have tripped it, and until when. Bounded in both.
#[derive(Debug, Default)]
pub(super) struct Votes(HashMap<String, Vec<Vote>>);

#[derive(Debug)]
struct Vote {
    instance: Instance,
    until: Duration,
}

const MAX_BREAKERS: usize = 1024;

impl Votes {
    /// Counts a vote. If with it `needed` instances agree, for how long the last of them does; then all votes for `breaker` are spent.
    pub(super) fn cast(
        &mut self,
        breaker: &str,
        instance: Instance,
        time: Duration,
        needed: usize,
        now: Duration,
    ) -> Option<Duration> {
        self.make_room(breaker, now);
        let votes = self.0.entry(breaker.to_owned()).or_default();
        votes.retain(|vote| vote.until > now && vote.instance != instance);
        let until = now.saturating_add(time);
        votes.push(Vote { instance, until });
        if votes.len() < needed {
            return None;
        }
        let last = votes.iter().map(|vote| vote.until).max();
        self.0.remove(breaker);
        last.map(|until| until - now)
    }

    /// Forgets what is over, and if that is not enough, one that will be next.
    fn make_room(&mut self, breaker: &str, now: Duration) {
        if self.0.len() < MAX_BREAKERS || self.0.contains_key(breaker) {
            return;
        }
        let end = |votes: &[Vote]| votes.iter().map(|vote| vote.until).max();
        self.0.retain(|_, votes| end(votes) > Some(now));
        if self.0.len() < MAX_BREAKERS {
            return;
        }
        let next = self.0.iter().min_by_key(|(_, votes)| end(votes));
        if let Some(next) = next.map(|(name, _)| name.clone()) {
            self.0.remove(&next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn so_many_instances_must_agree_at_the_same_time() {
        let mut votes = Votes::default();
        let [a, b] = [Instance::random(), Instance::random()];
        let mut cast = |who, time, now| votes.cast("x", who, secs(time), 2, secs(now));
        assert_eq!(cast(a, 10, 0), None);
        assert_eq!(cast(a, 10, 5), None, "the same one");
        assert_eq!(cast(b, 4, 15), None, "the first is over");
        assert_eq!(cast(a, 9, 18), Some(secs(9)));
        assert_eq!(cast(b, 9, 18), None, "spent");
    }

    #[test]
    fn votes_are_bounded() {
        let mut votes = Votes::default();
        let instance = Instance::random();
        for n in 0..5000_u64 {
            votes.cast(&n.to_string(), instance, secs(60), 2, secs(n / 100));
            assert!(votes.0.len() <= MAX_BREAKERS);
        }
        let latest = votes.cast("4999", Instance::random(), secs(60), 2, secs(50));
        assert!(latest.is_some());
    }
}

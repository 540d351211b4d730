//! What must hold of a round.

use std::collections::HashMap;

use crate::plan::Plan;

/// What the clients of one round have seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// For each key, the bodies of its answers.
    answers: HashMap<String, String>,
    /// The first thing that was wrong.
    wrong: Option<String>,
    replays: usize,
}

impl Seen {
    /// An answer, `first` or replayed. With an effect elsewhere the first one may be lost with its worker before it is filed, and another be recorded.
    pub(crate) fn answer(&mut self, plan: Plan, key: &str, body: &str, replayed: bool) {
        self.replays += usize::from(replayed);
        if plan == Plan::RedisReexecute && !replayed {
            return;
        }
        let known = self
            .answers
            .entry(key.to_owned())
            .or_insert_with(|| body.to_owned());
        if known != body {
            let wrong = format!("{key} was answered with {known} and then with {body}");
            self.wrong.get_or_insert(wrong);
        }
    }

    pub(crate) fn replays(&self) -> usize {
        self.replays
    }

    /// Compares it with the effects that there are.
    pub(crate) fn check(
        self,
        plan: Plan,
        keys: &[String],
        effects: &[String],
    ) -> Result<(), String> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for effect in effects {
            *counts.entry(effect).or_default() += 1;
        }
        for key in keys {
            let count = counts.get(&**key).copied().unwrap_or_default();
            let answered = self.answers.contains_key(key);
            let right = match plan {
                Plan::Postgres | Plan::Sqlite | Plan::Planted(_) => count == 1,
                Plan::RedisReject => count == 1 || (count == 0 && !answered),
                Plan::RedisReexecute => count >= 1,
            };
            if !right {
                return Err(format!("{key} has {count} effects, answered: {answered}"));
            }
        }
        Ok(())
    }
}

#[test]
fn the_checker_knows_right_from_wrong() {
    let seen = |answers: &[&str]| {
        let mut seen = Seen::default();
        for body in answers {
            seen.answer(Plan::Sqlite, "k", body, true);
        }
        seen
    };
    let keys = ["k".to_owned()];
    let effects = |count| vec!["k".to_owned(); count];
    let check = |answers, plan, count| {
        let checked = seen(answers).check(plan, &keys, &effects(count));
        checked.is_ok()
    };
    for (plan, right) in [
        (Plan::Postgres, [false, true, false]),
        (Plan::RedisReject, [false, true, false]),
        (Plan::RedisReexecute, [false, true, true]),
    ] {
        let found = [0, 1, 2].map(|count| check(&["a", "a"], plan, count));
        assert_eq!(found, right, "{plan:?}");
    }
    assert!(check(&[], Plan::RedisReject, 0), "of unknown outcome");
    assert!(!check(&["a", "b"], Plan::RedisReexecute, 1), "two answers");
}

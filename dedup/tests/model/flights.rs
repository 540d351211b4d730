//! The handle.

use std::collections::VecDeque;
use std::task::Poll;

use buttress_dedup::{Flights, Leader, Role, Wait, Waited};
use proptest::prelude::*;
use tokio_test::task::{self, Spawn};

#[derive(Clone, Debug)]
enum Op {
    Join,
    Complete,
    DropLeader,
    PanicLeader,
    Poll(prop::sample::Index),
    Drop(prop::sample::Index),
    Forget,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => Just(Op::Join),
        1 => Just(Op::Complete),
        2 => Just(Op::DropLeader),
        1 => Just(Op::PanicLeader),
        4 => any::<prop::sample::Index>().prop_map(Op::Poll),
        2 => any::<prop::sample::Index>().prop_map(Op::Drop),
        1 => Just(Op::Forget),
    ]
}

/// What a follower must find when it is polled.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Due {
    Nothing,
    Promotion,
    Value(u32),
}

/// One generation of the key: a leader or a follower that is about to be one, and followers in order.
#[derive(Default)]
struct Generation {
    leader: Option<Leader<u8, u32>>,
    waits: VecDeque<(Spawn<Wait<u8, u32>>, Due)>,
}

impl Generation {
    /// The leader is gone: the follower who came first is next.
    fn promote(&mut self) {
        let next = self.waits.iter_mut().find(|(_, due)| *due == Due::Nothing);
        if let Some((_, due)) = next {
            *due = Due::Promotion;
        }
    }

    fn is_flying(&self) -> bool {
        self.leader.is_some() || self.waits.iter().any(|(_, due)| *due == Due::Promotion)
    }
}

proptest! {
    #[test]
    fn every_follower_gets_what_the_reference_says_and_nothing_is_left(
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let flights = Flights::new();
        // The last generation is the one that newcomers join.
        let mut generations = vec![Generation::default()];
        let mut next_value = 0;
        for op in ops {
            let current = generations.last_mut().unwrap();
            match op {
                Op::Join => match flights.join(0) {
                    Role::Leader(leader) => {
                        prop_assert!(!current.is_flying(), "two leaders at once");
                        generations.push(Generation { leader: Some(leader), ..Default::default() });
                    }
                    Role::Follower(wait) => {
                        prop_assert!(current.is_flying());
                        current.waits.push_back((task::spawn(wait), Due::Nothing));
                    }
                    other => prop_assert!(false, "{other:?}"),
                },
                Op::Complete => if let Some(leader) = current.leader.take() {
                    next_value += 1;
                    leader.complete(next_value);
                    current.waits.iter_mut().for_each(|(_, due)| *due = Due::Value(next_value));
                }
                Op::DropLeader => if let Some(leader) = current.leader.take() {
                    drop(leader);
                    current.promote();
                }
                Op::PanicLeader => if let Some(leader) = current.leader.take() {
                    let unwinds = std::panic::AssertUnwindSafe(|| {
                        let _leader = leader;
                        std::panic::resume_unwind(Box::new(()));
                    });
                    prop_assert!(std::panic::catch_unwind(unwinds).is_err());
                    current.promote();
                }
                Op::Poll(which) if !current.waits.is_empty() => {
                    let index = which.index(current.waits.len());
                    let (wait, due) = &mut current.waits[index];
                    match (wait.poll(), *due) {
                        (Poll::Pending, Due::Nothing) => continue,
                        (Poll::Ready(Waited::Value(value)), Due::Value(expected)) => {
                            prop_assert_eq!(value, expected);
                        }
                        (Poll::Ready(Waited::Promoted(leader)), Due::Promotion) => {
                            prop_assert!(current.leader.is_none(), "two leaders at once");
                            current.leader = Some(leader);
                        }
                        (found, due) => prop_assert!(false, "{due:?}, but {found:?}"),
                    }
                    current.waits.remove(index);
                }
                Op::Drop(which) if !current.waits.is_empty() => {
                    let (wait, due) = current.waits.remove(which.index(current.waits.len())).unwrap();
                    drop(wait);
                    if due == Due::Promotion {
                        current.promote();
                    }
                }
                Op::Forget => {
                    flights.forget(&0);
                    generations.push(Generation::default());
                }
                Op::Poll(_) | Op::Drop(_) => {}
            }
        }
        drop(generations);
        prop_assert!(flights.snapshot().is_idle());
    }
}

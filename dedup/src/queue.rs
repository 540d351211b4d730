//! The plain machine of those who wait for one flight.

use std::collections::VecDeque;
use std::task::Waker;

use tokio::time::Instant;

/// Who waits, in the order they came, and what they were told.
///
/// Whoever comes has a ticket, the next number, and is known here once he first looks or goes away: up to the highest of those everybody has a place, and
/// after it nobody has yet looked or gone.
///
/// ```text
///            promote            poll of the promoted
///  waiting ─────────► promoted ──────────────────────► (leads, no longer here)
///     │  ◄──── the promoted leaves: someone else ────┘
///     └─ publish ─► landed: everyone may read the value
/// ```
#[derive(Debug)]
pub(crate) struct Queue {
    /// By ticket. Of those who left, some places are kept, but never more than of those who are here.
    waiters: VecDeque<Place>,
    /// The ticket of the next who gets a place.
    next: u64,
    /// How many of those with a place are here.
    live: usize,
    promoted: Option<u64>,
    landed: bool,
    /// When the alarm goes off; never later than the first of those asleep gives up.
    alarm: Option<Instant>,
}

#[derive(Debug)]
struct Place {
    ticket: u64,
    /// `None` when it has left.
    waiter: Option<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    waker: Option<Waker>,
    deadline: Option<Instant>,
}

/// What a waiter finds when it looks.
#[derive(Debug)]
pub(crate) enum Found {
    /// The result is there.
    Landed,
    /// It leads now, and has left the queue.
    Promoted,
    /// It has waited long enough, and has left the queue.
    TimedOut,
    /// Nothing yet. It waits until then at most.
    Wait(Option<Instant>),
}

/// What an alarm brings about.
#[derive(Debug)]
pub(crate) struct Rung {
    /// The wakers of those whose time is over.
    pub(crate) due: Vec<Waker>,
    /// When it goes off next, for those who sleep on: it counts as set.
    pub(crate) next: Option<Instant>,
}

impl Queue {
    pub(crate) fn new() -> Self {
        Self {
            waiters: VecDeque::new(),
            next: 0,
            live: 0,
            promoted: None,
            landed: false,
            alarm: None,
        }
    }

    /// The holder of `ticket` has a place from now on, if he had none, and so has everybody before him. Who is to give up at some time has one from
    /// the beginning; the others get theirs as they first look, which saves each of them a lock.
    #[inline]
    pub(crate) fn seat(&mut self, ticket: u64, deadline: Option<Instant>) {
        while self.next <= ticket {
            let waiter = Waiter {
                waker: None,
                deadline,
            };
            self.waiters.push_back(Place {
                ticket: self.next,
                waiter: Some(waiter),
            });
            self.next += 1;
            self.live += 1;
        }
    }

    /// The holder of `ticket` looks what there is, at `now`. While there is nothing, `waker` is kept; the one it replaces is
    /// handed back, to be dropped outside the lock.
    pub(crate) fn look(
        &mut self,
        ticket: u64,
        waker: &Waker,
        now: impl FnOnce() -> Instant,
    ) -> (Found, Option<Waker>) {
        if self.landed {
            return (Found::Landed, None);
        }
        self.seat(ticket, None);
        if self.promoted == Some(ticket) {
            self.promoted = None;
            return (Found::Promoted, self.remove(ticket));
        }
        let Some(waiter) = self.waiter(ticket) else {
            return (Found::Wait(None), None);
        };
        if waiter.deadline.is_some_and(|deadline| deadline <= now()) {
            return (Found::TimedOut, self.remove(ticket));
        }
        (Found::Wait(waiter.deadline), waiter.sleep(waker))
    }

    /// The holder of `ticket` goes away. Tells whether it had been promoted: then someone else has to be.
    pub(crate) fn leave(&mut self, ticket: u64) -> (bool, Option<Waker>) {
        if self.landed {
            return (false, None);
        }
        self.seat(ticket, None);
        let promoted = self.promoted == Some(ticket);
        if promoted {
            self.promoted = None;
        }
        (promoted, self.remove(ticket))
    }

    /// Makes the one who came first of those with a ticket below `tickets` the leader. `None` when nobody is left; else the waker to wake it with, if it
    /// is asleep.
    pub(crate) fn promote(&mut self, tickets: u64) -> Option<Option<Waker>> {
        let unseated = (self.next < tickets).then_some(self.next);
        let first = self.first().or(unseated)?;
        self.promoted = Some(first);
        let front = self.waiters.front_mut();
        let waiter = front.and_then(|place| place.waiter.as_mut());
        Some(waiter.and_then(|waiter| waiter.waker.take()))
    }

    /// The result is there. Gives the wakers to wake, where they are: nobody needs a place any more.
    pub(crate) fn land(&mut self) -> impl Iterator<Item = Waker> + use<> {
        self.landed = true;
        self.live = 0;
        let waiters = std::mem::take(&mut self.waiters).into_iter();
        waiters.filter_map(|place| place.waiter?.waker)
    }

    /// Somebody falls asleep who waits until `deadline`. Tells when the alarm has to be set to, if it would go off too late for this one: then
    /// it counts as set.
    pub(crate) fn set_alarm(&mut self, deadline: Instant) -> Option<Instant> {
        if self.is_alarm_by(deadline) {
            return None;
        }
        self.alarm = Some(deadline);
        self.alarm
    }

    /// Whether the alarm is set to `deadline` still, and not to another time.
    pub(crate) fn is_alarm_at(&self, deadline: Instant) -> bool {
        self.alarm == Some(deadline)
    }

    /// The alarm goes off at `now`.
    pub(crate) fn ring(&mut self, now: Instant) -> Rung {
        // A runtime that shuts down lets its timers go off before their time. They cannot be set again.
        if self.alarm.is_some_and(|alarm| now < alarm) {
            return Rung {
                due: self.wake_all(),
                next: None,
            };
        }
        // They came in order and wait equally long: those whose time is over are in front.
        let due = self
            .here_mut()
            .take_while(|waiter| waiter.deadline.is_some_and(|deadline| deadline <= now))
            .filter_map(|waiter| waiter.waker.take())
            .collect();
        let here = self
            .waiters
            .iter()
            .filter_map(|place| place.waiter.as_ref());
        let asleep = here.filter(|waiter| waiter.waker.is_some());
        self.alarm = asleep.filter_map(|waiter| waiter.deadline).next();
        Rung {
            due,
            next: self.alarm,
        }
    }

    /// There is no alarm any more. Gives the wakers to wake: whoever falls asleep again sets it again.
    pub(crate) fn wake_all(&mut self) -> Vec<Waker> {
        self.alarm = None;
        self.here_mut()
            .filter_map(|waiter| waiter.waker.take())
            .collect()
    }

    fn is_alarm_by(&self, deadline: Instant) -> bool {
        self.alarm.is_some_and(|alarm| alarm <= deadline)
    }

    fn here_mut(&mut self) -> impl Iterator<Item = &mut Waiter> {
        let places = self.waiters.iter_mut();
        places.filter_map(|place| place.waiter.as_mut())
    }

    fn first(&self) -> Option<u64> {
        // `remove` keeps the front occupied.
        self.waiters.front().map(|place| place.ticket)
    }

    /// Where the holder of `ticket` is. As a rule nobody between it and the front has been cleared away.
    fn position(&self, ticket: u64) -> Option<usize> {
        let guess = ticket.checked_sub(self.first()?)? as usize;
        match self.waiters.get(guess) {
            Some(place) if place.ticket == ticket => Some(guess),
            _ => self
                .waiters
                .binary_search_by_key(&ticket, |place| place.ticket)
                .ok(),
        }
    }

    fn waiter(&mut self, ticket: u64) -> Option<&mut Waiter> {
        let at = self.position(ticket)?;
        self.waiters[at].waiter.as_mut()
    }

    fn remove(&mut self, ticket: u64) -> Option<Waker> {
        let at = self.position(ticket)?;
        let waiter = self.waiters[at].waiter.take()?;
        self.live -= 1;
        self.clear_away();
        waiter.waker
    }

    /// The front is somebody who is here, and there are no more empty places than others, or a few.
    fn clear_away(&mut self) {
        let is_empty = |place: &Place| place.waiter.is_none();
        while self.waiters.front().is_some_and(is_empty) {
            self.waiters.pop_front();
        }
        if self.waiters.len() > 2 * self.live + 16 {
            self.waiters.retain(|place| !is_empty(place));
        }
    }
}

impl Waiter {
    /// Keeps `waker`, and hands back the one that it replaces.
    fn sleep(&mut self, waker: &Waker) -> Option<Waker> {
        match &self.waker {
            Some(kept) if kept.will_wake(waker) => None,
            _ => self.waker.replace(waker.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(waiters: usize) -> Queue {
        let mut queue = Queue::new();
        queue.seat(waiters as u64 - 1, None);
        queue
    }

    fn look(queue: &mut Queue, ticket: u64) -> Found {
        queue.look(ticket, Waker::noop(), Instant::now).0
    }

    #[test]
    fn the_first_to_come_is_promoted_and_only_that_one() {
        let mut queue = queue(3);
        assert!(queue.promote(3).is_some());
        assert!(matches!(look(&mut queue, 1), Found::Wait(_)));
        assert!(matches!(look(&mut queue, 0), Found::Promoted));
        assert_eq!(queue.live, 2);
        assert!(matches!(look(&mut queue, 1), Found::Wait(_)));
    }

    #[test]
    fn who_was_promoted_and_leaves_says_so() {
        let mut queue = queue(2);
        queue.promote(2);
        assert!(queue.leave(0).0);
        queue.promote(2);
        assert!(matches!(look(&mut queue, 1), Found::Promoted));
        assert!(queue.promote(2).is_none(), "nobody is left");
    }

    #[test]
    fn who_has_not_looked_yet_is_promoted_too() {
        let mut queue = Queue::new();
        assert!(matches!(queue.promote(2), Some(None)), "nobody to wake");
        assert!(matches!(look(&mut queue, 1), Found::Wait(_)));
        assert!(matches!(look(&mut queue, 0), Found::Promoted));
        assert!(queue.promote(2).is_some());
        assert!(queue.leave(1).0, "it was its turn");
        assert!(queue.promote(2).is_none());
        assert!(queue.promote(3).is_some(), "another one has come");
        assert!(matches!(look(&mut queue, 2), Found::Promoted));
    }

    #[test]
    fn who_goes_before_he_has_looked_leaves_nothing() {
        let mut queue = Queue::new();
        assert!(!queue.leave(5).0);
        assert_eq!(
            (queue.live, queue.next),
            (5, 6),
            "those before him are here"
        );
        for ticket in 0..5 {
            assert!(!queue.leave(ticket).0);
        }
        assert_eq!((queue.live, queue.waiters.len()), (0, 0));
        assert!(queue.promote(6).is_none());
        assert_eq!(queue.land().count(), 0);
        assert!(!queue.leave(6).0);
        assert!(
            queue.waiters.is_empty(),
            "nobody gets a place in what is over"
        );
    }

    #[test]
    fn everyone_finds_that_it_has_landed() {
        let mut queue = queue(2);
        assert_eq!(queue.land().count(), 0, "nobody is asleep");
        for ticket in [0, 1] {
            assert!(matches!(look(&mut queue, ticket), Found::Landed));
        }
    }

    #[test]
    fn tickets_stay_right_when_others_leave() {
        let mut queue = queue(3);
        queue.leave(0);
        queue.leave(1);
        queue.seat(3, None);
        queue.promote(4);
        assert!(matches!(look(&mut queue, 2), Found::Promoted));
        assert_eq!(queue.live, 1);
    }

    #[test]
    fn those_who_left_behind_a_patient_one_cost_nothing() {
        let mut queue = queue(1);
        for pair in 0..10_000 {
            let (gone, stays) = (2 * pair + 1, 2 * pair + 2);
            queue.leave(gone);
            assert!(matches!(look(&mut queue, stays), Found::Wait(_)));
            queue.leave(stays);
            assert!(queue.waiters.len() < 20);
        }
        let last = queue.next;
        queue.leave(0);
        queue.promote(last + 1);
        assert!(matches!(look(&mut queue, last), Found::Promoted));
    }

    #[test]
    fn the_alarm_is_set_by_whoever_it_would_wake_too_late() {
        let mut queue = Queue::new();
        let soon = Instant::now() + std::time::Duration::from_secs(1);
        let later = soon + std::time::Duration::from_secs(1);
        let tickets = [0, 1, 2];
        for (ticket, deadline) in tickets.into_iter().zip([soon, later, later]) {
            queue.seat(ticket, Some(deadline));
        }
        assert_eq!(queue.set_alarm(later), Some(later), "the first sleeps not");
        assert_eq!(queue.set_alarm(later), None);
        assert_eq!(queue.set_alarm(soon), Some(soon));
        assert!(queue.is_alarm_at(soon) && !queue.is_alarm_at(later));
        let (found, _) = queue.look(tickets[2], Waker::noop(), || soon);
        assert!(matches!(found, Found::Wait(_)));
        let rung = queue.ring(soon);
        assert_eq!(
            rung.due.len(),
            0,
            "the first sleeps not, so nobody has to be woken"
        );
        assert_eq!(rung.next, Some(later), "for the third, who sleeps on");
        let (found, _) = queue.look(tickets[0], Waker::noop(), || soon);
        assert!(matches!(found, Found::TimedOut));
        assert_eq!(queue.set_alarm(later), None);
        assert_eq!(queue.ring(later).due.len(), 1);
    }

    #[test]
    fn an_alarm_before_its_time_wakes_everyone_and_is_not_set_again() {
        let mut queue = Queue::new();
        let now = Instant::now();
        let later = now + std::time::Duration::from_secs(1);
        queue.seat(0, Some(later));
        let _ = queue.look(0, Waker::noop(), || now);
        assert!(queue.set_alarm(later).is_some());
        let rung = queue.ring(now);
        assert_eq!((rung.due.len(), rung.next), (1, None));
        assert!(
            queue.set_alarm(later).is_some(),
            "whoever sleeps again sets it"
        );
    }
}

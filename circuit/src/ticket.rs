//! What a call was admitted with.

use crate::machine::GENERATION_BITS;

/// The number of its generation, whether it is one of those that are bounded in number, and when it began, if anybody asks: `[start: 42 | room: 1
/// | generation: 21]`.
///
/// One word and not three: with the breaker a permit then is two, which are moved in registers. A third has a permit written
/// and read back through memory a moment later, which costs more than all the rest of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Ticket(u64);

const ROOM: u64 = 1 << GENERATION_BITS;
const START_AT: u32 = GENERATION_BITS + 1;
const START_BITS: u32 = u64::BITS - START_AT;
const START_MASK: u64 = (1 << START_BITS) - 1;
/// Starts are kept in units of 256 ns, and so tell calls of up to six days apart. Longer ones take no time.
const UNIT_BITS: u32 = 8;

impl Ticket {
    /// No call has this one: a start is never so late.
    pub(crate) const TOLD: Self = Self(u64::MAX);

    #[inline]
    pub(crate) fn new(generation: u32) -> Self {
        debug_assert!(u64::from(generation) < ROOM);
        Self(generation.into())
    }

    #[inline]
    pub(crate) fn holding_room(self) -> Self {
        Self(self.0 | ROOM)
    }

    #[inline]
    pub(crate) fn starting(self, now: u64) -> Self {
        let start = ((now >> UNIT_BITS) & START_MASK).clamp(1, START_MASK - 1);
        Self(self.0 & (ROOM | (ROOM - 1)) | start << START_AT)
    }

    #[inline]
    pub(crate) fn generation(self) -> u32 {
        (self.0 & (ROOM - 1)) as u32
    }

    #[inline]
    pub(crate) fn holds_room(self) -> bool {
        self.0 & ROOM != 0
    }

    /// How long the call has been going on: too long by less than a unit. Zero where nobody asked when it began, and where the clock stepped back.
    #[inline]
    pub(crate) fn took(self, now: u64) -> u64 {
        let start = self.0 >> START_AT;
        let units = (now >> UNIT_BITS).wrapping_sub(start) & START_MASK;
        if start == 0 || units > START_MASK / 2 {
            return 0;
        }
        (units << UNIT_BITS) + now % (1 << UNIT_BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_gives_back_what_was_put_in() {
        for (generation, room) in [(0, false), (0, true), (ROOM as u32 - 1, false), (7, true)] {
            let new = Ticket::new(generation);
            let new = if room { new.holding_room() } else { new };
            for ticket in [new, new.starting(0), new.starting(u64::MAX)] {
                assert_eq!(
                    (ticket.generation(), ticket.holds_room()),
                    (generation, room)
                );
                assert_ne!(ticket, Ticket::TOLD);
            }
        }
    }

    #[test]
    fn times_are_too_long_by_less_than_two_units() {
        for start in [1 << UNIT_BITS, 1_234_567_891, (START_MASK - 1) << UNIT_BITS] {
            for took in [0, 1, 255, 256, 1_000_000, 86_400_000_000_000] {
                let measured = Ticket::new(3).starting(start).took(start + took);
                assert!(
                    measured >= took && measured < took + 512,
                    "{start} {took} {measured}"
                );
            }
        }
    }

    #[test]
    fn what_is_not_known_took_no_time() {
        assert_eq!(Ticket::new(3).took(u64::MAX), 0);
        let stepped_back = Ticket::new(3).starting(1 << 40);
        assert_eq!(stepped_back.took(1 << 39), 0);
    }
}

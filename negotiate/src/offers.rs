//! What a server can serve, and the choice among it.

use std::fmt;

use http::{HeaderMap, header};

use crate::accept::{BATCH, Say, judge};
use crate::offer::{InvalidOffer, Offer};
use crate::weight::QValue;

/// The media types that a server can serve, in its order of preference, each with a value of the server's own.
///
/// Parsed once; [`select`](Self::select) allocates nothing and is linear in the length of the field.
///
/// ```
/// use buttress_negotiate::Offers;
/// use http::{HeaderMap, header};
///
/// let offers = Offers::new([("application/json", 'j'), ("text/csv", 'c')])?;
/// let mut headers = HeaderMap::new();
/// headers.insert(header::ACCEPT, "text/*, application/json;q=0.5".parse()?);
/// let chosen = offers.select(&headers)?;
/// assert_eq!((*chosen.value(), chosen.media_type()), ('c', "text/csv"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Offers<T> {
    offers: Vec<Offer<T>>,
    tie_break: TieBreak,
    limits: Limits,
}

/// Which of several equally wanted offers is chosen. RFC 9110 leaves it open.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TieBreak {
    /// The one named most specifically; then the one named first; then the server's first. What Express does.
    #[default]
    SpecificityThenClient,
    /// The one named most specifically; then the server's first.
    SpecificityThenServer,
    /// The one named first, by a wildcard as well; then the server's first.
    Client,
    /// The server's first.
    Server,
}

/// How much of a field is read. A field over a limit counts as if it were not there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes of all its lines. Default: 8192.
    pub bytes: usize,
    /// Elements, malformed ones too. Default: 256.
    pub ranges: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 8192,
            ranges: 256,
        }
    }
}

impl<T> Offers<T> {
    /// Offers these media types, the server's favourite first.
    ///
    /// A parameter of an offer is needed only by a range that names it: `text/html;charset=utf-8` is served to whoever asks for
    /// `text/html`, and to whoever asks for `text/html;charset=utf-8`.
    ///
    /// # Errors
    ///
    /// A media type is malformed, has a wildcard, a parameter `q`, or more than 64 parameters.
    pub fn new<'a>(offers: impl IntoIterator<Item = (&'a str, T)>) -> Result<Self, InvalidOffer> {
        let offers = offers
            .into_iter()
            .map(|(media_type, value)| Offer::parse(media_type, value))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            offers,
            tie_break: TieBreak::default(),
            limits: Limits::default(),
        })
    }

    /// States how good the server's representation at `index` is (`qs`): the client's weight is multiplied by it. Zero is never
    /// chosen. Default: 1. An index without an offer changes nothing.
    #[must_use]
    pub fn quality(mut self, index: usize, quality: QValue) -> Self {
        if let Some(offer) = self.offers.get_mut(index) {
            offer.quality = quality;
        }
        self
    }

    pub(crate) fn quality_of(&self, index: usize) -> QValue {
        self.offers[index].quality
    }

    /// Decides between equally wanted offers.
    #[must_use]
    pub fn tie_break(mut self, tie_break: TieBreak) -> Self {
        self.tie_break = tie_break;
        self
    }

    /// Bounds how much of a field is read.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The offer that a request with these headers wants most (RFC 9110, section 12.5.1).
    ///
    /// Without `Accept`, or with an empty one, that is the server's first.
    ///
    /// # Errors
    ///
    /// The request wants none of them.
    #[inline]
    pub fn select(&self, headers: &HeaderMap) -> Result<Match<'_, T>, NotAcceptable> {
        self.select_lines(|| headers.get_all(header::ACCEPT).iter().map(|v| v.as_bytes()))
    }

    /// The same for a field that is one line.
    ///
    /// # Errors
    ///
    /// The field wants none of them.
    #[inline]
    pub fn select_field(&self, accept: &[u8]) -> Result<Match<'_, T>, NotAcceptable> {
        self.select_lines(|| std::iter::once(accept))
    }

    /// Every offer that is wanted at all, the most wanted first. Allocates the list.
    pub fn ranked(&self, headers: &HeaderMap) -> impl Iterator<Item = Match<'_, T>> {
        let lines = || headers.get_all(header::ACCEPT).iter().map(|v| v.as_bytes());
        let mut found = Vec::with_capacity(self.offers.len());
        self.for_each_wanted(lines, |rank, found_one| found.push((rank, found_one)));
        found.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
        found.into_iter().map(|(_, found)| found)
    }

    /// Every media type on offer, as the server wrote it, and its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.offers.iter().map(|o| (&*o.media_type, &o.value))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offers.len()
    }

    /// Whether there are none. Then nothing can be selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.offers.is_empty()
    }

    /// The server's favourite: the first of the highest quality.
    #[must_use]
    pub fn favourite(&self) -> Option<Match<'_, T>> {
        self.select_lines(std::iter::empty).ok()
    }

    #[inline]
    pub(crate) fn select_lines<'h, I>(
        &self,
        lines: impl Fn() -> I,
    ) -> Result<Match<'_, T>, NotAcceptable>
    where
        I: Iterator<Item = &'h [u8]>,
    {
        let (mut best, mut best_rank) = (None, 0);
        self.for_each_wanted(lines, |rank, found| {
            if rank > best_rank {
                (best, best_rank) = (Some(found), rank);
            }
        });
        best.ok_or(NotAcceptable)
    }

    #[inline]
    fn for_each_wanted<'s, 'h, I>(
        &'s self,
        lines: impl Fn() -> I,
        mut wanted: impl FnMut(u64, Match<'s, T>),
    ) where
        I: Iterator<Item = &'h [u8]>,
    {
        let mut index = 0;
        for batch in self.offers.chunks(BATCH) {
            let says = judge(batch, lines(), self.limits);
            for (offer, say) in batch.iter().zip(says) {
                let weight = say.weight();
                if let Some(rank) = self.tie_break.rank(offer.quality, say, index) {
                    wanted(
                        rank,
                        Match {
                            offer,
                            index,
                            weight,
                        },
                    );
                }
                index += 1;
            }
        }
    }
}

impl TieBreak {
    /// The greater, the better; `None`: not acceptable. Twenty bits of weight, then what breaks ties.
    #[inline]
    fn rank(self, quality: QValue, say: Say, index: usize) -> Option<u64> {
        let weight = u64::from(quality.thousandths()) * u64::from(say.weight().thousandths());
        let specificity = match self {
            Self::SpecificityThenClient | Self::SpecificityThenServer => say.specificity(),
            Self::Client | Self::Server => 0,
        };
        let early = match self {
            Self::SpecificityThenClient | Self::Client => say.earliness(),
            Self::SpecificityThenServer | Self::Server => 0,
        };
        let first = u16::MAX - u16::try_from(index).unwrap_or(u16::MAX);
        (weight > 0).then_some(
            weight << 44 | u64::from(specificity) << 32 | u64::from(early) << 16 | u64::from(first),
        )
    }
}

/// An offer, and how much it is wanted.
pub struct Match<'a, T> {
    offer: &'a Offer<T>,
    index: usize,
    weight: QValue,
}

impl<'a, T> Match<'a, T> {
    /// The media type, as the server wrote it.
    #[must_use]
    pub fn media_type(&self) -> &'a str {
        &self.offer.media_type
    }

    /// What the server keeps beside it.
    #[must_use]
    pub fn value(&self) -> &'a T {
        &self.offer.value
    }

    /// Its place among the offers.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// How much the client wants it, the server's quality left aside.
    #[must_use]
    pub fn weight(&self) -> QValue {
        self.weight
    }
}

impl<T> Clone for Match<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Match<'_, T> {}

impl<T: fmt::Debug> fmt::Debug for Match<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Match")
            .field("media_type", &self.media_type())
            .field("value", self.value())
            .field("weight", &self.weight)
            .finish_non_exhaustive()
    }
}

/// The client wants nothing of what is on offer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotAcceptable;

impl fmt::Display for NotAcceptable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing on offer is acceptable")
    }
}

impl std::error::Error for NotAcceptable {}

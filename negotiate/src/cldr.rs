//! Which language stands in for which, by the Unicode Common Locale Data Repository.

use icu_locale::fallback::LocaleFallbackIterator;
use icu_locale::{Locale, LocaleFallbacker};

/// The tags that a server has, and their normal forms.
pub(crate) struct Tags<'a>(Vec<(&'a str, String)>);

impl<'a> Tags<'a> {
    /// What is no language tag is left out.
    pub(crate) fn new(tags: impl Iterator<Item = &'a str>) -> Self {
        let normal = |tag| Some((tag, chain(tag)?.get().to_string()));
        Self(tags.filter_map(normal).collect())
    }

    /// The first that stands in for `range`: itself, or its parents in order. `None` for what is no language tag.
    pub(crate) fn closest(&self, range: &[u8]) -> Option<&'a str> {
        let mut chain = chain(std::str::from_utf8(range).ok()?)?;
        while !chain.get().is_unknown() {
            let now = chain.get().to_string();
            if let Some((tag, _)) = self.0.iter().find(|(_, normal)| *normal == now) {
                return Some(tag);
            }
            chain.step();
        }
        None
    }
}

/// A tag in its normal form, and then its parents.
fn chain(tag: &str) -> Option<LocaleFallbackIterator<'static>> {
    let locale: Locale = tag.parse().ok()?;
    let fallbacker = LocaleFallbacker::new().for_config(Default::default());
    Some(fallbacker.fallback_for(locale.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_served_what_its_readers_read() {
        for (range, tags, expected) in [
            ("zh-TW", &["zh", "zh-Hant"][..], Some("zh-Hant")),
            ("zh-HK", &["zh-Hans", "zh-Hant"], Some("zh-Hant")),
            ("zh-CN", &["zh-Hant", "zh-Hans"], Some("zh-Hans")),
            ("zh-Hant-TW", &["zh", "zh-TW"], Some("zh-TW")),
            ("en-AU", &["en", "en-001"], Some("en-001")),
            ("de-DE", &["DE"], Some("DE")),
            ("de", &["de-DE"], None),
            ("sr-Latn", &["sr"], None),
            ("*", &["de"], None),
            ("", &["de"], None),
        ] {
            let found = Tags::new(tags.iter().copied()).closest(range.as_bytes());
            assert_eq!(found, expected, "{range}");
        }
    }
}

//! Which language stands in for which, by the Unicode Common Locale Data Repository.

use icu_locale::fallback::LocaleFallbackIterator;
use icu_locale::{Locale, LocaleFallbacker};

/// The first of `tags` that stands in for `range`: itself, or its parents in order. `None` for what is no language tag.
pub(crate) fn closest<'a>(range: &[u8], tags: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut chain = chain(std::str::from_utf8(range).ok()?)?;
    let tags: Vec<(&str, String)> = tags
        .filter_map(|tag| Some((tag, self::chain(tag)?.get().to_string())))
        .collect();
    while !chain.get().is_unknown() {
        let now = chain.get().to_string();
        if let Some((tag, _)) = tags.iter().find(|(_, normal)| *normal == now) {
            return Some(tag);
        }
        chain.step();
    }
    None
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
            let found = closest(range.as_bytes(), tags.iter().copied());
            assert_eq!(found, expected, "{range}");
        }
    }
}

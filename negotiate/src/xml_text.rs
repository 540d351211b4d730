//! What XML 1.0 can hold: characters, and names.

/// Whether a document can have this character in it (section 2.2, `Char`).
pub(crate) const fn is_char(char: char) -> bool {
    matches!(char, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// Whether this is a name without a prefix, of which readers of every edition say so: letters, digits, `_`, `-`, `.` and `·`, the first a
/// letter or `_`. Letters are those of Latin, Greek, Cyrillic, Japanese, Chinese and Korean. The fourth edition and the fifth do not agree
/// on others.
pub(crate) fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    let goes_on = |c| starts_name(c) || matches!(c, '0'..='9' | '-' | '.' | '\u{b7}');
    chars.next().is_some_and(starts_name) && chars.all(goes_on)
}

const fn starts_name(char: char) -> bool {
    matches!(char,
        'A'..='Z' | 'a'..='z' | '_'
        | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{131}'
        | '\u{3a3}'..='\u{3ce}'
        | '\u{401}' | '\u{410}'..='\u{44f}' | '\u{451}'
        | '\u{3041}'..='\u{3094}' | '\u{30a1}'..='\u{30fa}'
        | '\u{4e00}'..='\u{9fa5}'
        | '\u{ac00}'..='\u{d7a3}')
}

/// Appends `text` as what stands between tags. What XML cannot hold becomes U+FFFD.
pub(crate) fn escape(text: &str, out: &mut Vec<u8>) {
    escape_by(text, out, |char| match char {
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '&' => Some("&amp;"),
        // A reader would take a bare one for a line feed (section 2.11).
        '\r' => Some("&#13;"),
        char => (!is_char(char)).then_some("\u{fffd}"),
    });
}

/// Appends `text` as the value of an attribute, between double quotes.
#[cfg(feature = "xml")]
pub(crate) fn escape_attribute(text: &str, out: &mut Vec<u8>) {
    escape_by(text, out, |char| match char {
        '<' => Some("&lt;"),
        '&' => Some("&amp;"),
        '"' => Some("&quot;"),
        // A reader would take them for spaces (section 3.3.3).
        '\t' => Some("&#9;"),
        '\n' => Some("&#10;"),
        '\r' => Some("&#13;"),
        char => (!is_char(char)).then_some("\u{fffd}"),
    });
}

fn escape_by(text: &str, out: &mut Vec<u8>, instead: impl Fn(char) -> Option<&'static str>) {
    let mut done = 0;
    for (at, char) in text.char_indices() {
        if let Some(instead) = instead(char) {
            out.extend_from_slice(&text.as_bytes()[done..at]);
            out.extend_from_slice(instead.as_bytes());
            done = at + char.len_utf8();
        }
    }
    out.extend_from_slice(&text.as_bytes()[done..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_for_every_reader() {
        for good in ["a", "_", "a-1.b", "größe", "名前", "Ω", "é\u{b7}"] {
            assert!(is_name(good), "{good:?}");
        }
        for bad in [
            "",
            "1",
            "-a",
            ".a",
            "a b",
            "a:b",
            ":",
            "@a",
            "$text",
            "a>",
            "\u{d7}",
            "a\u{132}",
            "\u{b7}a",
            "\u{10000}",
        ] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn text_is_text_and_an_attribute_stays_in_its_quotes() {
        let text = "a<b>&\"'\t\n\r\0\u{b}\u{fffe}\u{ffff}\u{1f600}";
        let mut out = Vec::new();
        escape(text, &mut out);
        let bad = "\u{fffd}".repeat(4);
        let expected = format!("a&lt;b&gt;&amp;\"'\t\n&#13;{bad}\u{1f600}");
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        #[cfg(feature = "xml")]
        {
            let mut out = Vec::new();
            escape_attribute(text, &mut out);
            let expected = format!("a&lt;b>&amp;&quot;'&#9;&#10;&#13;{bad}\u{1f600}");
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}

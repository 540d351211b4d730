//! What a link can ask for, without fields: `?format=csv`, and `/report.csv`.

use http::Uri;
use http::uri::{Parts, PathAndQuery};

/// The value of the first parameter called `name` in a query. Compared as it is sent: names of formats need no escapes.
pub(crate) fn in_query<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let pairs = uri.query()?.split('&');
    let mut named = pairs.filter_map(|pair| pair.split_once('='));
    named.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// What stands behind the last dot of the last segment of a path, if there is a name before it: dots alone, escaped ones too, mean another
/// place (RFC 3986, section 5.2.4).
pub(crate) fn in_path(uri: &Uri) -> Option<&str> {
    let (_, segment) = uri.path().rsplit_once('/')?;
    let (stem, extension) = segment.rsplit_once('.')?;
    (!is_dots(stem)).then_some(extension)
}

fn is_dots(stem: &str) -> bool {
    let without = stem.to_ascii_lowercase().replace("%2e", ".");
    without.bytes().all(|byte| byte == b'.')
}

/// The same without the extension, which [`in_path`] found: the name of the resource.
pub(crate) fn without_extension(uri: &Uri) -> Option<Uri> {
    let (path, _) = uri.path().rsplit_once('.')?;
    let path_and_query: PathAndQuery = match uri.query() {
        Some(query) => format!("{path}?{query}").try_into().ok()?,
        None => path.try_into().ok()?,
    };
    let mut parts = Parts::from(uri.clone());
    parts.path_and_query = Some(path_and_query);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_found_where_it_is_named() {
        for (uri, query, path) in [
            ("/a", None, None),
            ("/a?format=csv", Some("csv"), None),
            ("/a?x=1&format=csv&format=xml", Some("csv"), None),
            ("/a?xformat=csv&format", None, None),
            ("/a.csv", None, Some("csv")),
            ("/a.b/c", None, None),
            ("/a.b.csv?x=1.xml", None, Some("csv")),
            ("/.csv", None, None),
            ("/a/..csv", None, None),
            ("/a/...csv", None, None),
            ("/a/%2e.csv", None, None),
            ("/a/%2E%2e.csv", None, None),
            ("/a/%2e%2ea.csv", None, Some("csv")),
            ("/a.", None, Some("")),
            ("http://a.example/b.csv", None, Some("csv")),
            ("*", None, None),
        ] {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(in_query(&uri, "format"), query, "{uri}");
            assert_eq!(in_path(&uri), path, "{uri}");
        }
    }

    #[test]
    fn an_extension_is_taken_off_and_the_rest_stays() {
        for (uri, expected) in [
            ("/a.b/c.d.csv?x=y.z&q", "/a.b/c.d?x=y.z&q"),
            ("http://a.example:1/b.csv", "http://a.example:1/b"),
        ] {
            let uri: Uri = uri.parse().unwrap();
            assert_eq!(without_extension(&uri).unwrap(), expected);
        }
    }
}

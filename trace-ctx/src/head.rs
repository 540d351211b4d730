//! A request without its body: what policies look at.

use std::fmt;

use http::{Extensions, HeaderMap, Method, Request, Uri, Version};

/// A request without its body, borrowed: what policies look at. `Debug` shows neither a value of a field nor a query.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Head<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target. Its query may hold secrets.
    pub uri: &'a Uri,
    /// The HTTP version.
    pub version: Version,
    /// The header fields. Many hold secrets.
    pub headers: &'a HeaderMap,
    /// What outer layers and the server left.
    pub extensions: &'a Extensions,
}

impl<'a> Head<'a> {
    /// The head of this request.
    pub fn of<B>(request: &'a Request<B>) -> Self {
        Self {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
            extensions: request.extensions(),
        }
    }
}

impl fmt::Debug for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head")
            .field("method", &self.method)
            .field("path", &self.uri.path())
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown() {
        let request = Request::get("http://u:secret@a.example/p?sig=secret")
            .header("authorization", "secret")
            .body(())
            .unwrap();
        let shown = format!("{:?}", Head::of(&request));
        assert!(
            shown.contains("\"/p\"") && !shown.contains("secret"),
            "{shown}"
        );
    }
}

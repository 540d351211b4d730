use http::{Extensions, HeaderMap, Method, Request, Uri, Version};

/// A request without its body, borrowed: what policies look at.
#[derive(Clone, Copy, Debug)]
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

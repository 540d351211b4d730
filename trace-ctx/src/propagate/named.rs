//! Formats chosen by their names, when the program starts.

use std::error::Error;
use std::ffi::OsStr;
use std::{env, fmt};

use http::{HeaderMap, HeaderName};

use crate::{B3, Baggage, BaggageFields, Extracted, Jaeger, Propagator, TraceContext, W3c, XRay};

/// Propagators chosen when the program starts, by the names that OpenTelemetry gave them: `tracecontext`, `baggage`,
/// `b3`, `b3multi`, `jaeger`, `xray` and `none`.
///
/// Reads the first valid format in the order of the names, and writes them all.
#[must_use]
pub struct Propagators(Vec<Box<dyn Propagator>>);

/// A name that is not among those of [`Propagators`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPropagator(String);

impl Propagators {
    /// By the names in `OTEL_PROPAGATORS`; `tracecontext,baggage` where it is not set or empty.
    ///
    /// # Errors
    ///
    /// When a name is unknown. A service that silently lost its traces would be worse than one that does not start.
    pub fn from_env() -> Result<Self, UnknownPropagator> {
        Self::from_variable(&env::var_os("OTEL_PROPAGATORS").unwrap_or_default())
    }

    fn from_variable(names: &OsStr) -> Result<Self, UnknownPropagator> {
        // What is no text is no name that is known.
        match names.to_string_lossy().trim() {
            "" => Self::from_names("tracecontext,baggage"),
            names => Self::from_names(names),
        }
    }

    /// By these names, separated by commas. A name counts once; `none` with others says nothing.
    ///
    /// # Errors
    ///
    /// When a name is unknown.
    pub fn from_names(names: &str) -> Result<Self, UnknownPropagator> {
        let mut seen = Vec::new();
        let mut chosen = Vec::new();
        for name in names
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            if !seen.contains(&name) {
                seen.push(name);
                chosen.extend(by_name(name)?);
            }
        }
        Ok(Self(chosen))
    }
}

fn by_name(name: &str) -> Result<Option<Box<dyn Propagator>>, UnknownPropagator> {
    Ok(Some(match name {
        "tracecontext" => Box::new(W3c),
        "baggage" => Box::new(BaggageFields),
        "b3" => Box::new(B3::single()),
        "b3multi" => Box::new(B3::multi()),
        "jaeger" => Box::new(Jaeger),
        "xray" => Box::new(XRay),
        "none" => return Ok(None),
        unknown => return Err(UnknownPropagator(unknown.to_owned())),
    }))
}

impl Propagator for Propagators {
    fn extract(&self, headers: &HeaderMap) -> Extracted {
        self.0.iter().fold(Extracted::Nothing, |found, propagator| {
            found.or_else(|| propagator.extract(headers))
        })
    }

    fn inject(&self, context: &TraceContext, headers: &mut HeaderMap) {
        for propagator in &self.0 {
            propagator.inject(context, headers);
        }
    }

    fn baggage(&self, headers: &HeaderMap) -> Option<Baggage> {
        self.0
            .iter()
            .find_map(|propagator| propagator.baggage(headers))
    }

    fn fields(&self, visit: &mut dyn FnMut(&HeaderName)) {
        for propagator in &self.0 {
            propagator.fields(visit);
        }
    }

    fn refused(&self, headers: &HeaderMap, visit: &mut dyn FnMut(&HeaderName)) {
        for propagator in &self.0 {
            propagator.refused(headers, visit);
        }
    }
}

impl fmt::Debug for Propagators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = Vec::new();
        self.fields(&mut |name| names.push(name.clone()));
        f.debug_tuple("Propagators").field(&names).finish()
    }
}

impl fmt::Display for UnknownPropagator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no propagator is called {:?}", self.0)
    }
}

impl Error for UnknownPropagator {}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(variable: &OsStr) -> Option<usize> {
        let chosen = Propagators::from_variable(variable).ok()?;
        let mut count = 0;
        chosen.fields(&mut |_| count += 1);
        Some(count)
    }

    #[test]
    fn the_variable_is_a_list_of_names_or_nothing() {
        assert_eq!(fields(OsStr::new("")), Some(3), "trace context and baggage");
        assert_eq!(fields(OsStr::new(" ")), Some(3));
        assert_eq!(fields(OsStr::new("none")), Some(0));
        assert_eq!(fields(OsStr::new("xray, jaeger")), Some(2));
        assert_eq!(fields(OsStr::new("zipkin")), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_no_text_is_refused() {
        use std::os::unix::ffi::OsStrExt;
        assert_eq!(fields(OsStr::from_bytes(b"b3\xff")), None);
    }
}

//! The date, as a field says it (RFC 9110, section 5.6.7).

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use http::HeaderValue;

/// The last date that was written. It is written once per second, and not per response. A clone is the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Dates(Arc<Mutex<Option<Written>>>);

#[derive(Debug)]
struct Written {
    /// In seconds since 1970.
    at: u64,
    value: HeaderValue,
}

impl Dates {
    /// `None` for what no date can say.
    pub(super) fn value(&self, date: SystemTime) -> Option<HeaderValue> {
        let at = date.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
        // Nobody waits for what takes as long to write.
        let Ok(mut last) = self.0.try_lock() else {
            return write(date);
        };
        if last.as_ref().is_none_or(|last| last.at != at) {
            *last = write(date).map(|value| Written { at, value });
        }
        last.as_ref().map(|last| last.value.clone())
    }
}

fn write(date: SystemTime) -> Option<HeaderValue> {
    HeaderValue::try_from(httpdate::fmt_http_date(date)).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_second_has_its_own() {
        let dates = Dates::default();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (after, expected) in [
            (0, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (999, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (1000, "Sun, 06 Nov 1994 08:49:38 GMT"),
            (0, "Sun, 06 Nov 1994 08:49:37 GMT"),
        ] {
            let written = dates.value(start + Duration::from_millis(after));
            assert_eq!(written.unwrap(), expected);
        }
    }
}

//! A time as text, for log lines.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A time as `2026-11-20T23:57:29.123Z` (RFC 3339, 5.6). Times before 1970 are shown as its first moment.
pub(crate) struct Rfc3339(pub(crate) SystemTime);

impl Rfc3339 {
    /// The text. Digit by digit: a formatter takes many times as long, and each line has one of these.
    pub(crate) fn to_bytes(&self) -> [u8; 24] {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (year, month, day) = date(since.as_secs() / 86_400);
        let second = since.as_secs() % 86_400;
        let mut text = *b"0000-00-00T00:00:00.000Z";
        write(&mut text[..4], year.min(9999));
        write(&mut text[5..7], month);
        write(&mut text[8..10], day);
        write(&mut text[11..13], second / 3600);
        write(&mut text[14..16], second / 60 % 60);
        write(&mut text[17..19], second % 60);
        write(&mut text[20..23], since.subsec_millis().into());
        text
    }
}

/// As many digits as there is room for.
fn write(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// A time as `20/Nov/2026:23:57:29 +0000`, as access logs have it.
pub(crate) struct CommonTime(pub(crate) SystemTime);

impl fmt::Display for CommonTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let since = self
            .0
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let (year, month, day) = date(since / 86_400);
        let (hour, minute, second) = (since / 3600 % 24, since / 60 % 60, since % 60);
        let month = MONTHS[month as usize - 1];
        write!(
            f,
            "{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000"
        )
    }
}

/// The Gregorian date so many days after 1970-01-01.
///
/// Counts in years that begin in March, so that the leap day is the last of its year, and in eras of 400 years,
/// which all have the same number of days.
fn date(days_since_1970: u64) -> (u64, u64, u64) {
    const DAYS_PER_ERA: u64 = 146_097;
    const FROM_YEAR_0_TO_1970: u64 = 719_468;
    let days = days_since_1970 + FROM_YEAR_0_TO_1970;
    let (era, day_of_era) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
    let year_of_era = (day_of_era - leap_days) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn well_known_moments() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_000_000_000_000, "2001-09-09T01:46:40.000Z"),
            (1_234_567_890_123, "2009-02-13T23:31:30.123Z"),
            (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!(Rfc3339(time).to_bytes(), *text.as_bytes());
        }
    }

    #[test]
    fn each_day_of_eight_centuries_follows_the_one_before() {
        let is_leap =
            |y: u64| y.is_multiple_of(4) && !y.is_multiple_of(100) || y.is_multiple_of(400);
        let mut expected = (1970, 1, 1);
        for days in 0..800 * 366 {
            assert_eq!(date(days), expected);
            let (year, month, day) = expected;
            let last = match month {
                2 => 28 + u64::from(is_leap(year)),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            expected = match (month, day == last) {
                (12, true) => (year + 1, 1, 1),
                (_, true) => (year, month + 1, 1),
                (_, false) => (year, month, day + 1),
            };
        }
    }
}

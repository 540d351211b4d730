//! What is measured. Each piece of work is defined once, here.

pub mod cache;
pub mod circuit;
pub mod dedup;
pub mod fleeting;
pub mod http;
pub mod idempotency;
pub mod negotiate;
pub mod stack;
pub mod trace_ctx;

use crate::kit::Row;

/// Every row, in the order of the budgets.
#[must_use]
pub fn all() -> Vec<Row> {
    [
        circuit::ROWS,
        dedup::ROWS,
        idempotency::ROWS,
        cache::ROWS,
        cache::HTTP_ROWS,
        negotiate::ROWS,
        trace_ctx::ROWS,
        stack::ROWS,
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_line_has_a_name_that_no_row_has_and_one_for_each_path() {
        let rows = all();
        let ids: Vec<_> = rows.iter().map(Row::id).collect();
        for row in &rows {
            let Row::Call(call) = row else { continue };
            let bare = call.bare();
            assert!(!ids.contains(&&*bare), "{bare}");
            let (path, name) = bare.rsplit_once('/').expect("a path");
            assert!(name == "bare" || name.starts_with("bare-"), "{bare}");
            let of_path =
                |row: &Row| matches!(row, Row::Call(call) if call.bare() == format!("{path}/bare"));
            assert!(rows.iter().any(of_path), "{path} begins with `bare`");
        }
    }

    #[test]
    fn no_two_rows_have_the_same_name() {
        let mut ids: Vec<_> = all().iter().map(Row::id).collect();
        ids.sort_unstable();
        assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
    }
}

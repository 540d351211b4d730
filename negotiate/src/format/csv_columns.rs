//! The columns of a table as fields, and as fields of fields.

use csv::StringRecord;

/// A stranger must not choose how many columns there are, nor how deep fields nest.
const MAX_COLUMNS: usize = 256;
const MAX_FIELDS: usize = 512;
const MAX_DOTS: usize = 4;

/// A field of a record, or of a record in a record.
#[derive(Debug, PartialEq)]
pub(super) struct Field {
    pub(super) name: Box<str>,
    pub(super) place: Place,
}

/// Where the value of a field stands.
#[derive(Debug, PartialEq)]
pub(super) enum Place {
    /// In the cell at this index.
    Cell(usize),
    /// In several: it is a record.
    Record(Vec<Field>),
}

/// The fields that the columns of a header are: `place.city` is `city` of `place`. Built once, and walked for every record. A field stands
/// where the first of its columns does. `None`: there are too many, or they nest too deep.
pub(super) fn fields(header: &StringRecord) -> Option<Vec<Field>> {
    let is_deep = |name: &str| name.matches('.').count() > MAX_DOTS;
    if header.len() > MAX_COLUMNS || header.iter().any(is_deep) {
        return None;
    }
    let mut fields = Vec::new();
    let mut made = 0;
    for (at, name) in header.iter().enumerate() {
        made += insert(&mut fields, name, at);
    }
    (made <= MAX_FIELDS).then_some(fields)
}

/// Tells how many fields it made.
fn insert(fields: &mut Vec<Field>, name: &str, at: usize) -> usize {
    let Some((outer, inner)) = name.split_once('.') else {
        fields.push(Field::new(name, Place::Cell(at)));
        return 1;
    };
    for field in &mut *fields {
        if let Place::Record(inside) = &mut field.place
            && *field.name == *outer
        {
            return insert(inside, inner, at);
        }
    }
    let mut inside = Vec::new();
    let made = insert(&mut inside, inner, at);
    fields.push(Field::new(outer, Place::Record(inside)));
    made + 1
}

impl Field {
    fn new(name: &str, place: Place) -> Self {
        let name = name.into();
        Self { name, place }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &[&str]) -> Option<Vec<Field>> {
        fields(&StringRecord::from(header.to_vec()))
    }

    #[test]
    fn a_field_stands_where_its_first_column_does() {
        let cell = |name, at| Field::new(name, Place::Cell(at));
        let record = |name, inside| Field::new(name, Place::Record(inside));
        assert_eq!(
            of(&["p.a", "x", "p.q.b", "p.c", "p"]).unwrap(),
            [
                record(
                    "p",
                    vec![cell("a", 0), record("q", vec![cell("b", 2)]), cell("c", 3)]
                ),
                cell("x", 1),
                cell("p", 4),
            ]
        );
    }

    #[test]
    fn a_stranger_does_not_choose_how_many_there_are() {
        let names = |count: usize, prefix: &str| -> Vec<String> {
            (0..count).map(|at| format!("{prefix}{at}")).collect()
        };
        let made = |names: &[String]| of(&names.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(made(&names(256, "")).is_some());
        assert!(made(&names(257, "")).is_none());
        assert!(of(&["a.b.c.d.e"]).is_some());
        assert!(of(&["a.b.c.d.e.f"]).is_none());
        let own = |count: usize| -> Vec<String> {
            (0..count).map(|at| format!("{at}.a.b.c.d")).collect()
        };
        assert!(made(&own(102)).is_some());
        assert!(made(&own(103)).is_none(), "515 fields");
    }
}

//! Comma-separated values (RFC 4180), and the same with tabs.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::csv_write::Separated;
use super::table::{self, Table};
use super::{EncodeError, Format, Malformed, MediaType, Record, RowEncoder, csv_read};

/// CSV: `text/csv`, in UTF-8, with a header line, lines ended by CRLF.
///
/// It holds records and collections of records; a collection that is sent by [`Negotiated::rows`](crate::Negotiated::rows) or
/// [`Negotiated::stream`](crate::Negotiated::stream) has its header also when it is empty. Fields of nested structs and maps are columns
/// called `outer.inner`. `None`, `()` and numbers that are none are empty cells. A list in a cell is an error, and so is a field
/// without a column. An empty collection that is sent by [`Negotiated::reply`](crate::Negotiated::reply) is an empty body: nobody knows its
/// columns.
///
/// A string that a spreadsheet would take for a formula is led by an apostrophe; so is what follows a comma, a semicolon, a tab or a line
/// break in it, where that would be one for a spreadsheet that separates cells by that. Numbers are left as they are.
///
/// What is read is a sequence of records, whose columns are named by the first line; or one record, where a struct or a map is asked for.
/// An empty cell is `None` where that is possible; apostrophes are kept. There are at most 256 columns, with at most four dots in a name,
/// and at most 512 fields; read into maps, names and entries may come to 64 times the body and a MiB. A quoted cell that does not end
/// before the body does is an error, and so are numbers that are none.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Csv {
    defend: bool,
}

/// TSV: `text/tab-separated-values`. Everything else is as in [`Csv`]: a cell with a tab, a quote or a line break in it is quoted, which is
/// what spreadsheets write and read.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Tsv {
    defend: bool,
}

macro_rules! separated {
    ($format:ident, $delimiter:literal, $name:literal, $essence:literal) => {
        impl $format {
            /// With formulas defused.
            pub const fn new() -> Self {
                Self { defend: true }
            }

            /// Leaves strings that start like a formula as they are, for files that no spreadsheet will ever open.
            pub const fn with_dangerous_formulas(self) -> Self {
                Self { defend: false }
            }
        }

        impl Default for $format {
            fn default() -> Self {
                Self::new()
            }
        }

        impl Format for $format {
            type Rows = CsvRows;

            fn name(&self) -> &'static str {
                $name
            }

            fn media_types(&self) -> &'static [MediaType] {
                const {
                    &[MediaType::new(concat!(
                        $essence,
                        ";charset=utf-8;header=present"
                    ))]
                }
            }

            fn encode<T: Serialize + ?Sized>(
                &self,
                value: &T,
                out: &mut Vec<u8>,
            ) -> Result<(), EncodeError> {
                table::encode(value, Separated::new($delimiter, self.defend), out)
            }

            fn rows(&self, columns: &'static [&'static str]) -> CsvRows {
                CsvRows {
                    table: Table::new(columns, Separated::new($delimiter, self.defend)),
                }
            }

            fn is_file(&self) -> bool {
                true
            }

            fn reads(&self) -> &'static [&'static str] {
                &[$essence]
            }

            fn decode<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Malformed> {
                csv_read::decode(body, $delimiter)
            }
        }
    };
}

separated!(Csv, b',', "csv", "text/csv");
separated!(Tsv, b'\t', "tsv", "text/tab-separated-values");

/// Writes a header, and a line for each record.
#[derive(Debug)]
pub struct CsvRows {
    table: Table<Separated>,
}

impl RowEncoder for CsvRows {
    fn begin(&mut self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.table.header(out);
        Ok(())
    }

    fn row<T: Record>(&mut self, row: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.table.write_record(row, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv<T: Serialize + ?Sized>(value: &T) -> Result<String, EncodeError> {
        let mut out = Vec::new();
        Csv::new().encode(value, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[track_caller]
    fn check<T: Serialize + ?Sized>(value: &T, expected: &str) {
        assert_eq!(csv(value).unwrap(), expected);
    }

    #[derive(Clone, Default, Serialize)]
    struct Row {
        name: String,
        units: Option<i32>,
        place: Option<Place>,
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<&'static str>,
    }

    #[derive(Clone, Serialize)]
    struct Place {
        city: &'static str,
        at: f64,
    }

    impl Record for Row {
        const COLUMNS: &'static [&'static str] =
            &["units", "name", "place.city", "place.at", "note"];
    }

    fn row() -> Row {
        Row {
            name: "a".into(),
            units: Some(-1),
            place: Some(Place {
                city: "Rome",
                at: 0.5,
            }),
            note: None,
        }
    }

    #[test]
    fn records_have_a_header_and_nested_ones_are_flattened() {
        let bare = Row {
            note: Some("x"),
            ..Row::default()
        };
        check(
            &row(),
            "name,units,place.city,place.at\r\na,-1,Rome,0.5\r\n",
        );
        check(
            &[bare, row()],
            "name,units,note,place.city,place.at\r\n,,x,,\r\na,-1,,Rome,0.5\r\n",
        );
        check(
            &serde_json::json!({"b": 1, "a": {"c": true}}),
            "a.c,b\r\ntrue,1\r\n",
        );
    }

    #[test]
    fn a_collection_has_its_columns_also_when_it_is_empty() {
        let write = |rows: &[Row]| {
            let (mut encoder, mut out) = (Csv::new().rows(Row::COLUMNS), Vec::new());
            encoder.begin(&mut out).unwrap();
            rows.iter()
                .for_each(|row| encoder.row(row, &mut out).unwrap());
            encoder.end(&mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let header = "units,name,place.city,place.at,note\r\n";
        assert_eq!(write(&[]), header);
        assert_eq!(
            write(&[row(), Row::default()]),
            format!("{header}-1,a,Rome,0.5,\r\n,,,,\r\n")
        );
    }

    #[test]
    fn strings_are_quoted_and_formulas_defused_but_numbers_are_numbers() {
        let cell = |text: &str| {
            csv(&[[("c", text)]
                .into_iter()
                .collect::<std::collections::BTreeMap<_, _>>()])
            .unwrap()
        };
        for (text, expected) in [
            ("plain", "plain"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\r\nlines", "\"two\r\nlines\""),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@x", "'@x"),
            ("\tx", "\"'\tx\""),
            ("\rx", "\"'\rx\""),
            ("＝1", "'＝1"),
            ("a=1", "a=1"),
            ("", "\"\""),
        ] {
            assert_eq!(cell(text), format!("c\r\n{expected}\r\n"), "{text:?}");
        }
        check(
            &serde_json::json!({"n": -1, "f": -0.25}),
            "f,n\r\n-0.25,-1\r\n",
        );
        check(&serde_json::json!({"=x": 1}), "'=x\r\n1\r\n");
    }

    #[test]
    fn every_kind_of_text_is_defused_and_numbers_that_are_none_are_not_there() {
        #[derive(Serialize)]
        enum Kind {
            #[serde(rename = "=Named")]
            Named,
        }
        #[derive(Serialize)]
        struct Odd {
            char: char,
            kind: Kind,
            some: Option<&'static str>,
            nan: f64,
            infinite: f32,
            unit: (),
            small: f32,
        }
        impl Record for Odd {
            const COLUMNS: &'static [&'static str] =
                &["char", "kind", "some", "nan", "infinite", "unit", "small"];
        }
        let odd = Odd {
            char: '@',
            kind: Kind::Named,
            some: Some("+"),
            nan: f64::NAN,
            infinite: f32::NEG_INFINITY,
            unit: (),
            small: 0.5,
        };
        let expected = "char,kind,some,nan,infinite,unit,small\r\n'@,'=Named,'+,,,,0.5\r\n";
        check(&odd, expected);
        let mut out = Vec::new();
        let mut rows = Csv::new().rows(Odd::COLUMNS);
        rows.begin(&mut out).unwrap();
        rows.row(&odd, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_collection_of_which_nothing_is_known_is_nothing() {
        check::<[Row]>(&[], "");
        check(&serde_json::json!({}), "");
    }

    #[test]
    fn a_record_has_no_two_fields_of_one_name_and_none_without_a_column() {
        struct Twice(&'static [&'static str]);
        impl Serialize for Twice {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeStruct;
                let mut fields = serializer.serialize_struct("Twice", 2)?;
                for name in self.0 {
                    fields.serialize_field(name, &1)?;
                }
                fields.end()
            }
        }
        impl Record for Twice {
            const COLUMNS: &'static [&'static str] = &["a", "b"];
        }
        let written = |names| {
            let mut out = Vec::new();
            let written = Csv::new().rows(Twice::COLUMNS).row(&Twice(names), &mut out);
            written.map(|()| String::from_utf8(out).unwrap()).ok()
        };
        assert_eq!(written(&["b", "a"]).as_deref(), Some("1,1\r\n"));
        assert_eq!(written(&["b"]).as_deref(), Some(",1\r\n"));
        assert_eq!(written(&["a", "a"]), None);
        assert_eq!(written(&["c"]), None);
    }

    #[test]
    fn many_columns_are_found_by_name() {
        let keys: std::collections::BTreeMap<String, u32> = (0..20_000)
            .map(|at| (format!("key{at}.inner"), at))
            .collect();
        let line = csv(&keys).unwrap();
        assert_eq!(line.matches(',').count(), 2 * 19_999);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        struct Bytes;
        impl Serialize for Bytes {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(b"1")
            }
        }
        assert!(csv(&std::collections::BTreeMap::from([("a", Bytes)])).is_err());
        let refused = |value: serde_json::Value| csv(&value).is_err();
        assert!(refused(serde_json::json!(1)));
        assert!(refused(serde_json::json!([1, 2])));
        assert!(refused(serde_json::json!([[1], [2]])));
        assert!(refused(serde_json::json!({"list": [1]})));
        assert!(refused(serde_json::json!({"a": {"b": 1}, "a.b": 2})));
        assert!(refused(serde_json::json!([{"a": 1}, {"a": {"b": 2}}])));
    }
}

//! What is written can be read, whatever the text.

use buttress_negotiate::{
    Cbor, Csv, Format, Html, Json, JsonSeq, Markdown, MessagePack, NdJson, Record, RowEncoder,
    Text, Tsv, Xml,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Row {
    text: String,
    number: i64,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let text = prop_oneof![
        any::<String>(),
        "[=+@;\t\r\n\u{0}\u{b}\u{fffe}\",'a<>&\\]-]{0,8}"
    ];
    let row = (text, any::<i64>()).prop_map(|(text, number)| Row { text, number });
    proptest::collection::vec(row, 1..5)
}

/// With all that may be absent.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Deep {
    number: Option<i32>,
    truth: bool,
    #[serde(default)]
    tags: Vec<u8>,
    inner: Option<Inner>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Inner {
    size: Size,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
enum Size {
    Small,
    Large,
}

fn encoded_len(row: &Row) -> usize {
    let mut out = Vec::new();
    MessagePack.encode(row, &mut out).unwrap();
    out.len()
}

fn encoded(format: &impl Format, rows: &[Row]) -> Vec<u8> {
    let mut out = Vec::new();
    format.encode(rows, &mut out).unwrap();
    out
}

impl Record for Row {
    const COLUMNS: &'static [&'static str] = &["text", "number"];
}

/// Record by record, as a stream is written.
fn as_rows(format: &impl Format, rows: &[Row]) -> Vec<u8> {
    let (mut encoder, mut out) = (format.rows(Row::COLUMNS), Vec::new());
    encoder.begin(&mut out).unwrap();
    rows.iter()
        .for_each(|row| encoder.row(row, &mut out).unwrap());
    encoder.end(&mut out).unwrap();
    out
}

/// What XML can hold.
fn legal(text: &str) -> String {
    let legal = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    text.chars()
        .map(|c| if legal(c) { c } else { '\u{fffd}' })
        .collect()
}

proptest! {
    #[test]
    fn what_a_format_writes_it_reads(rows in rows()) {
        fn there_and_back(format: &impl Format, rows: &[Row]) {
            let back: Vec<Row> = format.decode(&encoded(format, rows)).unwrap();
            assert_eq!(back, rows);
            let one: Row = rows[0].clone();
            let mut out = Vec::new();
            format.encode(&[&one], &mut out).unwrap();
            assert_eq!(format.decode::<Vec<Row>>(&out).unwrap(), [one]);
        }
        there_and_back(&Json, &rows);
        there_and_back(&NdJson::new(), &rows);
        there_and_back(&JsonSeq, &rows);
        there_and_back(&Cbor, &rows);
        there_and_back(&MessagePack, &rows);
        let back: Vec<Row> = Json.decode(&as_rows(&Json, &rows)).unwrap();
        prop_assert_eq!(&back, &rows);
        let back: Vec<Row> = Cbor.decode(&as_rows(&Cbor, &rows)).unwrap();
        prop_assert_eq!(&back, &rows);
        let legal: Vec<Row> = rows.iter().map(|row| Row { text: legal(&row.text), ..row.clone() }).collect();
        let xml = Xml::root("all").item("one");
        for written in [encoded(&xml, &rows), as_rows(&xml, &rows)] {
            let back: Vec<Row> = xml.decode(&written).unwrap();
            prop_assert_eq!(&back, &legal);
        }
    }

    #[test]
    fn what_is_no_collection_is_read_as_it_was_written(
        row in rows().prop_map(|mut rows| rows.remove(0)),
        number: Option<i32>,
        truth: bool,
        tags in proptest::collection::vec(any::<u8>(), 0..3),
    ) {
        fn there_and_back<T>(format: &impl Format, value: &T) -> Result<(), TestCaseError>
        where
            T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
        {
            let mut out = Vec::new();
            format.encode(value, &mut out).unwrap();
            prop_assert_eq!(&format.decode::<T>(&out).unwrap(), value, "{}", format.name());
            Ok(())
        }
        macro_rules! all {
            ($value:expr, $($format:expr),*) => {
                $(there_and_back(&$format, $value)?;)*
            };
        }
        let (lines, xml) = (NdJson::new(), Xml::root("all"));
        all!(&row, Json, lines, JsonSeq, Cbor, MessagePack);
        all!(&row, Csv::new().with_dangerous_formulas(), Tsv::new().with_dangerous_formulas());
        all!(&Row { text: legal(&row.text), ..row.clone() }, xml);
        let deep = Deep { number, truth, tags, inner: Some(Inner { size: Size::Large }) };
        all!(&deep, Json, lines, JsonSeq, Cbor, MessagePack, xml);
        all!(&Deep { inner: None, ..deep.clone() }, Json, lines, JsonSeq, Cbor, MessagePack, xml);
        all!(&row.text, Json, lines, JsonSeq, Cbor, MessagePack);
        all!(&number, Json, lines, JsonSeq, Cbor, MessagePack);
        all!(&truth, Json, lines, JsonSeq, Cbor, MessagePack, xml);
        all!(&Size::Small, Json, lines, JsonSeq, Cbor, MessagePack);
        all!(&(row.number, truth), Json, lines, JsonSeq, Cbor, MessagePack);
    }

    #[test]
    fn other_libraries_read_the_binary_formats(rows in rows()) {
        for cbor in [encoded(&Cbor, &rows), as_rows(&Cbor, &rows)] {
            let back: Vec<Row> = cbor4ii::serde::from_slice(&cbor).unwrap();
            prop_assert_eq!(&back, &rows);
        }
        let back: Vec<Row> = messagepack_serde::from_slice(&encoded(&MessagePack, &rows)).unwrap();
        prop_assert_eq!(&back, &rows);
        let mut rest = &as_rows(&MessagePack, &rows)[..];
        for row in &rows {
            let back: Row = messagepack_serde::from_slice(rest).unwrap();
            prop_assert_eq!(&back, row);
            rest = &rest[encoded_len(row)..];
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn no_text_is_ever_markup(rows in rows()) {
        let page = String::from_utf8(as_rows(&Html::title("All"), &rows)).unwrap();
        let tags = page.split('<').skip(1).map(|rest| rest.split_once('>').unwrap().0);
        let known = ["!DOCTYPE html", "html", "head", "meta charset=\"utf-8\"", "title", "body", "table",
            "thead", "tbody", "tr", "td", "th scope=\"col\""];
        for tag in tags {
            prop_assert!(known.contains(&tag.trim_start_matches('/')) || tag == "/th", "{}", tag);
        }
        prop_assert_eq!(page.matches("<tr>").count(), rows.len() + 1);
        let table = String::from_utf8(as_rows(&Markdown, &rows)).unwrap();
        prop_assert_eq!(table.lines().filter(|line| line.starts_with("| ")).count(), rows.len() + 2);
        prop_assert!(!table.replace("<br>", "").contains('<'));
        let text = String::from_utf8(as_rows(&Text, &rows)).unwrap();
        prop_assert_eq!(text.split('\n').filter(|line| line.starts_with("text: ")).count(), rows.len());
    }

    #[test]
    fn tabs_separate_as_commas_do(rows in rows()) {
        let mut reader = csv::ReaderBuilder::new();
        reader.delimiter(b'\t');
        let raw = encoded(&Tsv::new().with_dangerous_formulas(), &rows);
        prop_assert_eq!(&Tsv::new().decode::<Vec<Row>>(&raw).unwrap(), &rows);
        let commas = as_rows(&Csv::new().with_dangerous_formulas(), &rows);
        prop_assert_eq!(&Csv::new().decode::<Vec<Row>>(&commas).unwrap(), &rows);
        let back: Vec<Row> = reader.from_reader(&raw[..]).deserialize().map(Result::unwrap).collect();
        prop_assert_eq!(back, rows);
    }

    #[test]
    fn json_reads_back(rows in rows()) {
        let back: Vec<Row> = serde_json::from_slice(&encoded(&Json, &rows)).unwrap();
        prop_assert_eq!(back, rows);
    }

    #[test]
    fn csv_reads_back_and_no_text_starts_a_formula(rows in rows()) {
        let out = encoded(&Csv::new(), &rows);
        let back: Vec<Row> = csv::Reader::from_reader(&out[..]).deserialize().map(Result::unwrap).collect();
        prop_assert_eq!(back.len(), rows.len());
        for (back, row) in back.iter().zip(&rows) {
            prop_assert_eq!(back.number, row.number);
            let plain = |text: &str| text.replace('\'', "");
            prop_assert_eq!(plain(&back.text), plain(&row.text));
            prop_assert!(!back.text.starts_with(['\t', '\r']));
            // Nor for who separates cells by something else.
            for cell in back.text.split([',', ';', '\t', '\r', '\n']) {
                prop_assert!(!cell.trim_start().starts_with(['=', '+', '-', '@']), "{}", cell);
            }
        }
        let raw = encoded(&Csv::new().with_dangerous_formulas(), &rows);
        let back: Vec<Row> = csv::Reader::from_reader(&raw[..]).deserialize().map(Result::unwrap).collect();
        prop_assert_eq!(back, rows);
    }

    #[test]
    fn xml_is_well_formed_and_reads_back(rows in rows()) {
        let legal = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
        let out = String::from_utf8(encoded(&Xml::root("all"), &rows)).unwrap();
        prop_assert!(out.chars().all(legal));
        let mut reader = quick_xml::Reader::from_str(&out);
        while reader.read_event().unwrap() != quick_xml::events::Event::Eof {}
        let texts = out.split("<text>").skip(1).map(|rest| rest.split_once("</text>").unwrap().0);
        let empty = out.matches("<text/>").count();
        let written: Vec<_> = texts.map(|t| quick_xml::escape::unescape(t).unwrap().into_owned()).collect();
        let expected = rows.iter().filter(|row| !row.text.is_empty());
        let expected: Vec<String> = expected
            .map(|row| row.text.chars().map(|c| if legal(c) { c } else { '\u{fffd}' }).collect())
            .collect();
        prop_assert_eq!(written, expected);
        prop_assert_eq!(empty, rows.iter().filter(|row| row.text.is_empty()).count());
    }
}

//! What is written can be read, whatever the text.

use buttress_negotiate::{Csv, Format, Json, Xml};
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
        "[=+@\t\r\n\u{0}\u{b}\u{fffe}\",'a<>&\\]-]{0,8}"
    ];
    let row = (text, any::<i64>()).prop_map(|(text, number)| Row { text, number });
    proptest::collection::vec(row, 1..5)
}

fn encoded(format: &impl Format, rows: &[Row]) -> Vec<u8> {
    let mut out = Vec::new();
    format.encode(rows, &mut out).unwrap();
    out
}

proptest! {
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
            let defused = format!("'{}", row.text);
            prop_assert!([&row.text, &defused].contains(&&back.text));
            prop_assert!(!back.text.starts_with(['=', '+', '-', '@', '\t', '\r']));
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

//! What other programs make of what is written. They are asked where Python is there.

use std::io::Write;
use std::process::{Command, Stdio};

use buttress_negotiate::{Csv, Format, Record, RowEncoder, Tsv, Xml};
use serde::Serialize;
use serde_json::{Value, json};

#[derive(Clone, Serialize)]
struct Row {
    text: String,
    number: i64,
    place: Option<Place>,
}

#[derive(Clone, Serialize)]
struct Place {
    city: &'static str,
}

impl Record for Row {
    const COLUMNS: &'static [&'static str] = &["text", "number", "place.city"];
}

const TEXTS: [&str; 13] = [
    "plain",
    "a,b;c\td",
    "say \"hi\", 'you'",
    "two\r\nlines",
    "\nstarts with one",
    "=1+1",
    " spaces ",
    "",
    "<a>&amp;]]></a><!-- -->",
    "nul\0 bell\u{7} esc\u{1b} \u{fffe}\u{ffff}",
    "\u{feff}caf\u{e9} \u{1f600} \u{2028}",
    "cr\rlf\n",
    "-- \u{85}next",
];

fn rows() -> Vec<Row> {
    let places = [
        Some(Place {
            city: "Z\u{fc}rich",
        }),
        None,
    ];
    let texts = TEXTS.iter().zip(places.iter().cycle());
    texts
        .enumerate()
        .map(|(number, (text, place))| Row {
            text: (*text).to_owned(),
            number: -(number as i64),
            place: place.clone(),
        })
        .collect()
}

fn written(format: &impl Format) -> Vec<u8> {
    let (mut encoder, mut out) = (format.rows(Row::COLUMNS), Vec::new());
    encoder.begin(&mut out).unwrap();
    rows()
        .iter()
        .for_each(|row| encoder.row(row, &mut out).unwrap());
    encoder.end(&mut out).unwrap();
    out
}

/// What a Python program prints, as JSON, that is given `input`. `None`: there is no Python.
fn python(program: &str, input: &[u8]) -> Option<Value> {
    let started = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        let mut note = std::io::stderr();
        writeln!(note, "skipped: python3, the other reader, is not there").unwrap();
        return None;
    };
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the other reader refuses it");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn table(defused: bool) -> Value {
    let mut lines = vec![json!(["text", "number", "place.city"])];
    lines.extend(rows().iter().map(|row| {
        let starts = row.text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
        let defuse = if defused && starts { "'" } else { "" };
        let city = row.place.as_ref().map_or("", |place| place.city);
        json!([
            format!("{defuse}{}", row.text),
            row.number.to_string(),
            city
        ])
    }));
    Value::Array(lines)
}

#[test]
fn pythons_csv_reads_the_cells_that_were_written() {
    let program = |dialect: &str| {
        format!(
            "import csv, io, json, sys\n\
             text = io.TextIOWrapper(sys.stdin.buffer, encoding='utf-8', newline='')\n\
             print(json.dumps(list(csv.reader(text, dialect='{dialect}', strict=True))))"
        )
    };
    for (dialect, bytes, defused) in [
        ("excel", written(&Csv::new()), true),
        (
            "excel",
            written(&Csv::new().with_dangerous_formulas()),
            false,
        ),
        ("excel-tab", written(&Tsv::new()), true),
    ] {
        let Some(found) = python(&program(dialect), &bytes) else {
            return;
        };
        assert_eq!(found, table(defused), "{dialect}");
    }
}

#[test]
fn pythons_expat_reads_the_elements_that_were_written() {
    let program = "import json, sys\n\
         import xml.etree.ElementTree as tree\n\
         root = tree.fromstring(sys.stdin.buffer.read())\n\
         print(json.dumps([root.tag, [[e.tag, [[c.tag, c.text or ''] for c in e if not len(c)]] for e in root]]))";
    let bytes = written(&Xml::root("all").item("one"));
    let Some(found) = python(program, &bytes) else {
        return;
    };
    let legal = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    let elements = rows().into_iter().map(|row| {
        let text: String = row
            .text
            .chars()
            .map(|c| if legal(c) { c } else { '\u{fffd}' })
            .collect();
        let mut fields = vec![
            json!(["text", text]),
            json!(["number", row.number.to_string()]),
        ];
        if row.place.is_none() {
            fields.push(json!(["place", ""]));
        }
        json!(["one", fields])
    });
    assert_eq!(found, json!(["all", elements.collect::<Vec<_>>()]));
}

//! What other programs make of what is written. They are asked where Python is there.

use std::io::Write;
use std::process::{Command, Stdio};

use buttress_negotiate::{Csv, Format, Json, JsonSeq, NdJson, Record, RowEncoder, Tsv, Xml};
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
        let number = row.number.to_string();
        json!(["one", [["text", text], ["number", number]]])
    });
    assert_eq!(found, json!(["all", elements.collect::<Vec<_>>()]));
}

/// Values of every kind that `serde` knows.
#[derive(Serialize)]
enum Kind {
    Unit,
    New(Value),
    Items(Vec<u8>),
    Pair(u8, char),
    Record { kind: Option<Box<Kind>> },
}

#[test]
fn pythons_expat_finds_one_root_whatever_the_value_is() {
    fn written<T: Serialize>(value: T) -> Option<String> {
        let mut out = Vec::new();
        let encoded = Xml::root("all").item("one").encode(&value, &mut out);
        encoded.ok().map(|()| String::from_utf8(out).unwrap())
    }
    let mut documents = vec![
        written(Kind::Unit),
        written(Kind::New(json!({"a": [1, [2], []]}))),
        written(Kind::Items(vec![1, 2])),
        written(Kind::Items(vec![])),
        written(Kind::Pair(1, '&')),
        written([Kind::Record {
            kind: Some(Box::new(Kind::New(json!(null)))),
        }]),
        written(None::<u8>),
        written(()),
        written((1, "a", [f64::NAN])),
    ];
    for value in [
        json!(null),
        json!("]]>"),
        json!([[1, 2], [], [3]]),
        json!({}),
        json!({"a": {"b": [{}, null]}}),
    ] {
        documents.push(written(value));
    }
    assert!(documents.iter().all(Option::is_some));
    // Any character may be a key: it is refused, or it is a name for everyone.
    let keys = (0..0x3000).chain((0x3000..0x11_0000).step_by(97));
    let edges = [
        0x3094, 0x3095, 0x30fa, 0x30fb, 0x9fa5, 0x9fa6, 0xac00, 0xd7a3, 0x10000,
    ];
    for key in keys.chain(edges).filter_map(char::from_u32) {
        for name in [key.to_string(), format!("a{key}")] {
            documents.push(written(std::collections::BTreeMap::from([(name, 1)])));
        }
    }
    let documents: Vec<String> = documents.into_iter().flatten().collect();
    assert!(documents.len() > 1000);
    let program = "import json, sys\n\
         import xml.etree.ElementTree as tree\n\
         print(json.dumps([tree.fromstring(text.encode()).tag for text in json.load(sys.stdin.buffer)]))";
    let input = serde_json::to_vec(&documents).unwrap();
    let Some(found) = python(program, &input) else {
        return;
    };
    assert_eq!(found, Value::from(vec!["all"; documents.len()]));
}

/// `NaN` and the like are no JSON, and Python is told so; nor are control characters in strings.
#[test]
fn pythons_json_reads_what_was_written_by_the_letter() {
    let program = "import json, sys\n\
         def refuse(word): raise ValueError(word)\n\
         def read(text): return json.loads(text, parse_constant=refuse, strict=True)\n\
         json_text, lines, sequence, numbers = [bytes(part) for part in json.load(sys.stdin.buffer)]\n\
         lines = lines.decode().split('\\n')\n\
         records = sequence.decode().split('\\x1e')\n\
         assert lines.pop() == '' and records.pop(0) == '' and all(r.endswith('\\n') for r in records)\n\
         print(json.dumps([read(json_text), [read(l) for l in lines], [read(r) for r in records], read(numbers)]))";
    let mut numbers = Vec::new();
    let odd = (
        f64::NAN,
        f64::INFINITY,
        f32::NEG_INFINITY,
        1e300,
        -0.5,
        u64::MAX,
    );
    Json.encode(&odd, &mut numbers).unwrap();
    let parts = [
        written(&Json),
        written(&NdJson::new()),
        written(&JsonSeq),
        numbers,
    ];
    let Some(found) = python(program, &serde_json::to_vec(&parts).unwrap()) else {
        return;
    };
    let all = serde_json::to_value(rows()).unwrap();
    assert_eq!(found[0], all);
    assert_eq!(found[1], all);
    assert_eq!(found[2], all);
    assert_eq!(found[3], json!([null, null, null, 1e300, -0.5, u64::MAX]));
}

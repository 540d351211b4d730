//! What the formats are called, on the wire and in links.

use buttress_negotiate::{
    Cbor, Csv, Format, Html, Json, JsonSeq, Markdown, MessagePack, NdJson, Text, Tsv, Xml,
};

/// Its name, whether it is for files, and the media types that are sent.
#[track_caller]
fn check(format: &impl Format, name: &str, is_file: bool, sent: &[&str]) {
    assert_eq!((format.name(), format.is_file()), (name, is_file));
    let types = format
        .media_types()
        .iter()
        .map(|media_type| media_type.sent());
    assert_eq!(types.collect::<Vec<_>>(), sent);
    for media_type in format.media_types() {
        // What is asked for with its charset is on offer, whatever is sent.
        assert!(media_type.offered().starts_with(media_type.sent()));
    }
    // What is written under a name is read under it, where it is read at all.
    let written = sent.iter().map(|sent| sent.split(';').next().unwrap());
    let reads = format.reads();
    assert!(
        reads.is_empty() || written.eq(reads.iter().copied()),
        "{reads:?}"
    );
}

#[test]
fn every_format_has_its_names() {
    check(&Json, "json", false, &["application/json"]);
    let lines = [
        "application/x-ndjson",
        "application/ndjson",
        "application/jsonl",
    ];
    check(&NdJson::new(), "ndjson", false, &lines);
    check(&JsonSeq, "json-seq", false, &["application/json-seq"]);
    check(
        &Csv::new(),
        "csv",
        true,
        &["text/csv;charset=utf-8;header=present"],
    );
    let tabs = ["text/tab-separated-values;charset=utf-8;header=present"];
    check(&Tsv::new(), "tsv", true, &tabs);
    let xml = ["application/xml", "text/xml;charset=utf-8"];
    check(&Xml::root("a"), "xml", false, &xml);
    check(
        &Html::title("a"),
        "html",
        false,
        &["text/html;charset=utf-8"],
    );
    check(&Text, "txt", false, &["text/plain;charset=utf-8"]);
    check(&Markdown, "md", false, &["text/markdown;charset=utf-8"]);
    check(&Cbor, "cbor", false, &["application/cbor"]);
    let packed = [
        "application/vnd.msgpack",
        "application/msgpack",
        "application/x-msgpack",
    ];
    check(&MessagePack, "msgpack", false, &packed);
    assert_eq!(
        Json.media_types()[0].offered(),
        "application/json;charset=utf-8"
    );
    assert_eq!(
        Xml::root("a").media_types()[0].offered(),
        "application/xml;charset=utf-8"
    );
}

#[test]
fn some_formats_have_a_suffix() {
    let suffixes = [Json.suffix(), Xml::root("a").suffix(), Cbor.suffix()];
    assert_eq!(suffixes, [Some("+json"), Some("+xml"), Some("+cbor")]);
    let others = [
        NdJson::new().suffix(),
        Csv::new().suffix(),
        MessagePack.suffix(),
        Text.suffix(),
    ];
    assert_eq!(others, [None; 4]);
}

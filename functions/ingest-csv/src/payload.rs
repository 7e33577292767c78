//! Writes a record as JSON. Values stay the strings they were, and keys are in jsonb's order.
//!
//! jsonb stores shorter keys first, then bytewise. Keys sent in that order save PostgreSQL the sorting, a fifth of
//! COPY's work.

use std::collections::BTreeMap;

use millrace::config::csv::ColumnType;
use millrace_jsonb::{is_json, is_number, write_string};

/// Writes records of one header as JSON objects.
#[derive(Debug)]
pub struct PayloadEncoder {
    /// The columns in the order of the output.
    columns: Vec<PayloadColumn>,
    any_types: bool,
    null_values: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct PayloadColumn {
    /// The index of the value in the record.
    index: usize,
    /// The key with its colon, `"name":`, escaped.
    key: Vec<u8>,
    column_type: ColumnType,
}

/// A value that is not of its declared type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The index of the value in the record.
    pub index: usize,
    pub expected: ColumnType,
}

impl PayloadEncoder {
    /// `names` are the record's columns in file order, unique.
    pub fn new(names: &[String], types: &BTreeMap<String, ColumnType>, null_values: &[String]) -> Self {
        let mut columns: Vec<PayloadColumn> = names
            .iter()
            .enumerate()
            .map(|(index, name)| {
                let mut key = Vec::new();
                write_string(&mut key, name.as_bytes());
                key.push(b':');
                PayloadColumn { index, key, column_type: types.get(name).copied().unwrap_or_default() }
            })
            .collect();
        columns.sort_by(|a, b| jsonb_order(&names[a.index], &names[b.index]));
        let any_types = columns.iter().any(|column| column.column_type != ColumnType::String);
        PayloadEncoder {
            columns,
            any_types,
            null_values: null_values.iter().map(|value| value.as_bytes().to_vec()).collect(),
        }
    }

    /// Returns the first value that is not of its declared type. Strings always are.
    pub fn check<'f>(&self, get: impl Fn(usize) -> Option<&'f [u8]>) -> Result<(), Mismatch> {
        if !self.any_types {
            return Ok(());
        }
        for column in &self.columns {
            let Some(value) = get(column.index) else { continue };
            let fits = match column.column_type {
                ColumnType::String => true,
                _ if value.is_empty() || self.is_null(value) => true,
                ColumnType::Number => is_number(value),
                ColumnType::Boolean => boolean(value).is_some(),
                ColumnType::Json => is_json(value),
            };
            if !fits {
                return Err(Mismatch { index: column.index, expected: column.column_type });
            }
        }
        Ok(())
    }

    /// Appends the JSON object of a record of `len` fields. Fields are valid UTF-8 without NUL and have passed
    /// [`Self::check`]. Columns beyond the record's last field are left out. Fields beyond the header are kept as an
    /// array under `_extra`.
    pub fn write<'f>(&self, out: &mut Vec<u8>, len: usize, get: impl Fn(usize) -> Option<&'f [u8]>) {
        out.push(b'{');
        let empty = out.len();
        let extra = || (self.columns.len()..len).filter_map(&get);
        let mut extra_written = len <= self.columns.len();
        for column in &self.columns {
            let Some(value) = get(column.index) else { continue };
            if !extra_written && column.key.len() > EXTRA_KEY.len() {
                write_extra(out, extra(), empty);
                extra_written = true;
            }
            if out.len() > empty {
                out.push(b',');
            }
            out.extend_from_slice(&column.key);
            self.write_value(out, column.column_type, value);
        }
        if !extra_written {
            write_extra(out, extra(), empty);
        }
        out.push(b'}');
    }

    fn write_value(&self, out: &mut Vec<u8>, column_type: ColumnType, value: &[u8]) {
        if self.is_null(value) {
            out.extend_from_slice(b"null");
            return;
        }
        match column_type {
            ColumnType::String => write_string(out, value),
            // A declared type has no empty value except null.
            _ if value.is_empty() => out.extend_from_slice(b"null"),
            ColumnType::Number | ColumnType::Json => out.extend_from_slice(value),
            ColumnType::Boolean => {
                out.extend_from_slice(if boolean(value) == Some(true) { b"true" } else { b"false" });
            }
        }
    }

    fn is_null(&self, value: &[u8]) -> bool {
        self.null_values.iter().any(|null| null == value)
    }
}

const EXTRA_KEY: &[u8] = b"\"_extra\":";

fn write_extra<'f>(out: &mut Vec<u8>, extra: impl Iterator<Item = &'f [u8]>, empty: usize) {
    if out.len() > empty {
        out.push(b',');
    }
    out.extend_from_slice(EXTRA_KEY);
    out.push(b'[');
    for (index, value) in extra.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_string(out, value);
    }
    out.push(b']');
}

/// Compares keys as jsonb does: shorter keys first, then bytewise.
fn jsonb_order(a: &str, b: &str) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

fn boolean(value: &[u8]) -> Option<bool> {
    match value.to_ascii_lowercase().as_slice() {
        b"true" | b"t" | b"yes" | b"y" | b"1" => Some(true),
        b"false" | b"f" | b"no" | b"n" | b"0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoder(names: &[&str]) -> PayloadEncoder {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        PayloadEncoder::new(&names, &BTreeMap::new(), &[])
    }

    fn encode(encoder: &PayloadEncoder, fields: &[&[u8]]) -> String {
        let mut out = Vec::new();
        encoder.write(&mut out, fields.len(), |index| fields.get(index).copied());
        String::from_utf8(out).unwrap()
    }

    fn check(encoder: &PayloadEncoder, fields: &[&[u8]]) -> Result<(), Mismatch> {
        encoder.check(|index| fields.get(index).copied())
    }

    #[test]
    fn values_stay_strings_and_keys_come_in_jsonbs_order() {
        let encoder = encoder(&["quantity", "id", "é", "b", "a"]);
        assert_eq!(
            encode(&encoder, &[b"007", b"1", b"x", b"", b"\"\\\n\x01"]),
            r#"{"a":"\"\\\n\u0001","b":"","id":"1","é":"x","quantity":"007"}"#
        );
    }

    #[test]
    fn missing_fields_are_left_out_and_extra_ones_are_kept() {
        let encoder = encoder(&["a", "longer_name"]);
        assert_eq!(encode(&encoder, &[b"1"]), r#"{"a":"1"}"#);
        assert_eq!(
            encode(&encoder, &[b"1", b"2", b"3", b"4"]),
            r#"{"a":"1","_extra":["3","4"],"longer_name":"2"}"#
        );
    }

    #[test]
    fn declared_types_are_checked_and_written_bare() {
        let names = ["n".to_owned(), "b".to_owned(), "j".to_owned()];
        let types = BTreeMap::from([
            ("n".to_owned(), ColumnType::Number),
            ("b".to_owned(), ColumnType::Boolean),
            ("j".to_owned(), ColumnType::Json),
        ]);
        let encoder = PayloadEncoder::new(&names, &types, &["NA".to_owned()]);
        assert_eq!(check(&encoder, &[b"-1.50", b"Yes", b"[1]"]), Ok(()));
        assert_eq!(encode(&encoder, &[b"-1.50", b"Yes", b"[1]"]), r#"{"b":true,"j":[1],"n":-1.50}"#);
        assert_eq!(encode(&encoder, &[b"", b"NA", b"{}"]), r#"{"b":null,"j":{},"n":null}"#);
        for bad in
            [&b"007"[..], b"1,5", b"NaN", b" 1", b"1 ", b"0x1", b"1e401", b"1e-401", b"1e999999999999", b"+1"]
        {
            assert_eq!(check(&encoder, &[bad]).unwrap_err().expected, ColumnType::Number, "{bad:?}");
        }
        for bad in [&b"{"[..], b"\"\\u0000\"", b"\"\\ud800\"", b"nul"] {
            assert_eq!(check(&encoder, &[b"1", b"t", bad]).unwrap_err().index, 2, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn every_record_is_the_object_it_should_be(values in prop::collection::vec("[^\0]{0,12}", 3)) {
            let encoder = encoder(&["b", "aa", "c"]);
            let fields: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
            let parsed: serde_json::Value = serde_json::from_str(&encode(&encoder, &fields)).unwrap();
            prop_assert_eq!(parsed, serde_json::json!({ "b": values[0], "aa": values[1], "c": values[2] }));
        }
    }
}

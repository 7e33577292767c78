//! URL-encoded forms: Slack's commands, and senders that put JSON in a field named `payload`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use millrace_jsonb::JsonPointer;
use millrace_jsonb::{Scanner, write_string};
use percent_encoding::percent_decode;

use super::collect::Collector;
use super::json::split;

/// Returns one record: an object of strings, with arrays for repeated keys. When the only field is `payload` and it
/// holds a JSON object or array, that value is the record, as in Slack's interactive messages and GitHub's forms.
pub(super) fn read<'b>(
    collector: &mut Collector<'b>,
    start: usize,
    records: Option<&JsonPointer>,
) -> Cow<'b, [u8]> {
    let body = collector.body();
    let fields = fields(&body[start..]);
    if let [(key, values)] = &fields[..]
        && let [payload] = &values[..]
        && key.as_ref() == b"payload"
        && is_document(payload)
    {
        let mut values = Vec::new();
        // The text was checked to be JSON.
        if split(payload, 0, records, |value| values.push(value)).is_ok() {
            for value in values {
                let text = payload[value.range].to_vec();
                collector.add_built(text.clone(), Cow::Owned(text));
            }
            return Cow::Owned(payload.to_vec());
        }
    }
    let mut json = Vec::with_capacity(body.len() + body.len() / 4);
    json.push(b'{');
    for (index, (key, values)) in fields.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        write_string(&mut json, key);
        json.push(b':');
        write_values(&mut json, values);
    }
    json.push(b'}');
    collector.add_built(json.clone(), Cow::Borrowed(body));
    Cow::Owned(json)
}

fn write_values(json: &mut Vec<u8>, values: &[Cow<'_, [u8]>]) {
    if let [value] = values {
        write_string(json, value);
        return;
    }
    json.push(b'[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        write_string(json, value);
    }
    json.push(b']');
}

type Field<'b> = (Cow<'b, [u8]>, Vec<Cow<'b, [u8]>>);

/// Keys are in the order of their first occurrence.
fn fields(body: &[u8]) -> Vec<Field<'_>> {
    let mut fields: Vec<Field<'_>> = Vec::new();
    let mut places: BTreeMap<Cow<'_, [u8]>, usize> = BTreeMap::new();
    for pair in body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let key = decode(parts.next().unwrap_or_default());
        let value = decode(parts.next().unwrap_or_default());
        match places.get(&key) {
            Some(&place) => fields[place].1.push(value),
            None => {
                places.insert(key.clone(), fields.len());
                fields.push((key, vec![value]));
            }
        }
    }
    fields
}

/// Bytes that are not UTF-8 stay as they are: the check of the record handles them.
fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'+') {
        return percent_decode(text).into();
    }
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    Cow::Owned(percent_decode(&spaced).collect())
}

fn is_document(text: &[u8]) -> bool {
    let mut scanner = Scanner::new(text);
    matches!(scanner.peek(), Some(b'{' | b'[')) && scanner.value().is_ok() && scanner.end().is_ok()
}

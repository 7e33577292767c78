//! Collects the records. A record that jsonb refuses becomes a reject, or is repaired where the source's configuration
//! allows it.

use std::borrow::Cow;

use millrace_jsonb::InvalidCharacters;
use millrace_jsonb::{DefectKind, JsonDefect, JsonValue, MAX_DEPTH, Scanner, replace_characters};

use super::code::RejectCode;
use super::record::{BodyPosition, BodyRecord, BodyReject, BodyRepair, Parsed};

pub(super) struct Collector<'b> {
    body: &'b [u8],
    /// The body, when all of it is UTF-8. Its records are then not checked one by one.
    text: Option<&'b str>,
    replace: bool,
    records: Vec<BodyRecord<'b>>,
    rejects: Vec<BodyReject<'b>>,
    /// The line of byte `counted`, so that each line end is counted once.
    line: u64,
    counted: usize,
}

impl<'b> Collector<'b> {
    pub fn new(body: &'b [u8], invalid_characters: InvalidCharacters) -> Self {
        Collector {
            body,
            text: std::str::from_utf8(body).ok(),
            replace: invalid_characters == InvalidCharacters::Replace,
            records: Vec::new(),
            rejects: Vec::new(),
            line: 1,
            counted: 0,
        }
    }

    pub fn body(&self) -> &'b [u8] {
        self.body
    }

    pub fn finish(self, document: Cow<'b, [u8]>) -> Parsed<'b> {
        Parsed { document, records: self.records, rejects: self.rejects }
    }

    /// Adds a value of the body. Values are added in the order of the body.
    pub fn add(&mut self, value: &JsonValue) {
        if value.defect.is_none()
            && let Some(text) = self.text.and_then(|text| text.get(value.range.clone()))
        {
            self.records.push(BodyRecord { json: Cow::Borrowed(text), repair: None });
            return;
        }
        let raw = &self.body[value.range.clone()];
        let position = self.position(value.range.start);
        self.judge(Cow::Borrowed(raw), value, position, Cow::Borrowed(raw), true);
    }

    /// Adds a JSON text that was built from the body.
    pub fn add_built(&mut self, json: Vec<u8>, raw: Cow<'b, [u8]>) {
        let scanned = Scanner::new(&json).value();
        // Texts built here are always JSON.
        let Ok(value) = scanned else { return };
        let position = self.position(0);
        self.judge(Cow::Owned(json), &value, position, raw, false);
    }

    fn judge(
        &mut self,
        json: Cow<'b, [u8]>,
        value: &JsonValue,
        position: BodyPosition,
        raw: Cow<'b, [u8]>,
        in_body: bool,
    ) {
        let place = |defect: JsonDefect| {
            if in_body { format!(", at byte {} of the body", defect.offset) } else { String::new() }
        };
        let invalid = std::str::from_utf8(&json).err();
        if let Some(error) = invalid
            && !self.replace
        {
            let at = error.valid_up_to() + value.range.start;
            let place = if in_body { format!(", at byte {at} of the body") } else { String::new() };
            let reason = format!("bytes that are not UTF-8{place}");
            self.rejects.push(BodyReject { code: RejectCode::InvalidUtf8, reason, position, raw });
            return;
        }
        let refused = if self.replace { value.fatal } else { value.defect };
        if let Some(defect) = refused {
            let (code, what) = describe(defect.kind);
            let reason = format!("{what}{}", place(defect));
            self.rejects.push(BodyReject { code, reason, position, raw });
            return;
        }
        let rule = match (invalid, value.defect) {
            (Some(_), _) => Some("invalid_utf8_replaced"),
            (None, Some(JsonDefect { kind: DefectKind::LoneSurrogate, .. })) => {
                Some("lone_surrogate_replaced")
            }
            (None, Some(_)) => Some("nul_replaced"),
            (None, None) => None,
        };
        let mut json = json.into_owned();
        if value.defect.is_some() {
            replace_characters(&mut json);
        }
        let json = match String::from_utf8(json) {
            Ok(json) => json,
            Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
        };
        let repair = rule.map(|rule| BodyRepair { rule, position, raw });
        self.records.push(BodyRecord { json: Cow::Owned(json), repair });
    }

    fn position(&mut self, offset: usize) -> BodyPosition {
        if offset > self.counted {
            let ends = self.body[self.counted..offset].iter().filter(|byte| **byte == b'\n').count();
            self.line += ends as u64;
            self.counted = offset;
        }
        let record = (self.records.len() + self.rejects.len()) as u64;
        BodyPosition { record, line: self.line, offset: offset as u64 }
    }
}

fn describe(kind: DefectKind) -> (RejectCode, Cow<'static, str>) {
    match kind {
        DefectKind::Nul => {
            (RejectCode::NulCharacter, "a NUL character, which PostgreSQL cannot store".into())
        }
        DefectKind::LoneSurrogate => {
            (RejectCode::LoneSurrogate, "half of a surrogate pair, which is no character".into())
        }
        DefectKind::Number => (
            RejectCode::NumberOutOfRange,
            "a number with more digits, or a larger exponent, than can be stored".into(),
        ),
        DefectKind::Depth => {
            (RejectCode::NestedTooDeep, format!("nested deeper than {MAX_DEPTH} levels").into())
        }
    }
}

//! A parsed body: its records, their repairs, and its rejects.

use std::borrow::Cow;

use super::code::RejectCode;

/// A parsed body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed<'b> {
    /// The delivery as JSON, in which pointers are looked up: the body, the JSON form of a form or of an event in
    /// binary mode, or the first line. It may contain what jsonb refuses.
    pub document: Cow<'b, [u8]>,
    pub records: Vec<BodyRecord<'b>>,
    pub rejects: Vec<BodyReject<'b>>,
}

/// The position of a record in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyPosition {
    /// 0-based. Rejects are counted.
    pub record: u64,
    /// 1-based.
    pub line: u64,
    /// The number of bytes before it.
    pub offset: u64,
}

/// A JSON text that jsonb accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyRecord<'b> {
    pub json: Cow<'b, str>,
    pub repair: Option<BodyRepair<'b>>,
}

/// A repair of a record, for `staging.repairs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyRepair<'b> {
    /// `nul_replaced`, `lone_surrogate_replaced` or `invalid_utf8_replaced`.
    pub rule: &'static str,
    pub position: BodyPosition,
    /// The original record. For a form or an event in binary mode it is the body.
    pub raw: Cow<'b, [u8]>,
}

/// A record that jsonb refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyReject<'b> {
    pub code: RejectCode,
    /// For operators. It contains none of the record's content.
    pub reason: String,
    pub position: BodyPosition,
    /// As [`BodyRepair::raw`].
    pub raw: Cow<'b, [u8]>,
}

//! The format of a source's bodies, as its owner declares it.

/// The format of a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Content {
    /// The format that `Content-Type` names.
    #[default]
    Auto,
    Json,
    Ndjson,
    Form,
    Cloudevents,
}

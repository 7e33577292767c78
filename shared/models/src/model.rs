//! The content of a file in `pipeline/models/`, as plain types.

use std::collections::BTreeMap;

/// A model: an SQL query with a header. It creates the relation of the same name in schema `facts`.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// The name of the file without `.sql`, which is the name of the relation.
    pub name: String,
    /// The file in messages: `pipeline/models/orders.sql`.
    pub file: String,
    pub kind: ModelKind,
    pub description: Option<String>,
    /// Descriptions of columns, by name.
    pub columns: BTreeMap<String, String>,
    /// The events of a fact; empty for other kinds.
    pub routes: Vec<EventRoute>,
    /// The columns that identify a row; empty for a fact that only appends, and for views.
    pub key: Vec<String>,
    pub on_conflict: OnConflict,
    /// Further indexes, each a list of columns.
    pub indexes: Vec<Vec<String>>,
    pub tests: Vec<Test>,
    /// The bucket of a rollup; `None` for every other kind.
    pub bucket: Option<Bucket>,
    /// If a model refuses a greater share of the events of a claim, the model is faulty and not its events.
    pub max_quarantined_share: f64,
    /// The SQL below the header, without a semicolon at its end.
    pub query: String,
    /// The 1-based line on which `query` begins.
    pub query_line: usize,
    /// The relations that the query reads.
    pub reads: Vec<Reference>,
    /// A hash in hex of everything that determines the rows: the parsed query, kind, routes, key and `on_conflict`. Comments,
    /// white space, tests and descriptions do not affect it.
    pub fingerprint: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelKind {
    /// A table with the rows of every event.
    Fact,
    /// A table of which only invalidated buckets are recomputed.
    Rollup,
    MaterializedView,
    View,
}

impl ModelKind {
    pub const ALL: [ModelKind; 4] =
        [ModelKind::Fact, ModelKind::Rollup, ModelKind::MaterializedView, ModelKind::View];

    /// As a header writes it.
    pub fn name(self) -> &'static str {
        match self {
            ModelKind::Fact => "fact",
            ModelKind::Rollup => "rollup",
            ModelKind::MaterializedView => "materialized_view",
            ModelKind::View => "view",
        }
    }
}

/// The events of a source, of one type or of all types.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRoute {
    pub source: String,
    /// `None` is every event type of the source, written `shop/*`.
    pub event_type: Option<String>,
}

impl EventRoute {
    pub fn takes(&self, source: &str, event_type: &str) -> bool {
        self.source == source && self.event_type.as_deref().is_none_or(|own| own == event_type)
    }
}

/// Which of two events with the same key determines the fact. Events are ordered by `received_at`, then by id, independent of the
/// order in which they are transformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// The later one.
    #[default]
    Update,
    /// The earlier one.
    Ignore,
}

/// A relation that a query reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The relation of claimed events.
    Batch,
    /// Another model, by name.
    Model(String),
    /// A relation that is not a model, with its schema: `staging.raw_events`, `public.countries`.
    Other(String),
}

/// A test: a condition that the rows of a model must meet.
#[derive(Debug, Clone, PartialEq)]
pub struct Test {
    /// The text in the header: `unique(order_id)`.
    pub text: String,
    pub severity: Severity,
    pub check: Check,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Severity {
    /// Rows that fail are reported and kept.
    Warn,
    /// If the test is a condition on one row, the event of a row that fails is quarantined.
    #[default]
    Error,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Check {
    /// A condition on one row; unknown passes, as in a check constraint. Also `not_null(a)` and
    /// `accepted_values(a, 'x', 'y')`, written as conditions.
    Row { condition: String },
    /// No two rows have the same values in these columns.
    Unique { columns: Vec<String> },
    /// Every value that is not null exists in a column of another model.
    Relationship { column: String, model: String, model_column: String },
    /// The newest value is not older than this interval.
    Freshness { column: String, interval: String },
}

/// The bucket by which a rollup is recomputed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// The column of the rollup.
    pub column: String,
    /// The model it is computed from. A change of any other relation that the rollup reads invalidates every bucket.
    pub model: String,
    /// The same value computed from a row of `model`, its columns without a qualifier: `date_trunc('day', ordered_at)`.
    pub expression: String,
    /// How the rows of a bucket are found without reading every row.
    pub range: BucketRange,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BucketRange {
    /// The bucket is a column of `model`: its rows have this value.
    Value { column: String },
    /// The bucket is the start of a range of time: `column >= bucket and column < bucket + step`.
    Span { column: String, step: String },
    /// Unknown: the rows are found by computing `expression` for every row.
    Unknown,
}

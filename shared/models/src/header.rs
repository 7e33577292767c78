//! The header of a model: TOML in the comment at the beginning of the file.
//!
//! The header ends at the first line that is not a `--` comment. Comments in it begin with `#`, as in TOML. Empty lines before it
//! are allowed.

use std::collections::BTreeMap;

use millrace::config::document::{Document, TomlKey, TomlValue};
use millrace::config::names::{MAX_NAME_BYTES, check_name, quoted};

use crate::check;
use crate::model::{EventRoute, ModelKind, OnConflict, Severity, Test};
use crate::problem::{At, Problems, listed};

/// Every key, and the kinds that it applies to.
const KEYS: &[(&str, &[ModelKind])] = &[
    ("kind", ALL),
    ("description", ALL),
    ("columns", ALL),
    ("source", &[ModelKind::Fact]),
    ("key", &[ModelKind::Fact, ModelKind::Rollup, ModelKind::MaterializedView]),
    ("on_conflict", &[ModelKind::Fact]),
    ("indexes", &[ModelKind::Fact, ModelKind::Rollup, ModelKind::MaterializedView]),
    ("tests", ALL),
    ("bucket", &[ModelKind::Rollup]),
    ("max_quarantined_share", &[ModelKind::Fact]),
    ("reads", &[ModelKind::Fact, ModelKind::MaterializedView, ModelKind::View]),
];
const ALL: &[ModelKind] = &[ModelKind::Fact, ModelKind::Rollup, ModelKind::MaterializedView, ModelKind::View];
const TEST_KEYS: &[&str] = &["test", "severity"];
const DEFAULT_MAX_QUARANTINED_SHARE: f64 = 0.5;
/// PostgreSQL's limit on the columns of an index.
const MAX_INDEX_COLUMNS: usize = 32;

/// A value and its position.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Placed<T> {
    pub at: At,
    pub value: T,
}

/// The content of a header; missing keys have their default.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ModelHeader {
    /// `None` when it is missing or invalid. The other keys are then not checked against it.
    pub kind: Option<ModelKind>,
    pub description: Option<String>,
    pub columns: Vec<(Placed<String>, String)>,
    /// `None` when the header does not determine the routes, because it is invalid.
    pub routes: Option<Vec<EventRoute>>,
    pub key: Vec<Placed<String>>,
    pub on_conflict: OnConflict,
    pub indexes: Vec<Vec<Placed<String>>>,
    pub tests: Vec<Placed<Test>>,
    pub bucket: Option<Placed<String>>,
    pub max_quarantined_share: f64,
    /// The relations in the header; `None` when the query determines them.
    pub reads: Option<Vec<Placed<String>>>,
    /// The 0-based line and the byte at which the SQL begins.
    pub ends: (usize, usize),
}

impl ModelHeader {
    /// Descriptions by column.
    pub fn descriptions(&self) -> BTreeMap<String, String> {
        self.columns.iter().map(|(column, text)| (column.value.clone(), text.clone())).collect()
    }
}

/// Reads the header of `text`, a whole file. Errors are added to the problems.
pub(crate) fn read(file: &str, text: &str, problems: &mut Problems) -> ModelHeader {
    let block = Block::of(text);
    let mut document = Document::new(file, &block.toml);
    let table = document.parse();
    let malformed = document.has_problems();
    if malformed {
        document.problem(
            0..0,
            "the comment at the beginning of a model is TOML: begin a TOML comment with `#`, as in `-- # text`, \
             or below an empty line",
        );
    }
    let mut reader = HeaderReader { document, header: ModelHeader::empty(&block) };
    if table.is_empty() && !malformed {
        reader.document.problem(
            0..0,
            "the header is missing: begin the file with a comment such as `-- kind = \"view\"`",
        );
    } else if !malformed {
        reader.read(&table);
    } else {
        // The parsed part of invalid TOML may differ from what the author intended.
        reader.header.routes = None;
    }
    let HeaderReader { document, header } = reader;
    for (line, column, message) in document.into_located() {
        problems.add(At { line, column }, message);
    }
    header
}

/// The leading comment with its dashes blanked, so that every character keeps its position.
struct Block {
    toml: String,
    lines: usize,
    bytes: usize,
}

impl Block {
    fn of(text: &str) -> Block {
        let mut block = Block { toml: String::new(), lines: 0, bytes: 0 };
        for line in text.split_inclusive('\n') {
            let Some(content) = line.strip_prefix("--") else {
                if block.toml.trim().is_empty() && line.trim().is_empty() && !block.started() {
                    block.push(line, 0);
                    continue;
                }
                break;
            };
            // `---` is a separator line and not a key that begins with a dash.
            let dashes = 2 + content.bytes().take_while(|byte| *byte == b'-').count();
            block.push(line, dashes);
        }
        block
    }

    fn started(&self) -> bool {
        self.toml.contains(' ')
    }

    fn push(&mut self, line: &str, dashes: usize) {
        self.toml.extend(std::iter::repeat_n(' ', dashes));
        self.toml.push_str(&line[dashes..]);
        self.lines += 1;
        self.bytes += line.len();
    }
}

struct HeaderReader<'t> {
    document: Document<'t>,
    header: ModelHeader,
}

impl ModelHeader {
    fn empty(block: &Block) -> ModelHeader {
        ModelHeader {
            kind: None,
            description: None,
            columns: Vec::new(),
            routes: None,
            key: Vec::new(),
            on_conflict: OnConflict::default(),
            indexes: Vec::new(),
            tests: Vec::new(),
            bucket: None,
            max_quarantined_share: DEFAULT_MAX_QUARANTINED_SHARE,
            reads: None,
            ends: (block.lines, block.bytes),
        }
    }
}

impl<'t> HeaderReader<'t> {
    fn read(&mut self, table: &toml::de::DeTable<'t>) {
        let find = |wanted: &str| table.iter().find(|(key, _)| key.get_ref() == wanted);
        self.header.kind = match find("kind") {
            Some((_, value)) => {
                self.document.choice(value, &ALL.iter().map(|kind| (kind.name(), *kind)).collect::<Vec<_>>())
            }
            None => {
                let names: Vec<&str> = ALL.iter().map(|kind| kind.name()).collect();
                let message = format!("`kind` is missing: one of {}", names.join(", "));
                let at = first_key(table);
                self.document.problem(at..at, message);
                None
            }
        };
        for (key, value) in table {
            self.read_key(key, value);
        }
        if let Some(kind) = self.header.kind {
            let has = |wanted: &str| find(wanted).is_some();
            let bucket = find("bucket").map(|(_, value)| value.span());
            self.check_needs(kind, has, first_key(table), find("on_conflict").map(|(key, _)| key), bucket);
        }
    }

    fn read_key(&mut self, key: &TomlKey<'t>, value: &TomlValue<'t>) {
        let name = key.get_ref().as_ref();
        let Some((_, kinds)) = KEYS.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = KEYS.iter().map(|(known, _)| *known).collect();
            self.document.unknown_key(key, &known);
            return;
        };
        if let Some(kind) = self.header.kind
            && !kinds.contains(&kind)
        {
            self.document.problem(key.span(), does_not_belong(name, kind, kinds));
            return;
        }
        match name {
            "description" => self.header.description = self.document.string(value).map(str::to_owned),
            "columns" => self.read_columns(value),
            "source" => self.header.routes = self.routes(value),
            "key" => self.header.key = self.column_list(value).unwrap_or_default(),
            "on_conflict" => {
                let choices = [("update", OnConflict::Update), ("ignore", OnConflict::Ignore)];
                self.header.on_conflict = self.document.choice(value, &choices).unwrap_or_default();
            }
            "indexes" => self.read_indexes(value),
            "tests" => self.read_tests(value),
            "bucket" => {
                self.header.bucket = self
                    .document
                    .string(value)
                    .map(str::to_owned)
                    .map(|column| Placed { at: self.at(value), value: column });
            }
            "max_quarantined_share" => {
                if let Some(share) = self.document.share(value) {
                    self.header.max_quarantined_share = share;
                }
            }
            "reads" => self.read_reads(value),
            // `kind` was read first.
            _ => {}
        }
    }

    /// Checks the required keys of a kind, and keys that require each other.
    fn check_needs(
        &mut self,
        kind: ModelKind,
        has: impl Fn(&str) -> bool,
        at: usize,
        on_conflict: Option<&TomlKey<'_>>,
        bucket_at: Option<std::ops::Range<usize>>,
    ) {
        let mut missing = |name: &str, why: &str| {
            if !has(name) {
                self.document.problem(at..at, format!("a {} needs `{name}`: {why}", words(kind)));
            }
        };
        match kind {
            ModelKind::Fact => {
                missing("source", "the events that the model reads, as `\"shop/orders\"` or `\"shop/*\"`")
            }
            ModelKind::Rollup => {
                missing("key", "the columns that identify a row, including the bucket");
                missing("bucket", "the column by which it is recomputed");
            }
            ModelKind::MaterializedView => {
                missing(
                    "key",
                    "the columns that identify a row, so that it can be refreshed without blocking readers",
                );
            }
            ModelKind::View => {}
        }
        if let Some(on_conflict) = on_conflict
            && kind == ModelKind::Fact
            && !has("key")
        {
            let message = "`on_conflict` requires `key`: without a key, no two rows conflict";
            self.document.problem(on_conflict.span(), message);
        }
        if kind != ModelKind::Fact {
            self.header.routes = Some(Vec::new());
        }
        if let (Some(bucket), Some(bucket_at)) = (&self.header.bucket, &bucket_at)
            && !self.header.key.is_empty()
            && !self.header.key.iter().any(|column| column.value == bucket.value)
        {
            let message = format!("the bucket {} must be one of the columns of `key`", quoted(&bucket.value));
            self.document.problem(bucket_at.clone(), message);
        }
    }

    fn at(&self, value: &TomlValue<'_>) -> At {
        let (line, column) = self.document.position(value.span().start);
        At { line, column }
    }

    fn read_columns(&mut self, value: &TomlValue<'t>) {
        let Some(table) = self.document.table(value) else { return };
        for (name, text) in table {
            let (line, column) = self.document.position(name.span().start);
            let placed = Placed { at: At { line, column }, value: name.get_ref().to_string() };
            if let Some(text) = self.document.string(text) {
                self.header.columns.push((placed, text.to_owned()));
            }
        }
    }

    fn routes(&mut self, value: &TomlValue<'t>) -> Option<Vec<EventRoute>> {
        let items = match value.get_ref().as_array() {
            Some(items) => items.iter().collect(),
            None => vec![value],
        };
        if items.is_empty() {
            self.document.problem(value.span(), "expected a source, as `\"shop/orders\"`");
            return None;
        }
        let mut routes: Vec<EventRoute> = Vec::new();
        let mut complete = true;
        for item in items {
            let Some(text) = self.document.string(item) else {
                complete = false;
                continue;
            };
            match route(text) {
                Ok(route) => {
                    let covered = routes.iter().find(|other| covers(other, &route) || covers(&route, other));
                    if let Some(other) = covered {
                        let message =
                            format!("{} matches events that `{}` matches too", quoted(text), written(other));
                        self.document.problem(item.span(), message);
                    }
                    routes.push(route);
                }
                Err(why) => {
                    self.document.problem(item.span(), why);
                    complete = false;
                }
            }
        }
        complete.then_some(routes)
    }

    /// A list of at least one column, without duplicates.
    fn column_list(&mut self, value: &TomlValue<'t>) -> Option<Vec<Placed<String>>> {
        let Some(items) = value.get_ref().as_array() else {
            self.document.problem(value.span(), "expected a list of columns, as `[\"order_id\"]`");
            return None;
        };
        if items.is_empty() || items.len() > MAX_INDEX_COLUMNS {
            self.document.problem(value.span(), format!("expected from 1 to {MAX_INDEX_COLUMNS} columns"));
        }
        let mut columns: Vec<Placed<String>> = Vec::new();
        for item in items.iter() {
            let Some(name) = self.document.string(item) else { continue };
            if let Err(why) = check_column(name) {
                self.document.problem(item.span(), format!("the column {} {why}", quoted(name)));
            } else if columns.iter().any(|column| column.value == name) {
                self.document.problem(item.span(), format!("{} is named twice", quoted(name)));
            } else {
                columns.push(Placed { at: self.at(item), value: name.to_owned() });
            }
        }
        Some(columns)
    }

    fn read_indexes(&mut self, value: &TomlValue<'t>) {
        let Some(items) = value.get_ref().as_array() else {
            let message =
                "expected a list of lists of columns, as `[[\"customer_id\"], [\"status\", \"day\"]]`";
            self.document.problem(value.span(), message);
            return;
        };
        for item in items.iter() {
            let Some(columns) = self.column_list(item) else { continue };
            let same = |other: &[Placed<String>]| {
                other.iter().map(|column| &column.value).eq(columns.iter().map(|column| &column.value))
            };
            if self.header.indexes.iter().any(|other| same(other)) {
                self.document.problem(item.span(), "this index is in the list twice");
            } else if !columns.is_empty() {
                self.header.indexes.push(columns);
            }
        }
    }

    fn read_tests(&mut self, value: &TomlValue<'t>) {
        let Some(items) = value.get_ref().as_array() else {
            let message = "expected a list of tests, as `[\"total >= 0\", \"unique(order_id)\"]`";
            self.document.problem(value.span(), message);
            return;
        };
        for item in items.iter() {
            if let Some(table) = item.get_ref().as_table() {
                let mut text = None;
                let mut severity = Severity::default();
                for (key, value) in table {
                    match key.get_ref().as_ref() {
                        "test" => text = Some(value),
                        "severity" => {
                            let choices = [("error", Severity::Error), ("warn", Severity::Warn)];
                            severity = self.document.choice(value, &choices).unwrap_or_default();
                        }
                        _ => self.document.unknown_key(key, TEST_KEYS),
                    }
                }
                match text {
                    Some(text) => self.read_test(text, severity),
                    None => {
                        let message =
                            "`test` is missing, as in `{test = \"total >= 0\", severity = \"warn\"}`";
                        self.document.problem(item.span(), message);
                    }
                }
            } else if item.get_ref().as_str().is_some() {
                self.read_test(item, Severity::default());
            } else {
                let message = "expected a test such as `\"total >= 0\"` or \
                               `{test = \"total >= 0\", severity = \"warn\"}`";
                self.document.problem(item.span(), message);
            }
        }
    }

    fn read_test(&mut self, value: &TomlValue<'t>, severity: Severity) {
        let Some(text) = self.document.string(value) else { return };
        match check::parse(text) {
            Ok(check) => {
                let test = Test { text: text.trim().to_owned(), severity, check };
                self.header.tests.push(Placed { at: self.at(value), value: test });
            }
            Err(why) => self.document.problem(value.span(), why),
        }
    }

    fn read_reads(&mut self, value: &TomlValue<'t>) {
        let Some(items) = value.get_ref().as_array() else {
            self.document.problem(value.span(), "expected a list of relations, as `[\"batch\", \"orders\"]`");
            return;
        };
        let mut reads = Vec::new();
        for item in items.iter() {
            if let Some(name) = self.document.string(item) {
                reads.push(Placed { at: self.at(item), value: name.to_owned() });
            }
        }
        self.header.reads = Some(reads);
    }
}

fn first_key(table: &toml::de::DeTable<'_>) -> usize {
    table.iter().map(|(key, _)| key.span().start).min().unwrap_or_default()
}

fn words(kind: ModelKind) -> &'static str {
    match kind {
        ModelKind::MaterializedView => "materialized view",
        kind => kind.name(),
    }
}

fn does_not_belong(name: &str, kind: ModelKind, kinds: &[ModelKind]) -> String {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    match (name, kind) {
        ("key" | "indexes", ModelKind::View) => {
            format!(
                "`{name}` applies to tables and not to views: remove it, or make this a `materialized_view`"
            )
        }
        ("reads", _) => {
            "`reads` cannot go with a rollup, whose query has to be understood: put the part that is \
                         not into a model below it"
                .to_owned()
        }
        _ if kinds.len() == 1 => {
            format!("`{name}` is a {}'s; this is a {}", names.concat(), words(kind))
        }
        _ => format!("a {} has no key `{name}`; it is a key of {}", words(kind), listed(&names)),
    }
}

/// `shop/orders`, or `shop/*`.
fn route(text: &str) -> Result<EventRoute, String> {
    let Some((source, event_type)) = text.split_once('/') else {
        let hint = match check_name(text) {
            Ok(()) => format!("; write `{text}/*` for every event of the source"),
            Err(_) => String::new(),
        };
        return Err(format!("{} is not `source/event_type`{hint}", quoted(text)));
    };
    check_name(source).map_err(|why| format!("the source {} {why}", quoted(source)))?;
    if event_type == "*" {
        return Ok(EventRoute { source: source.to_owned(), event_type: None });
    }
    check_name(event_type).map_err(|why| format!("the event type {} {why}", quoted(event_type)))?;
    Ok(EventRoute { source: source.to_owned(), event_type: Some(event_type.to_owned()) })
}

fn covers(wide: &EventRoute, narrow: &EventRoute) -> bool {
    wide.source == narrow.source && (wide.event_type.is_none() || wide.event_type == narrow.event_type)
}

fn written(route: &EventRoute) -> String {
    format!("{}/{}", route.source, route.event_type.as_deref().unwrap_or("*"))
}

/// Why no column can have this name. The message follows the name.
pub(crate) fn check_column(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("is empty".into());
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(format!("has {} bytes, more than {MAX_NAME_BYTES}", name.len()));
    }
    if name.contains('\0') {
        return Err("holds a NUL".into());
    }
    Ok(())
}

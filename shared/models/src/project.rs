//! Reads, parses, checks and orders the folder of models, without a database.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use millrace::config::names::quoted;
use millrace::config::nearest::did_you_mean;
use millrace::{Error, Kind, Result};
use ring::digest::{SHA256, digest};

use crate::header;
use crate::model::{Check, EventRoute, Model, ModelKind, Reference};
use crate::problem::{At, Problems};
use crate::query::{Named, Sql};

/// The maximum length of a name: with the suffixes that Millrace appends it is still a valid identifier.
const MAX_NAME_BYTES: usize = 50;
/// Names with another meaning in a query.
const RESERVED: &[&str] = &["batch", "batches", "events", "raw_events"];

/// Every model of a folder.
#[derive(Debug, Clone, Default)]
pub struct Project {
    /// In the order in which they can run: a model after everything it reads.
    pub models: Vec<Model>,
    /// Broken files. The events of their routes wait until they are fixed.
    pub broken: Vec<Broken>,
}

/// A file that is not a valid model.
#[derive(Debug, Clone, PartialEq)]
pub struct Broken {
    pub name: String,
    pub file: String,
    /// Each as `file:line:column: what is wrong and what to do`.
    pub problems: Vec<String>,
    /// The routes of its events; `None` when the header does not determine them, so that it may be any event.
    pub routes: Option<Vec<EventRoute>>,
}

impl Project {
    /// Reads `models/*.sql` in `directory`, a folder like `pipeline/`. Without the folder there are no models.
    pub fn load(directory: &Path) -> Result<Project> {
        let folder = directory.join("models");
        let failed = |what: &Path, error: std::io::Error| {
            Error::new(Kind::Config, format!("read {}", what.display())).with_source(error)
        };
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Project::default()),
            Err(error) => return Err(failed(&folder, error)),
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| failed(&folder, error))?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            if !name.ends_with(".sql") || name.starts_with('.') {
                continue;
            }
            let bytes = std::fs::read(&path).map_err(|error| failed(&path, error))?;
            files.push((format!("models/{name}"), String::from_utf8_lossy(&bytes).into_owned()));
        }
        files.sort();
        Ok(Project::parse(&files))
    }

    /// Reads files, each with its name: `models/orders.sql`.
    pub fn parse(files: &[(String, String)]) -> Project {
        let mut drafts: Vec<Draft> = files.iter().map(|(file, text)| Draft::read(file, text)).collect();
        refuse_twins(&mut drafts);
        resolve(&mut drafts);
        order(drafts)
    }

    pub fn model(&self, name: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.name == name)
    }

    /// The fact models that read the events of a source and type, in order.
    pub fn facts_for<'p>(&'p self, source: &'p str, event_type: &'p str) -> impl Iterator<Item = &'p Model> {
        self.models
            .iter()
            .filter(move |model| model.routes.iter().any(|route| route.takes(source, event_type)))
    }

    /// Whether any model reads events of a source.
    pub fn takes(&self, source: &str) -> bool {
        self.models.iter().flat_map(|model| &model.routes).any(|route| route.source == source)
    }

    /// The models that read `name`, directly or indirectly, in order.
    pub fn downstream(&self, name: &str) -> Vec<&Model> {
        let mut found = BTreeSet::from([name]);
        let mut above = Vec::new();
        for model in &self.models {
            if below(model).any(|read| found.contains(read)) {
                found.insert(&model.name);
                above.push(model);
            }
        }
        above
    }

    /// Every problem of every file.
    pub fn problems(&self) -> Vec<&str> {
        self.broken.iter().flat_map(|broken| &broken.problems).map(String::as_str).collect()
    }
}

fn below(model: &Model) -> impl Iterator<Item = &str> {
    model.reads.iter().filter_map(|read| match read {
        Reference::Model(name) => Some(name.as_str()),
        _ => None,
    })
}

/// A file that is being parsed.
struct Draft {
    name: String,
    file: String,
    problems: Problems,
    routes: Option<Vec<EventRoute>>,
    /// `None` when the file is too broken.
    model: Option<Model>,
    named: Vec<Named>,
    relationships: Vec<(At, String)>,
}

impl Draft {
    fn read(file: &str, text: &str) -> Draft {
        let name = file.rsplit('/').next().unwrap_or(file).trim_end_matches(".sql").to_owned();
        let mut problems = Problems::new(file);
        if let Err(why) = check_model_name(&name) {
            problems.add(At::START, format!("the model {} {why}", quoted(&name)));
        }
        let header = header::read(file, text, &mut problems);
        let mut draft = Draft {
            name: name.clone(),
            file: file.to_owned(),
            routes: header.routes.clone(),
            model: None,
            named: Vec::new(),
            relationships: Vec::new(),
            problems,
        };
        let sql = match Sql::find(text, header.ends) {
            Ok(sql) => sql,
            Err((at, message)) => {
                draft.problems.add(at, message);
                return draft;
            }
        };
        let mut bucket = None;
        match &header.reads {
            Some(reads) => {
                draft.named = reads
                    .iter()
                    .map(|read| {
                        let (schema, name) = match read.value.split_once('.') {
                            Some((schema, name)) => (Some(schema.to_owned()), name.to_owned()),
                            None => (None, read.value.clone()),
                        };
                        Named { at: read.at, schema, name }
                    })
                    .collect();
            }
            None => match sql.parse() {
                Ok(query) => {
                    draft.named = sql.reads(&query);
                    if let Some(column) = &header.bucket {
                        match sql.bucket(&query, &column.value) {
                            Ok(found) => bucket = Some(found),
                            Err((at, message)) => draft.problems.add(at, message),
                        }
                    }
                }
                Err((at, message)) => draft.problems.add(at, message),
            },
        }
        let Some(kind) = header.kind else { return draft };
        let of = |placed: &[header::Placed<String>]| -> Vec<String> {
            placed.iter().map(|column| column.value.clone()).collect()
        };
        let key = of(&header.key);
        let routes = header.routes.clone().unwrap_or_default();
        let identity = format!("{} {kind:?} {routes:?} {key:?} {:?}", sql.meaning, header.on_conflict);
        for test in &header.tests {
            if let Check::Relationship { model, .. } = &test.value.check {
                draft.relationships.push((test.at, model.clone()));
            }
        }
        draft.model = Some(Model {
            name,
            file: file.to_owned(),
            kind,
            description: header.description.clone(),
            columns: header.descriptions(),
            routes,
            key,
            on_conflict: header.on_conflict,
            indexes: header.indexes.iter().map(|columns| of(columns)).collect(),
            tests: header.tests.iter().map(|test| test.value.clone()).collect(),
            bucket,
            max_quarantined_share: header.max_quarantined_share,
            query: sql.text,
            query_line: sql.line,
            reads: Vec::new(),
            fingerprint: hex::encode(&digest(&SHA256, identity.as_bytes()).as_ref()[..16]),
        });
        draft
    }
}

/// Why no model can have this name. The message follows the name.
fn check_model_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain) {
        return Err("must consist of lower-case letters, digits and `_` and begin with a letter, because it is the name of a table".to_owned());
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(format!("has {} bytes, more than {MAX_NAME_BYTES}", name.len()));
    }
    if RESERVED.contains(&name) {
        return Err("has another meaning in a query".to_owned());
    }
    Ok(())
}

/// Reports files with the same name, which case-insensitive file systems cannot distinguish.
fn refuse_twins(drafts: &mut [Draft]) {
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    for draft in drafts {
        let name = draft.name.to_lowercase();
        match first.get(&name) {
            Some(other) => {
                let message = format!("the model {} already exists in {other}", quoted(&draft.name));
                draft.problems.add(At::START, message);
            }
            None => {
                first.insert(name, draft.file.clone());
            }
        }
    }
}

/// Resolves names to references. An unknown name is a problem.
fn resolve(drafts: &mut [Draft]) {
    let names: Vec<String> = drafts.iter().map(|draft| draft.name.clone()).collect();
    for draft in drafts {
        let kind = draft.model.as_ref().map(|model| model.kind);
        let mut reads = Vec::new();
        for Named { at, schema, name } in &draft.named {
            let known = names.contains(name);
            let reference = match schema.as_deref() {
                None if name == "batch" => Reference::Batch,
                None if name == "raw_events" => Reference::Other("staging.raw_events".to_owned()),
                None | Some("facts") if known => Reference::Model(name.clone()),
                // A relation of a user.
                Some(schema) => Reference::Other(format!("{schema}.{name}")),
                None => {
                    let hint = match did_you_mean(name, names.iter().map(String::as_str)) {
                        hint if hint.is_empty() => {
                            "; write a relation that is not a model with its schema: `public.countries`"
                                .to_owned()
                        }
                        hint => hint,
                    };
                    draft.problems.add(*at, format!("there is no model {}{hint}", quoted(name)));
                    continue;
                }
            };
            if reference == Reference::Batch && kind.is_some_and(|kind| kind != ModelKind::Fact) {
                let message = "only a fact reads `batch`: read a fact instead, or `raw_events`";
                draft.problems.add(*at, message);
            }
            reads.push(reference);
        }
        for (at, model) in &draft.relationships {
            if !names.contains(model) {
                let hint = did_you_mean(model, names.iter().map(String::as_str));
                draft.problems.add(*at, format!("there is no model {}{hint}", quoted(model)));
            }
        }
        let Some(model) = &mut draft.model else { continue };
        if model.kind == ModelKind::Fact && draft.problems.is_empty() && !reads.contains(&Reference::Batch) {
            let at = At { line: model.query_line, column: 1 };
            draft.problems.add(at, "a fact must read `batch`, the claimed events: `select … from batch`");
        }
        if let Some(bucket) = &model.bucket
            && !reads.contains(&Reference::Model(bucket.model.clone()))
        {
            let at = At { line: model.query_line, column: 1 };
            draft.problems.add(
                at,
                format!("the bucket is computed from {}, which is not a model", quoted(&bucket.model)),
            );
        }
        model.reads = reads;
    }
}

/// Orders models after the models that they read. A model that reads a broken model is broken too.
fn order(mut drafts: Vec<Draft>) -> Project {
    let mut project = Project::default();
    loop {
        let ready = drafts.iter().position(|draft| {
            draft.problems.is_empty()
                && draft.model.as_ref().is_some_and(|model| {
                    below(model).all(|read| read != model.name && project.model(read).is_some())
                })
        });
        let Some(ready) = ready else { break };
        project.models.extend(drafts.remove(ready).model);
    }
    // The remaining models are broken, read a broken model, or are part of a cycle.
    let reads: BTreeMap<String, Vec<String>> = drafts
        .iter()
        .filter_map(|draft| {
            Some((draft.name.clone(), below(draft.model.as_ref()?).map(str::to_owned).collect()))
        })
        .collect();
    let wrong: BTreeSet<String> =
        drafts.iter().filter(|draft| !draft.problems.is_empty()).map(|draft| draft.name.clone()).collect();
    for draft in &mut drafts {
        if wrong.contains(&draft.name) {
            continue;
        }
        let line = draft.model.as_ref().map_or(1, |model| model.query_line);
        let at = draft.named.first().map_or(At { line, column: 1 }, |named| named.at);
        let message = match circle(&reads, &draft.name) {
            Some(circle) => format!("the models read each other in a cycle: {}", circle.join(" → ")),
            None => {
                let broken = reads
                    .get(&draft.name)
                    .into_iter()
                    .flatten()
                    .find(|read| reads.contains_key(*read) || wrong.contains(*read));
                format!("it reads {}, which is broken", quoted(broken.map_or("", String::as_str)))
            }
        };
        draft.problems.add(at, message);
    }
    project.broken = drafts
        .into_iter()
        .map(|draft| Broken {
            name: draft.name,
            file: draft.file,
            problems: draft.problems.lines(),
            routes: draft.routes,
        })
        .collect();
    project
}

/// The cycle from a model to itself.
fn circle(reads: &BTreeMap<String, Vec<String>>, name: &str) -> Option<Vec<String>> {
    let mut ways = vec![vec![name.to_owned()]];
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop() {
        for next in reads.get(way.last()?).into_iter().flatten() {
            let longer: Vec<String> = way.iter().chain([next]).cloned().collect();
            if next == name {
                return Some(longer);
            }
            if seen.insert(next.clone()) {
                ways.push(longer);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests;

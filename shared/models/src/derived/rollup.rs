//! Recomputes the invalidated buckets of a rollup.

use millrace::Result;
use serde_json::Value;
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::catalog::{Base, BaseKind, Node};
use crate::columns::columns;
use crate::model::{Bucket, BucketRange, Model};
use crate::sql::{self, Parameter, Statement, identifier, identifiers, literal, relation};

const BUCKET_COLUMN: Statement =
    Statement::new("read the type of a bucket's column", include_str!("bucket_column.sql"));
const TAKE: Statement =
    Statement::new("delete from pipeline.invalidations", include_str!("take_invalidations.sql"));
/// With more invalidated buckets, the whole rollup is recomputed.
const MOST_BUCKETS: usize = 50_000;
/// A name in queries around that of a model. No model can have this name.
const INVALIDATIONS: &str = "_millrace_invalidated";

/// The invalidations to process.
#[derive(Debug, Clone, PartialEq)]
pub enum Invalidated {
    Nothing,
    Everything,
    Buckets(Vec<Value>),
}

/// Deletes and returns the invalidations of a derived relation. Later statements of the transaction see their changes.
pub async fn take_invalidations(transaction: &Transaction<'_>, name: &str) -> Result<Invalidated> {
    let rows = TAKE.query(transaction, &[(&name, Type::TEXT)]).await?;
    let Some(row) = rows.first().filter(|row| row.get("is_invalidated")) else {
        return Ok(Invalidated::Nothing);
    };
    if row.get("everything") {
        return Ok(Invalidated::Everything);
    }
    match row.get("buckets") {
        Value::Array(buckets) if buckets.len() <= MOST_BUCKETS => Ok(Invalidated::Buckets(buckets)),
        _ => Ok(Invalidated::Everything),
    }
}

/// Recomputes the invalidated buckets and returns the number of rows written.
pub async fn recompute(
    transaction: &Transaction<'_>,
    node: &Node<'_>,
    model: &Model,
    invalidated: &Invalidated,
) -> Result<u64> {
    let columns: Vec<String> =
        columns(transaction, &model.name).await?.into_iter().map(|column| column.name).collect();
    let columns = identifiers(columns.iter().map(String::as_str));
    let table = relation(&model.name);
    let query = &model.query;
    let (buckets, bucket) = match (invalidated, &model.bucket) {
        (Invalidated::Nothing, _) => return Ok(0),
        (Invalidated::Buckets(buckets), Some(bucket)) => (buckets, bucket),
        _ => {
            run(transaction, model, &format!("delete from {table}"), &[]).await?;
            let insert =
                format!("insert into {table} ({columns}) select {columns} from (\n{query}\n) as query");
            return run(transaction, model, &insert, &[]).await;
        }
    };
    let column = identifier(&bucket.column);
    // By the row type of the table, so that values of every type are converted exactly.
    let values = format!(
        "{INVALIDATIONS} as materialized (
            select (jsonb_populate_record(null::{table}, jsonb_build_object({name}, bucket))).{column} as bucket
            from jsonb_array_elements($1) as bucket
            where bucket <> 'null'
        )",
        name = literal(&bucket.column),
    );
    let buckets = Buckets { values: Value::Array(buckets.clone()) };
    let among = |what: &str| buckets.among(what);
    let delete = format!("with {values} delete from {table} where {}", among(&column));
    run(transaction, model, &delete, &[(&buckets.values, Type::JSONB)]).await?;
    let shadow = match bucket_base(node, bucket) {
        Some(base) => {
            let range = usable_range(transaction, base, bucket).await?;
            // The query reads this instead of the relation, unless it names the schema. Therefore its result is filtered too.
            format!(
                ", {} as not materialized ({})",
                identifier(&base.name),
                buckets.rows(base, bucket, &range)
            )
        }
        None => String::new(),
    };
    let insert = format!(
        "with {values}{shadow}
        insert into {table} ({columns}) select {columns} from (\n{query}\n) as query where {}",
        among(&format!("query.{column}"))
    );
    run(transaction, model, &insert, &[(&buckets.values, Type::JSONB)]).await
}

/// The statement that creates the index on the column of the bucket, if no index begins with it.
pub(super) async fn missing_index(transaction: &Transaction<'_>, node: &Node<'_>) -> Result<Option<String>> {
    let Some((bucket, base)) = bucket_with_triggers(node) else { return Ok(None) };
    let column = match usable_range(transaction, base, bucket).await? {
        BucketRange::Value { column } | BucketRange::Span { column, .. } => column,
        BucketRange::Unknown => return Ok(None),
    };
    Ok(match look_at(transaction, base, &column).await? {
        Some(BucketColumn { is_indexed: false, .. }) => {
            Some(format!("create index on {} ({});\n", base.qualified(), identifier(&column)))
        }
        _ => None,
    })
}

/// Tries the expression of an invalidation function, because an error in it would fail every write to the table.
pub(super) async fn check_bucket(transaction: &Transaction<'_>, node: &Node<'_>) -> Result<()> {
    let Some((bucket, base)) = bucket_with_triggers(node) else { return Ok(()) };
    let sql = format!("select to_jsonb({}) from {} limit 0", bucket.expression, base.qualified());
    sql::batch_execute(
        transaction,
        &format!("compute the bucket of {} from facts.{}", node.name, base.name),
        &sql,
    )
    .await
}

fn bucket_with_triggers<'n>(node: &'n Node<'_>) -> Option<(&'n Bucket, &'n Base)> {
    let bucket = node.model?.bucket.as_ref()?;
    Some((bucket, bucket_base(node, bucket)?))
}

/// The table of the bucket's model; `None` if the model is a view, which can have several tables or other columns.
fn bucket_base<'n>(node: &'n Node<'_>, bucket: &Bucket) -> Option<&'n Base> {
    let is_it =
        |base: &&Base| base.schema == "facts" && base.name == bucket.model && base.kind == BaseKind::Table;
    node.bases.iter().find(is_it)
}

struct BucketColumn {
    is_time: bool,
    is_indexed: bool,
}

async fn look_at(transaction: &Transaction<'_>, base: &Base, column: &str) -> Result<Option<BucketColumn>> {
    let rows =
        BUCKET_COLUMN.query(transaction, &[(&base.relation, Type::OID), (&column, Type::TEXT)]).await?;
    Ok(rows
        .first()
        .map(|row| BucketColumn { is_time: row.get("is_time"), is_indexed: row.get("is_indexed") }))
}

/// A range of time requires a column of a time type: text is cast too, but compares differently.
async fn usable_range(transaction: &Transaction<'_>, base: &Base, bucket: &Bucket) -> Result<BucketRange> {
    if let BucketRange::Span { column, .. } = &bucket.range
        && !look_at(transaction, base, column).await?.is_some_and(|column| column.is_time)
    {
        return Ok(BucketRange::Unknown);
    }
    Ok(bucket.range.clone())
}

struct Buckets {
    values: Value,
}

impl Buckets {
    fn has(&self, is_it: impl Fn(&Value) -> bool) -> bool {
        self.values.as_array().is_some_and(|values| values.iter().any(is_it))
    }

    /// The condition that the value of `what` is an invalidated bucket.
    fn among(&self, what: &str) -> String {
        let or_null = if self.has(Value::is_null) { format!(" or {what} is null") } else { String::new() };
        format!("({what} in (select bucket from {INVALIDATIONS}){or_null})")
    }

    /// The rows of `base` in invalidated buckets.
    fn rows(&self, base: &Base, bucket: &Bucket, range: &BucketRange) -> String {
        let table = base.qualified();
        let (column, conditions) = match range {
            BucketRange::Unknown => {
                return format!(
                    "select * from {table} where {}",
                    self.among(&format!("({})", bucket.expression))
                );
            }
            BucketRange::Value { column } => {
                (identifier(column), vec!["source.{column} = invalidated.bucket"])
            }
            BucketRange::Span { column, .. } => {
                let mut conditions = vec![
                    "source.{column} >= invalidated.bucket and source.{column} < invalidated.bucket + {step}::interval",
                ];
                // Infinity is a bucket that is in no range.
                if self.has(|value| value.as_str().is_some_and(|text| text.ends_with("infinity"))) {
                    conditions
                        .push("source.{column} = invalidated.bucket and not isfinite(invalidated.bucket)");
                }
                (identifier(column), conditions)
            }
        };
        let step = match range {
            BucketRange::Span { step, .. } => literal(step),
            _ => String::new(),
        };
        let mut parts: Vec<String> = conditions
            .into_iter()
            .map(|condition| {
                let condition = condition.replace("{step}", &step).replace("{column}", &column);
                format!("select source.* from {INVALIDATIONS} as invalidated join {table} as source on {condition}")
            })
            .collect();
        if self.has(Value::is_null) {
            parts.push(format!("select source.* from {table} as source where source.{column} is null"));
        }
        parts.join("\nunion all\n")
    }
}

async fn run(
    transaction: &Transaction<'_>,
    model: &Model,
    statement: &str,
    buckets: &[Parameter<'_>],
) -> Result<u64> {
    Statement::new(&format!("compute {}", model.file), statement).execute(transaction, buckets).await
}

//! A model's SQL: the relations that it reads, its fingerprint, and the bucket of a rollup.
//!
//! `sqlparser` parses nearly all of PostgreSQL's queries. For other queries, `reads` in the header lists the relations.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use sqlparser::ast::{
    DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr, Ident,
    ObjectName, Query, Select, SelectItem, SetExpr, TableFactor, Value, Visit, VisitMut, Visitor, VisitorMut,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

use crate::model::{Bucket, BucketRange};
use crate::problem::At;

/// A query nested deeper than this is a mistake.
const DEPTH: usize = 60;
/// A longer query is a mistake.
const LONGEST: usize = 256 << 10;

/// A name as PostgreSQL reads it: folded to lower case unless it is quoted.
pub(crate) fn folded(name: &Ident) -> String {
    match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    }
}

/// The SQL of a file with its tokens.
pub(crate) struct Sql {
    /// Without the semicolon and surrounding white space.
    pub text: String,
    /// 1-based, in the file.
    pub line: usize,
    /// The tokens without white space and comments. Unquoted words are in lower case.
    pub meaning: String,
    tokens: Vec<TokenWithSpan>,
    lines_before: usize,
}

/// An error in a query and its position.
pub(crate) type Wrong = (At, String);

/// A relation that a query names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub at: At,
    pub schema: Option<String>,
    pub name: String,
}

impl Sql {
    /// The SQL of `file_text` after `lines` lines of header, which are `bytes` bytes.
    pub fn find(file_text: &str, (lines, bytes): (usize, usize)) -> Result<Sql, Wrong> {
        let text = &file_text[bytes..];
        let start = At { line: lines + 1, column: 1 };
        if text.len() > LONGEST {
            return Err((start, format!("the query has {} bytes, more than {LONGEST}", text.len())));
        }
        let tokens =
            Tokenizer::new(&PostgreSqlDialect {}, text).tokenize_with_location().map_err(|error| {
                let at =
                    At { line: lines + error.location.line as usize, column: error.location.column as usize };
                (at, format!("this is not SQL: {}", error.message))
            })?;
        let said = |token: &&TokenWithSpan| !matches!(token.token, Token::Whitespace(_) | Token::EOF);
        let mut meaning: Vec<&TokenWithSpan> = tokens.iter().filter(said).collect();
        while meaning.last().is_some_and(|last| last.token == Token::SemiColon) {
            meaning.pop();
        }
        let (Some(first), Some(last)) = (meaning.first(), meaning.last()) else {
            return Err((start, "there is no query below the header".to_owned()));
        };
        if let Some(second) = meaning.iter().find(|token| token.token == Token::SemiColon) {
            let at = place(lines, second.span.start);
            return Err((at, "a model is one query; a second query begins here".to_owned()));
        }
        let (from, to) = (offset(text, first.span.start), offset(text, last.span.end));
        let words = meaning.iter().map(|token| match &token.token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_lowercase(),
            other => other.to_string(),
        });
        let words = words.collect::<Vec<_>>().join(" ");
        Ok(Sql {
            text: text[from..to].to_owned(),
            line: lines + first.span.start.line as usize,
            meaning: words,
            lines_before: lines,
            tokens,
        })
    }

    /// Parses the query.
    pub fn parse(&self) -> Result<Query, Wrong> {
        let start = At { line: self.line, column: 1 };
        let mut parser = Parser::new(&PostgreSqlDialect {})
            .with_recursion_limit(DEPTH)
            .with_tokens_with_locations(self.tokens.clone());
        while parser.consume_token(&Token::SemiColon) {}
        if !begins_query(&parser.peek_token().token) {
            return Err((start, "a model is one query: `select …`".to_owned()));
        }
        // Not `parse_statements`: it would link the parsers of all other statements into the functions.
        let query = parser.parse_query().and_then(|query| {
            while parser.consume_token(&Token::SemiColon) {}
            match parser.peek_token() {
                TokenWithSpan { token: Token::EOF, .. } => Ok(query),
                rest => parser.expected("end of statement", rest),
            }
        });
        let query = query.map_err(|error| (self.place_in(&error), unparsed(&error)))?;
        match query.visit(&mut OnlyReads { lines: self.lines_before }) {
            ControlFlow::Break(message) => Err((start, message)),
            ControlFlow::Continue(()) => Ok(*query),
        }
    }

    /// The distinct relations that the query reads, without those of its own `with`.
    pub fn reads(&self, query: &Query) -> Vec<Named> {
        let mut found = self.mentions(query);
        let mut seen = BTreeSet::new();
        found.retain(|named| seen.insert((named.schema.clone(), named.name.clone())));
        found
    }

    /// All mentions of these relations.
    fn mentions(&self, query: &Query) -> Vec<Named> {
        let mut relations =
            Relations { lines: self.lines_before, scope: Vec::new(), inside: 0, found: Vec::new() };
        let _ = query.visit(&mut relations);
        relations.found
    }

    /// The bucket of a rollup with this query. `column` is the bucket in its header.
    pub fn bucket(&self, query: &Query, column: &str) -> Result<Bucket, Wrong> {
        let wrong = |message: &str| (At { line: self.line, column: 1 }, message.to_owned());
        if query.with.is_some() || query.limit_clause.is_some() || query.fetch.is_some() {
            return Err(wrong(
                "a rollup is one `select … from … group by`, without `with` and `limit`: move the rest to a model that it reads",
            ));
        }
        let SetExpr::Select(select) = query.body.as_ref() else {
            return Err(wrong("a rollup is one `select … from … group by`, without set operations"));
        };
        if select.distinct.is_some() || !select.named_window.is_empty() || has_window(select) {
            return Err(wrong(
                "a rollup has neither `distinct` nor window functions: a bucket must not depend on others",
            ));
        }
        let (position, expression) = select
            .projection
            .iter()
            .enumerate()
            .find_map(|(position, item)| Some((position, made_as(item, column)?)))
            .ok_or_else(|| {
                wrong(&format!(
                    "the query does not return the column `{column}`, which is the bucket in the header"
                ))
            })?;
        let GroupByExpr::Expressions(groups, modifiers) = &select.group_by else {
            return Err(wrong("a rollup must group by its bucket: add it to `group by`"));
        };
        let grouped = groups.iter().any(|group| match group {
            Expr::Value(ordinal) => ordinal.value.to_string() == (position + 1).to_string(),
            Expr::Identifier(name) if folded(name) == column => true,
            // Not `==`: it would link the comparison of every part of SQL.
            other => other.to_string() == expression.to_string(),
        });
        if !grouped || !modifiers.is_empty() {
            return Err(wrong(&format!(
                "a rollup must group by its bucket: `group by {column}`, without grouping sets"
            )));
        }
        let (model, plain) = self.source(select, expression).map_err(|message| wrong(&message))?;
        // A second mention would also only see the rows of the invalidated buckets.
        if self.mentions(query).iter().filter(|named| named.name == model).count() > 1 {
            return Err(wrong(&format!(
                "a rollup must name `{model}`, from which its bucket is computed, exactly once"
            )));
        }
        Ok(Bucket { column: column.to_owned(), model, range: range(&plain), expression: plain.to_string() })
    }

    /// The relation of an expression's columns, and the expression without qualifiers.
    fn source(&self, select: &Select, expression: &Expr) -> Result<(String, Expr), String> {
        let mut relations = Vec::new();
        for from in &select.from {
            for factor in std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation))
            {
                let TableFactor::Table { name, alias, args: None, .. } = factor else {
                    return Err("a rollup reads models by name, without subqueries in `from`".to_owned());
                };
                let (_, table) = split(name).ok_or("a rollup reads models by name")?;
                let known_as = alias.as_ref().map_or_else(|| table.clone(), |alias| folded(&alias.name));
                relations.push((known_as, table));
            }
        }
        let mut plain = expression.clone();
        let mut qualifiers = Unqualify { found: BTreeSet::new(), bare: false };
        let _ = VisitMut::visit(&mut plain, &mut qualifiers);
        let known_as =
            match (relations.as_slice(), qualifiers.found.iter().next()) {
                ([(only, _)], _) => only.clone(),
                (_, Some(qualifier)) if qualifiers.found.len() == 1 && !qualifiers.bare => qualifier.clone(),
                _ => return Err(
                    "qualify the columns of the bucket with their relation, as in `orders.ordered_at`; all of them must be of one relation"
                        .to_owned(),
                ),
            };
        let table = relations.iter().find(|(name, _)| *name == known_as).map(|(_, table)| table.clone());
        let table = table.ok_or_else(|| format!("the bucket reads `{known_as}`, which is not in `from`"))?;
        Ok((table, plain))
    }

    fn place_in(&self, error: &ParserError) -> At {
        // The message of the parser ends with the position: `… at Line: 3, Column: 8`.
        let text = error.to_string();
        let number = |name: &str| {
            let rest = text.rsplit_once(name)?.1;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<usize>().ok()
        };
        match (number("Line: "), number("Column: ")) {
            (Some(line), Some(column)) => At { line: self.lines_before + line, column },
            _ => At { line: self.line, column: 1 },
        }
    }
}

/// Whether a statement with this first token is a query, or not a statement at all.
fn begins_query(first: &Token) -> bool {
    match first {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::SELECT | Keyword::WITH | Keyword::VALUES | Keyword::FROM | Keyword::NoKeyword
        ),
        _ => true,
    }
}

fn unparsed(error: &ParserError) -> String {
    let text = match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.as_str(),
        ParserError::RecursionLimitExceeded => "it is nested too deeply",
    };
    let text = text.split(" at Line: ").next().unwrap_or(text);
    format!(
        "the SQL cannot be parsed: {text}. If PostgreSQL accepts it, list the relations that it reads in the header, as in \
         `reads = [\"batch\"]`"
    )
}

fn place(lines: usize, location: Location) -> At {
    At { line: lines + location.line as usize, column: location.column as usize }
}

/// The byte of `text` at a location.
fn offset(text: &str, location: Location) -> usize {
    let line_start = text
        .split_inclusive('\n')
        .take((location.line as usize).saturating_sub(1))
        .map(str::len)
        .sum::<usize>();
    let line = &text[line_start..];
    line_start
        + line
            .char_indices()
            .nth((location.column as usize).saturating_sub(1))
            .map_or(line.len(), |(at, _)| at)
}

fn split(name: &ObjectName) -> Option<(Option<String>, String)> {
    let parts: Option<Vec<&Ident>> = name.0.iter().map(|part| part.as_ident()).collect();
    match parts?.as_slice() {
        [table] => Some((None, folded(table))),
        [.., schema, table] => Some((Some(folded(schema)), folded(table))),
        [] => None,
    }
}

/// The expression of a selected column, if its name is `column`.
fn made_as<'s>(item: &'s SelectItem, column: &str) -> Option<&'s Expr> {
    match item {
        SelectItem::ExprWithAlias { expr, alias } if folded(alias) == column => Some(expr),
        SelectItem::UnnamedExpr(expr) => match expr {
            Expr::Identifier(name) if folded(name) == column => Some(expr),
            Expr::CompoundIdentifier(parts) if parts.last().is_some_and(|name| folded(name) == column) => {
                Some(expr)
            }
            _ => None,
        },
        _ => None,
    }
}

fn range(expression: &Expr) -> BucketRange {
    let column = |expression: &Expr| match expression {
        Expr::Identifier(name) => Some(folded(name)),
        _ => None,
    };
    let known = match expression {
        Expr::Identifier(name) => Some(BucketRange::Value { column: folded(name) }),
        // Every session of Millrace runs in UTC, so a day always has 24 hours.
        Expr::Cast { expr, data_type: DataType::Date, .. } => {
            column(expr).map(|column| BucketRange::Span { column, step: "1 day".to_owned() })
        }
        Expr::Function(function) => span(function),
        _ => None,
    };
    known.unwrap_or(BucketRange::Unknown)
}

fn span(function: &Function) -> Option<BucketRange> {
    let (_, name) = split(&function.name)?;
    let FunctionArguments::List(list) = &function.args else { return None };
    let arguments: Vec<&Expr> = list
        .args
        .iter()
        .filter_map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
            _ => None,
        })
        .collect();
    let text = |expression: &Expr| match expression {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            _ => None,
        },
        Expr::Interval(interval) => match interval.value.as_ref() {
            Expr::Value(value) if interval.leading_field.is_none() => match &value.value {
                Value::SingleQuotedString(text) => Some(text.clone()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    };
    match (name.as_str(), arguments.as_slice()) {
        ("date_trunc", [unit, Expr::Identifier(column)]) => {
            let unit = text(unit)?.to_lowercase();
            let step = match unit.as_str() {
                "second" | "minute" | "hour" | "day" | "week" | "month" | "year" => format!("1 {unit}"),
                "quarter" => "3 months".to_owned(),
                "decade" => "10 years".to_owned(),
                _ => return None,
            };
            Some(BucketRange::Span { column: folded(column), step })
        }
        ("date_bin", [step, Expr::Identifier(column), _]) => {
            Some(BucketRange::Span { column: folded(column), step: text(step)? })
        }
        _ => None,
    }
}

fn has_window(select: &Select) -> bool {
    struct Windows;
    impl Visitor for Windows {
        type Break = ();
        fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
            match expression {
                Expr::Function(function) if function.over.is_some() => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    select.projection.visit(&mut Windows).is_break()
}

/// Refuses queries that write.
struct OnlyReads {
    lines: usize,
}

impl Visitor for OnlyReads {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        let writes = matches!(
            query.body.as_ref(),
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_)
        );
        if writes || !query.locks.is_empty() {
            return ControlFlow::Break("a model only reads: no insert, update, delete or lock".to_owned());
        }
        // The parser does not visit the name of this relation.
        if matches!(query.body.as_ref(), SetExpr::Table(_)) {
            return ControlFlow::Break("write `select * from …` instead of `table …`".to_owned());
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<String> {
        match &select.into {
            Some(_) => {
                ControlFlow::Break(format!("a model only reads: no `into` (below line {})", self.lines))
            }
            None => ControlFlow::Continue(()),
        }
    }
}

/// Finds relations. A query with a `with` is visited separately, because its names are visible from their position on.
struct Relations {
    lines: usize,
    scope: Vec<String>,
    /// The depth inside a query that was visited separately.
    inside: usize,
    found: Vec<Named>,
}

impl Relations {
    fn below(&mut self, scope: &[String], part: &impl Visit) {
        let mut inner = Relations { lines: self.lines, scope: scope.to_vec(), inside: 0, found: Vec::new() };
        let _ = part.visit(&mut inner);
        self.found.append(&mut inner.found);
    }
}

impl Visitor for Relations {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        if self.inside > 0 {
            self.inside += 1;
            return ControlFlow::Continue(());
        }
        let Some(with) = &query.with else { return ControlFlow::Continue(()) };
        let mut scope = self.scope.clone();
        for table in &with.cte_tables {
            let name = folded(&table.alias.name);
            if with.recursive {
                scope.push(name.clone());
            }
            self.below(&scope, table.query.as_ref());
            scope.push(name);
        }
        let rest = Query { with: None, ..query.clone() };
        self.below(&scope, &rest);
        self.inside = 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.inside = self.inside.saturating_sub(1);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if self.inside > 0 {
            return ControlFlow::Continue(());
        }
        // With arguments it is a function.
        if let TableFactor::Table { name, args: None, .. } = factor
            && let Some((schema, table)) = split(name)
            && !(schema.is_none() && self.scope.contains(&table))
        {
            let start = name.0.first().and_then(|part| part.as_ident()).map(|ident| ident.span.start);
            let at = start.map_or(At::START, |start| place(self.lines, start));
            self.found.push(Named { at, schema, name: table });
        }
        ControlFlow::Continue(())
    }
}

/// Removes the qualifiers of columns.
struct Unqualify {
    found: BTreeSet<String>,
    bare: bool,
}

impl VisitorMut for Unqualify {
    type Break = ();

    fn pre_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<()> {
        match expression {
            Expr::CompoundIdentifier(parts) if parts.len() >= 2 => {
                self.found.insert(folded(&parts[parts.len() - 2]));
                if let Some(column) = parts.pop() {
                    *expression = Expr::Identifier(column);
                }
            }
            Expr::Identifier(_) => self.bare = true,
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

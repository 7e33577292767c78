//! Parses the tests of a header: `not_null(a)`, `unique(a, b)`, …, or any condition on a row.

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, Value, Visit, Visitor,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use crate::model::Check;
use crate::query::folded;
use crate::sql::{identifier, literal};

/// Aggregate functions, which a condition on one row cannot contain.
const AGGREGATES: &[&str] =
    &["count", "sum", "avg", "min", "max", "array_agg", "jsonb_agg", "string_agg", "bool_and", "bool_or"];

/// Parses one test. The error message describes the defect.
pub(crate) fn parse(text: &str) -> Result<Check, String> {
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(50)
        .try_with_sql(text)
        .map_err(|error| format!("the test is not SQL: {error}"))?;
    let expression = parser.parse_expr().map_err(|error| format!("the test is not a condition: {error}"))?;
    let rest = parser.next_token();
    if rest.token != Token::EOF {
        return Err(format!("unexpected text after the condition of the test: `{rest}`"));
    }
    if let Expr::Function(function) = &expression
        && let Some(check) = named(function)
    {
        return check;
    }
    if let ControlFlow::Break(why) = expression.visit(&mut OneRow) {
        return Err(why);
    }
    Ok(Check::Row { condition: text.trim().to_owned() })
}

fn named(function: &Function) -> Option<Result<Check, String>> {
    let [name] = function.name.0.as_slice() else { return None };
    let name = folded(name.as_ident()?);
    let arguments = arguments(function);
    let columns = || -> Result<Vec<String>, String> {
        arguments
            .iter()
            .map(|argument| column(argument).ok_or_else(|| format!("`{argument}` is not a column")))
            .collect()
    };
    let check = match name.as_str() {
        "not_null" => columns().and_then(|columns| match columns.as_slice() {
            [column] => Ok(Check::Row { condition: format!("{} is not null", identifier(column)) }),
            _ => Err("not_null takes one column: not_null(total)".to_owned()),
        }),
        "unique" => columns().and_then(|columns| match columns.is_empty() {
            true => Err("unique takes columns: unique(order_id)".to_owned()),
            false => Ok(Check::Unique { columns }),
        }),
        "accepted_values" => accepted_values(&arguments),
        "relationships" => relationship(&arguments),
        "freshness" => freshness(&arguments),
        _ => return None,
    };
    Some(check)
}

fn arguments(function: &Function) -> Vec<Expr> {
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    list.args
        .iter()
        .filter_map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression.clone()),
            _ => None,
        })
        .collect()
}

fn accepted_values(arguments: &[Expr]) -> Result<Check, String> {
    let wrong = || {
        "accepted_values takes a column and its values: accepted_values(status, 'paid', 'open')".to_owned()
    };
    let (first, values) =
        arguments.split_first().filter(|(_, values)| !values.is_empty()).ok_or_else(wrong)?;
    let column = column(first).ok_or_else(wrong)?;
    let values: Option<Vec<String>> = values
        .iter()
        .map(|value| match value {
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(text) => Some(literal(text)),
                Value::Number(number, _) => Some(number.clone()),
                Value::Boolean(truth) => Some(truth.to_string()),
                _ => None,
            },
            _ => None,
        })
        .collect();
    let values = values.ok_or_else(wrong)?.join(", ");
    Ok(Check::Row { condition: format!("{} in ({values})", identifier(&column)) })
}

fn relationship(arguments: &[Expr]) -> Result<Check, String> {
    let wrong = || {
        "relationships takes a column and another model's: relationships(customer_id, customers.id)"
            .to_owned()
    };
    let [first, Expr::CompoundIdentifier(parts)] = arguments else { return Err(wrong()) };
    let (model, model_column) = match parts.as_slice() {
        [model, column] => (model, column),
        [schema, model, column] if folded(schema) == "facts" => (model, column),
        _ => return Err(wrong()),
    };
    Ok(Check::Relationship {
        column: column(first).ok_or_else(wrong)?,
        model: folded(model),
        model_column: folded(model_column),
    })
}

fn freshness(arguments: &[Expr]) -> Result<Check, String> {
    let wrong = || "freshness takes a column and an age: freshness(ordered_at, '2 hours')".to_owned();
    let [first, Expr::Value(age)] = arguments else { return Err(wrong()) };
    let Value::SingleQuotedString(interval) = &age.value else { return Err(wrong()) };
    Ok(Check::Freshness { column: column(first).ok_or_else(wrong)?, interval: interval.clone() })
}

fn column(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Identifier(name) => Some(folded(name)),
        _ => None,
    }
}

/// Refuses conditions that a check constraint cannot contain.
struct OneRow;

impl Visitor for OneRow {
    type Break = String;

    fn pre_visit_query(&mut self, _query: &sqlparser::ast::Query) -> ControlFlow<String> {
        ControlFlow::Break("a condition applies to one row and cannot contain a subquery".to_owned())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<String> {
        if let Expr::Function(function) = expression {
            let name =
                function.name.0.last().and_then(|part| part.as_ident()).map(|name: &Ident| folded(name));
            if function.over.is_some() || name.is_some_and(|name| AGGREGATES.contains(&name.as_str())) {
                return ControlFlow::Break(format!(
                    "a condition applies to one row and cannot contain the aggregate or window function `{function}`"
                ));
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(condition: &str) -> Result<Check, String> {
        Ok(Check::Row { condition: condition.to_owned() })
    }

    #[test]
    fn tests_are_read() {
        let cases = [
            ("total >= 0", row("total >= 0")),
            (" status <> 'a, b' ", row("status <> 'a, b'")),
            ("not_null(Total)", row("\"total\" is not null")),
            ("accepted_values(status, 'it''s', 'x,y', 3)", row("\"status\" in ('it''s', 'x,y', 3)")),
            ("unique(a, \"B\")", Ok(Check::Unique { columns: vec!["a".into(), "B".into()] })),
            (
                "relationships(customer_id, facts.customers.id)",
                Ok(Check::Relationship {
                    column: "customer_id".into(),
                    model: "customers".into(),
                    model_column: "id".into(),
                }),
            ),
            (
                "freshness(at, '2 hours')",
                Ok(Check::Freshness { column: "at".into(), interval: "2 hours".into() }),
            ),
            ("length(name) < 10 and lower(name) = name", row("length(name) < 10 and lower(name) = name")),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_test_is_refused() {
        for text in [
            "",
            "total >=",
            "total > 0; drop table x",
            "not_null()",
            "unique()",
            "accepted_values(status)",
            "freshness(at)",
            "relationships(a, b)",
            "sum(total) > 0",
            "a in (select b from c)",
            "row_number() over () > 1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

//! Checks the roles: their existence, settings, passwords and privileges.

use millrace::Result;
use millrace::database::failure::from_postgres;
use tokio_postgres::{Client, Row};

use super::finding::{Finding, or_ok, psql};
use crate::terminal::{age, counted};

const ROLES: &str = include_str!("queries/roles.sql");
const PRIVILEGES: &str = include_str!("queries/privileges.sql");
/// A password that expires within this number of days is a warning.
const PASSWORD_DAYS: f64 = 14.0;

/// Checks existence, attributes, memberships, settings and passwords.
pub async fn roles(client: &Client) -> Result<Vec<Finding>> {
    let rows = client.query(ROLES, &[]).await.map_err(|error| from_postgres("read the roles", error))?;
    let mut findings = Vec::new();
    for row in &rows {
        let role: &str = row.get("role");
        if !row.get::<_, bool>("role_exists") {
            let found = format!("the role {role} does not exist");
            let action = psql(&format!("create role {role} login"));
            findings.push(Finding::problem(
                "roles",
                found,
                format!("{action}  # then grant it what the migrations grant"),
            ));
            continue;
        }
        findings.extend(attributes(role, row));
        findings.extend(settings(role, row));
        findings.extend(password(role, row.get("password_seconds_left")));
    }
    let found = format!("{}, with their settings", counted(rows.len() as u64, "role", "roles"));
    Ok(or_ok(findings, "roles", found))
}

fn attributes(role: &str, row: &Row) -> Vec<Finding> {
    let attributes: Vec<&str> = row.get("attributes");
    let memberships: Vec<&str> = row.get("memberships");
    let mut findings = Vec::new();
    if !attributes.is_empty() {
        let found = format!("the role {role} is {}, which it does not need", attributes.join(", "));
        let revoked: Vec<String> = attributes.iter().map(|attribute| format!("no{attribute}")).collect();
        findings.push(Finding::problem(
            "roles",
            found,
            psql(&format!("alter role {role} {}", revoked.join(" "))),
        ));
    }
    for other in memberships {
        let found = format!("the role {role} is a member of {other} and has its privileges");
        findings.push(Finding::problem("roles", found, psql(&format!("revoke \"{other}\" from {role}"))));
    }
    findings
}

fn settings(role: &str, row: &Row) -> Vec<Finding> {
    let missing: Vec<&str> = row.get("missing_settings");
    let (wanted, present): (&str, Option<&str>) = (row.get("search_path"), row.get("present_search_path"));
    let mut findings: Vec<Finding> = missing
        .iter()
        .map(|name| {
            let value = match *name {
                "search_path" => wanted.to_owned(),
                "lock_timeout" => "'20s'".to_owned(),
                "statement_timeout" if matches!(role, "millrace_ingest" | "millrace_reader") => {
                    "'60s'".to_owned()
                }
                "statement_timeout" => "'15min'".to_owned(),
                _ => "'60s'".to_owned(),
            };
            let found = format!("the role {role} has no {name}");
            Finding::problem("roles", found, psql(&format!("alter role {role} set {name} = {value}")))
        })
        .collect();
    if let Some(present) = present.filter(|present| *present != wanted) {
        let found = format!(
            "the role {role} has the search_path {present}: names may resolve to tables of other users"
        );
        let action = psql(&format!("alter role {role} set search_path = {wanted}"));
        findings.push(Finding::problem("roles", found, action));
    }
    findings
}

/// `seconds_left` is the time until the password expires; `None` if it does not expire.
fn password(role: &str, seconds_left: Option<f64>) -> Option<Finding> {
    let left = seconds_left?;
    let action = psql(&format!("alter role {role} valid until 'infinity'"));
    let action = format!("{action}  # or set another password, there and in the functions");
    if left <= 0.0 {
        let found =
            format!("the password of {role} expired {} ago: its functions cannot connect", age(-left));
        return Some(Finding::problem("passwords", found, action));
    }
    (left < PASSWORD_DAYS * 86_400.0).then(|| {
        Finding::warning("passwords", format!("the password of {role} expires in {}", age(left)), action)
    })
}

/// Compares the privileges of each role with those that the migrations grant.
pub async fn privileges(client: &Client) -> Result<Vec<Finding>> {
    let rows = client
        .query(PRIVILEGES, &[])
        .await
        .map_err(|error| from_postgres("read the privileges of roles", error))?;
    let findings = rows.iter().map(difference).collect();
    Ok(or_ok(findings, "privileges", "as the migrations grant them"))
}

fn difference(row: &Row) -> Finding {
    let (role, kind, object): (&str, &str, &str) = (row.get("role"), row.get("kind"), row.get("object"));
    let privilege: &str = row.get("privilege");
    let columns: Option<&str> = row.get("columns");
    let right = match columns {
        Some(columns) => format!("{privilege} ({columns})"),
        None => privilege.to_owned(),
    };
    match row.get("difference") {
        "owner" => Finding::problem(
            "privileges",
            format!("{role} owns the {kind} {object} and has all privileges on it"),
            psql(&format!("alter {kind} {object} owner to current_user")),
        ),
        "more" => Finding::problem(
            "privileges",
            format!("{role} has {right} on the {kind} {object}, which the migrations do not grant"),
            psql(&format!("revoke {right} on {kind} {object} from {role}")),
        ),
        _ => Finding::problem(
            "privileges",
            format!("{role} does not have {right} on the {kind} {object}, which its function needs"),
            psql(&format!("grant {right} on {kind} {object} to {role}")),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Level;

    #[test]
    fn a_password_is_spoken_of_two_weeks_before_its_end() {
        let level = |days: f64| password("r", Some(days * 86_400.0)).map(|finding| finding.level);
        assert_eq!(level(-0.1), Some(Level::Problem));
        assert_eq!(level(13.9), Some(Level::Warning));
        assert_eq!(level(14.1), None);
        assert_eq!(password("r", None), None);
    }
}

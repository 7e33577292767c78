//! The keys of `sources.toml`: the sample in `pipeline/` and `docs/configuration.md` state the defaults.

use millrace::config::{CsvOptions, ObjectRoute, Sources, WebhookSource};
use millrace_webhook::Preset;

use super::read;
use super::table::{CONFIGURATION, name, quoted, rows, section};

fn parse(text: &str) -> Result<Sources, String> {
    Sources::parse("sources.toml", text).map_err(|error| error.message().to_owned())
}

fn route(settings: &str, key: &str) -> (String, String, CsvOptions) {
    let sources = parse(&format!("[shop.csv]\n{settings}\n")).unwrap_or_else(|error| panic!("{error}"));
    match sources.route(key) {
        ObjectRoute::Csv(route) => (route.source, route.event_type, route.options),
        ObjectRoute::Unroutable { reason } => panic!("{key}: {reason}"),
    }
}

fn csv(settings: &str) -> CsvOptions {
    route(settings, "incoming/shop/orders/a.csv").2
}

fn webhook(settings: &str) -> Result<WebhookSource, String> {
    let sources = parse(&format!("[shop.webhook]\n{settings}\n"))?;
    Ok(sources.webhook("shop").expect("a webhook").clone())
}

/// The required keys of a preset.
fn webhook_keys(preset: Preset) -> String {
    let header = if preset == Preset::Hmac { "header = 'X-Signature'\n" } else { "" };
    format!("preset = '{preset}'\nsecret = 'env:SECRET'\n{header}")
}

/// Fails unless the presets that take a key have the default `setting`; returns how many do.
fn check_webhooks(presets: &[Preset], setting: &str) -> usize {
    let mut count = 0;
    for preset in presets {
        let keys = webhook_keys(*preset);
        let default = webhook(&keys).unwrap();
        match webhook(&format!("{keys}{setting}")) {
            Ok(set) => {
                assert_eq!(set, default, "preset {preset}: `{setting}` is not the default");
                count += 1;
            }
            Err(error) => assert!(error.contains(&format!("preset {preset}")), "{setting}: {error}"),
        }
    }
    count
}

/// The keys of a table of the sample, each with its line. The first list has the keys that are set, the second those that
/// are comments.
fn sample_keys(table: &str) -> [Vec<(String, String)>; 2] {
    let sample = read("pipeline/sources.toml");
    let (_, rest) = sample.split_once(&format!("\n[{table}]")).expect(table);
    let lines = rest.lines().skip(1).take_while(|line| !line.starts_with('['));
    let mut keys = [Vec::new(), Vec::new()];
    for line in lines {
        let setting = line.trim_start_matches("# ");
        if let Some((key, _)) = setting.split_once(" = ") {
            keys[usize::from(setting != line)].push((key.to_owned(), setting.to_owned()));
        }
    }
    keys
}

fn names(keys: &[(String, String)]) -> Vec<&str> {
    keys.iter().map(|(key, _)| key.as_str()).collect()
}

#[test]
fn the_sample_of_a_csv_source_states_the_defaults() {
    let [set, comments] = sample_keys("sample.csv");
    assert!(set.len() >= 10, "{set:?}");
    for (_, line) in set {
        assert_eq!(csv(&line), csv(""), "{line}");
    }
    // These have no default; the sample has examples of them.
    assert_eq!(names(&comments), ["path", "event_type", "skip_lines"]);
}

#[test]
fn the_sample_of_a_webhook_states_the_defaults() {
    let [set, comments] = sample_keys("hmac.webhook");
    let required = ["preset", "secret", "header"];
    assert!(required.iter().all(|key| names(&set).contains(key)) && set.len() >= 10, "{set:?}");
    for (key, line) in &set {
        if !required.contains(&key.as_str()) {
            assert_eq!(check_webhooks(&[Preset::Hmac], line), 1, "{line}");
        }
    }
    // `records` has no default, and `tolerance_seconds` belongs to other presets.
    assert_eq!(names(&comments), ["tolerance_seconds", "records"]);
    assert_eq!(check_webhooks(&Preset::ALL, &comments[0].1), 3);

    let [api_key, _] = sample_keys("api_key.webhook");
    let (_, header) = api_key.iter().find(|(key, _)| key == "header").expect("a header");
    assert_eq!(check_webhooks(&[Preset::ApiKey], header), 1);
}

/// The TOML value of a default: text in backticks is a string unless it is a list.
fn literal(cell: &str) -> String {
    match cell.strip_prefix('`').and_then(|cell| cell.strip_suffix('`')) {
        Some(list) if list.starts_with('[') => list.to_owned(),
        Some(text) => format!("'{text}'"),
        None => cell.replace(',', ""),
    }
}

#[test]
fn the_documented_defaults_of_csv_keys_are_those_of_the_code() {
    for row in rows(&section(CONFIGURATION, "### `[<source>.csv]`"), "key") {
        let key = name(&row[0]);
        match (key.as_str(), row[1].as_str()) {
            ("path", "none") => assert_eq!(route("", "incoming/legacy/orders/a.csv").0, "legacy"),
            ("event_type", "third part of the key") => {
                assert_eq!(route("", "incoming/shop/orders/a.csv").1, "orders");
            }
            ("event_types", "none") => {
                assert_eq!(route("", "incoming/shop/returns/a.csv").2, csv(""));
            }
            ("skip_lines", "detected") => assert_eq!(csv("").skip_lines, None),
            ("columns", "none") => assert!(csv("").columns.is_empty()),
            (key, default) => {
                let setting = format!("{key} = {}", literal(default));
                assert_eq!(csv(&setting), csv(""), "`{setting}` is not the default");
            }
        }
    }
}

#[test]
fn the_documented_defaults_of_webhook_keys_are_those_of_the_code() {
    for row in rows(&section(CONFIGURATION, "### `[<source>.webhook]`"), "key") {
        let key = name(&row[0]);
        match (key.as_str(), row[1].as_str()) {
            // The table of presets has these.
            ("delivery_id" | "event_type", "see above") => {}
            ("records", "none") => {
                assert!(
                    Preset::ALL
                        .iter()
                        .all(|preset| webhook(&webhook_keys(*preset)).unwrap().records.is_none())
                );
            }
            ("prefix", "none") => assert_eq!(check_webhooks(&Preset::ALL, "prefix = ''"), 1),
            (key, cell) => check_documented(key, cell),
        }
    }
}

/// Checks the cell of a default: `required`, a value, and values of single presets, separated by semicolons.
fn check_documented(key: &str, cell: &str) {
    let mut presets = Preset::ALL.to_vec();
    let find = |name: &str| Preset::ALL.into_iter().find(|preset| preset.name() == name).expect("a preset");
    // The value of a single preset excludes it from the general value.
    for part in cell.split("; ") {
        if let Some((preset, value)) = part.split_once(": ") {
            let preset = find(&preset.replace('`', ""));
            assert_eq!(check_webhooks(&[preset], &format!("{key} = {}", literal(value))), 1, "{key}");
            presets.retain(|other| *other != preset);
        } else if let Some(preset) = part.strip_prefix("required for ") {
            let preset = find(&preset.replace('`', ""));
            check_required(preset, key);
            presets.retain(|other| *other != preset);
        }
    }
    for part in cell.split("; ").filter(|part| !part.contains(": ") && !part.starts_with("required for ")) {
        if part == "required" {
            presets.iter().for_each(|preset| check_required(*preset, key));
        } else {
            assert!(check_webhooks(&presets, &format!("{key} = {}", literal(part))) > 0, "{key}");
        }
    }
}

fn check_required(preset: Preset, key: &str) {
    let keys = webhook_keys(preset);
    let others: Vec<&str> = keys.lines().filter(|line| !line.starts_with(&format!("{key} = "))).collect();
    let error = webhook(&others.join("\n")).unwrap_err();
    assert!(error.contains(&format!("`{key}` is missing")), "{preset}: {error}");
}

#[test]
fn the_documented_defaults_of_presets_are_those_of_the_code() {
    let rows = rows(&section(CONFIGURATION, "### `[<source>.webhook]`"), "`preset`");
    assert_eq!(rows.len(), Preset::ALL.len());
    for (row, preset) in rows.iter().zip(Preset::ALL) {
        assert_eq!(name(&row[0]), preset.name());
        for (key, cell) in [("delivery_id", &row[3]), ("event_type", &row[4])] {
            let setting = format!("{key} = {:?}", quoted(cell));
            assert_eq!(check_webhooks(&[preset], &setting), 1, "{preset}: {setting}");
        }
    }
}

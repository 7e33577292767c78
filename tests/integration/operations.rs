//! Runs the statements of `docs/operations.md`, and checks that the page documents every alarm.

use std::path::{Path, PathBuf};

use crate::transform::fixture::{ORDERS, TransformFixture};

fn read(file: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The SQL blocks below a heading, up to the next heading.
fn statements(heading: &str) -> Vec<String> {
    let text = read("docs/operations.md");
    let start = text.find(&format!("\n### {heading}\n")).expect(heading) + 1;
    let section = &text[start..];
    let end = section[1..].find("\n##").map_or(section.len(), |at| at + 1);
    section[..end]
        .split("```sql\n")
        .skip(1)
        .map(|block| block.split("```").next().expect("the end of a block").to_owned())
        .collect()
}

#[test]
fn every_alarm_of_the_template_is_documented() {
    let template = read("infra/template.yaml");
    let names: Vec<&str> = template
        .lines()
        .filter_map(|line| {
            line.trim().strip_prefix("AlarmName: !Sub \"${AWS::StackName}-")?.strip_suffix('"')
        })
        .collect();
    assert_eq!(names.len(), template.matches("Type: AWS::CloudWatch::Alarm").count());
    assert!(!names.is_empty());
    let (metrics, operations) = (read("docs/metrics.md"), read("docs/operations.md"));
    for name in names {
        assert!(metrics.contains(&format!("\n| `{name}` |")), "docs/metrics.md has no alarm {name}");
        assert!(operations.contains(&format!("\n### `{name}`: ")), "docs/operations.md has no alarm {name}");
    }
}

#[tokio::test]
async fn a_source_is_hidden_and_then_removed_and_the_others_stay() {
    let others = ORDERS.replace("shop/orders", "other/orders");
    let fixture = TransformFixture::new(&[("orders", ORDERS), ("others", &others)]).await;
    fixture.orders(&[(1, "1", "a"), (2, "free", "b")]).await;
    fixture.run("insert into raw_events (source, event_type, payload) values ('other', 'orders', '{\"order_id\": 7}')")
        .await;
    fixture.transformed().await;
    assert_eq!(
        (fixture.number("select count(*) from facts.orders").await, fixture.facts().await.len()),
        (1, 1)
    );

    let blocks = statements("A source");
    let [hide, remove] = blocks.as_slice() else { panic!("{blocks:?}") };
    fixture.run(hide).await;
    fixture.transformed().await;
    assert_eq!(fixture.number("select count(*) from raw_events where source = 'shop'").await, 0);
    assert_eq!(fixture.number("select count(*) from facts.orders").await, 0);

    fixture.run(remove).await;
    fixture.transformed().await;
    for table in ["events", "batches", "loads", "deliveries"] {
        let left = format!("select count(*) from staging.{table} where source = 'shop'");
        assert_eq!(fixture.number(&left).await, 0, "{table}");
    }
    assert_eq!(fixture.number("select count(*) from raw_events").await, 1);
    assert_eq!(fixture.number("select count(*) from facts.others").await, 1);
    fixture.check_counts().await;
}

#[tokio::test]
async fn a_removed_model_is_deleted_and_its_events_are_unmodelled() {
    let by_note = "-- kind = \"materialized_view\"\n-- key = [\"note\"]
select note, count(*) as orders from orders group by note";
    let fixture = TransformFixture::new(&[("orders", ORDERS), ("orders_by_note", by_note)]).await;
    fixture.orders(&[(1, "1", "a")]).await;
    fixture.transformed().await;
    for file in std::fs::read_dir(fixture.pipeline.path().join("models")).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    fixture.orders(&[(2, "2", "b")]).await;
    let summary = fixture.transformed().await;
    assert_eq!((summary.events, summary.unmodelled), (1, 1));
    assert_eq!(fixture.number("select count(*) from facts.orders").await, 1, "the table stays");

    let blocks = statements("A model");
    assert_eq!(blocks.len(), 1);
    fixture.run(&blocks[0]).await;
    fixture.orders(&[(3, "3", "c")]).await;
    assert_eq!(fixture.transformed().await.unmodelled, 1);
    assert_eq!(fixture.number("select count(*) from pipeline.models").await, 0);
}

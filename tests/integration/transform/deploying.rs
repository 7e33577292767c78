//! Tables from queries, and the effect of a changed query.

use super::fixture::{ORDERS, TransformFixture};

async fn column_type(fixture: &TransformFixture, column: &str) -> String {
    let sql = "select format_type(atttypid, atttypmod) from pg_attribute where attrelid = 'facts.orders'::regclass and attname = $1";
    fixture.owner.query_one(sql, &[&column]).await.expect("a column").get(0)
}

#[tokio::test]
async fn a_table_has_the_query_s_own_types_keys_indexes_and_comments() {
    let orders = ORDERS.replace(
        "-- key",
        "-- description = \"It's orders\"\n-- columns = {total = \"In euros\"}\n-- indexes = [[\"total\", \"note\"]]\n-- key",
    );
    let fixture = TransformFixture::new(&[("orders", &orders)]).await;
    fixture.transformed().await;
    assert_eq!(column_type(&fixture, "total").await, "numeric(12,2)");
    let text =
        |sql: &'static str| async { fixture.owner.query_one(sql, &[]).await.unwrap().get::<_, String>(0) };
    assert_eq!(text("select obj_description('facts.orders'::regclass)").await, "It's orders");
    assert_eq!(text("select col_description('facts.orders'::regclass, 2)").await, "In euros");
    assert_eq!(
        text("select tableowner::text from pg_tables where tablename = 'orders'").await,
        "millrace_transform"
    );
    let indexes =
        "select count(*) from pg_indexes where tablename = 'orders' and indexdef like '%(total, note)%'";
    assert_eq!(fixture.number(indexes).await, 1);
    let reader = fixture.database.role("millrace_reader").await;
    reader.batch_execute("select * from facts.orders").await.expect("the reader reads facts");
    fixture.transformed().await;
    assert_eq!(fixture.number(indexes).await, 1, "deployed once");
}

#[tokio::test]
async fn a_new_column_is_added_and_a_changed_one_is_refused() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    fixture.orders(&[(1, "1", "a")]).await;
    fixture.transformed().await;
    fixture.write("orders", &ORDERS.replace("from batch", ", payload->>'note' as remark from batch"));
    fixture.orders(&[(2, "2", "b")]).await;
    fixture.transformed().await;
    assert_eq!(fixture.number("select count(*) from facts.orders where remark = 'b'").await, 1);
    fixture.write("orders", &ORDERS.replace("numeric(12,2)", "text"));
    fixture.orders(&[(3, "3", "c")]).await;
    let summary = fixture.transform().await.expect("a run");
    let reason = &summary.waiting.first().expect("something waits").reason;
    for part in
        ["total is numeric(12,2) and would become text", "remark is no longer selected", "--full-refresh"]
    {
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!(fixture.facts().await.len(), 2, "what is there stays");
}

#[tokio::test]
async fn a_users_table_is_not_changed() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    fixture.run("create table facts.orders (mine int)").await;
    fixture.orders(&[(1, "1", "a")]).await;
    let summary = fixture.transform().await.expect("a run");
    assert!(summary.waiting.first().unwrap().reason.contains("was not created by a model"));
}

#[tokio::test]
async fn two_workers_deploy_the_same_models_concurrently() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    fixture.orders(&[(1, "1", "a")]).await;
    let (one, other, third) =
        tokio::join!(fixture.transformed(), fixture.transformed(), fixture.transformed());
    assert_eq!(one.events + other.events + third.events, 1);
    fixture.check_orders().await;
}

#[tokio::test]
async fn a_long_reader_of_a_changed_table_holds_back_only_its_events() {
    let other = "-- kind = \"fact\"\n-- source = \"shop/refunds\"\nselect payload->>'id' as id from batch";
    let fixture = TransformFixture::new(&[("orders", ORDERS), ("refunds", other)]).await;
    fixture.transformed().await;
    let reader = fixture.database.role("millrace_reader").await;
    reader.batch_execute("begin; select * from facts.orders").await.expect("read");
    fixture.write("orders", &ORDERS.replace("from batch", ", payload->>'note' as remark from batch"));
    fixture.orders(&[(1, "1", "a")]).await;
    fixture
        .run("insert into raw_events (source, event_type, payload) values ('shop', 'refunds', '{}')")
        .await;
    let summary = fixture.transform().await.expect("a run");
    assert_eq!(summary.rows["refunds"], 1);
    let reason = &summary.waiting.first().expect("orders wait").reason;
    assert!(reason.contains("facts.orders must be altered and is in use"), "{reason}");
    reader.batch_execute("commit").await.expect("end");
    fixture.transformed().await;
    assert_eq!(fixture.number("select count(*) from facts.orders where remark = 'a'").await, 1);
}

//! Rollups: only dirty buckets are recomputed, and the result equals the whole query.

use super::shop::{DAYS, ORDERS, Shop};

const FOUR: &str =
    "(1, 'ann', 10.5, timestamptz '2024-03-01 10:00Z'), (2, 'bob', 2, '2024-03-01 23:59:59.999999Z'),
    (3, 'ann', 3, '2024-03-02 00:00Z'), (4, 'cid', 4, '2024-05-05 12:00Z')";

/// Marks every row of the rollup. A recomputed bucket has no marked rows.
async fn mark(shop: &Shop) {
    shop.run("update facts.days set total = -1").await;
}

async fn marked(shop: &Shop) -> Vec<String> {
    let rows = shop
        .owner
        .query("select distinct to_char(day at time zone 'UTC', 'MM-DD') from facts.days where total = -1 order by 1", &[])
        .await
        .expect("marked days");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn the_rollup_equals_its_query_after_any_change_of_facts() {
    let shop = Shop::new(&[("orders", ORDERS), ("days", DAYS)]).await;
    shop.refreshed().await;
    shop.orders(FOUR).await;
    assert_eq!(shop.refreshed().await, ["days"]);
    shop.check("days").await;
    assert_eq!(shop.number("select count(*) from facts.days").await, 4);
    let changes = [
        "insert into facts.orders values (5, 'dan', 7, '2024-03-02 10:00Z', now(), 0), (6, 'dan', 1, '2023-12-31 23:30Z', now(), 0)",
        // A row moves to another bucket, and within one.
        "update facts.orders set ordered_at = ordered_at + interval '1 day' where order_id = 2",
        "update facts.orders set total = total + 1 where order_id = 1",
        "delete from facts.orders where order_id = 4",
        "insert into facts.orders values (1, 'ann', 99, '2024-07-01Z', now(), 0)
         on conflict (order_id) do update set total = excluded.total, ordered_at = excluded.ordered_at",
        // Several changes in one transaction, one of them rolled back.
        "begin; update facts.orders set customer = 'eve' where order_id = 3; savepoint s;
         delete from facts.orders; rollback to s; delete from facts.orders where order_id = 5; commit",
        "insert into facts.orders values (7, 'inf', 1, 'infinity', now(), 0), (8, 'inf', 1, '-infinity', now(), 0)",
        "update facts.orders set total = 2 where order_id = 7",
        "truncate facts.orders",
    ];
    for change in changes {
        shop.run(change).await;
        assert_eq!(shop.refreshed().await, ["days"], "{change}");
        shop.check("days").await;
        assert!(shop.refreshed().await.is_empty(), "nothing changed since: {change}");
    }
    assert_eq!(shop.number("select count(*) from pipeline.invalidations").await, 0);
}

#[tokio::test]
async fn only_dirty_buckets_are_computed() {
    let shop = Shop::new(&[("orders", ORDERS), ("days", DAYS)]).await;
    shop.orders(FOUR).await;
    shop.refreshed().await;
    mark(&shop).await;
    // A manual correction, in another time zone.
    shop.run("set timezone = 'Asia/Tokyo'; update facts.orders set total = 5 where order_id = 3").await;
    shop.refreshed().await;
    assert_eq!(marked(&shop).await, ["03-01", "05-05"]);
    shop.run("update facts.orders set ordered_at = '2024-03-01Z' where order_id = 3").await;
    shop.refreshed().await;
    assert_eq!(marked(&shop).await, ["05-05"]);
    assert_eq!(shop.number("select count(*) from facts.days where day = '2024-03-02Z'").await, 0);
}

#[tokio::test]
async fn buckets_of_every_kind_equal_their_query() {
    let by_customer = DAYS.replace(
        "date_trunc('day', ordered_at) as day, customer",
        "customer as day, order_id % 2 as customer",
    );
    let by_date = DAYS.replace("date_trunc('day', ordered_at)", "ordered_at::date");
    let by_bin =
        DAYS.replace("date_trunc('day', ordered_at)", "date_bin('15 min', ordered_at, '2001-01-01Z')");
    let by_text = DAYS.replace("date_trunc('day', ordered_at)", "left(customer, 1)");
    let joined = DAYS
        .replace("from orders", "from facts.orders join customers using (customer)")
        .replace("date_trunc('day', ordered_at)", "date_trunc('day', orders.ordered_at)")
        .replace("sum(total)", "sum(orders.total)");
    let customers = ORDERS.replace("order_id", "customer_id").replace("shop/orders", "shop/customers");
    let month_of_days = DAYS
        .replace("date_trunc('day', ordered_at)", "date_trunc('month', day)")
        .replace("from orders", "from days")
        .replace("count(*) as orders", "sum(orders) as orders");
    let shop = Shop::new(&[
        ("orders", ORDERS),
        ("customers", &customers),
        ("days", DAYS),
        ("by_customer", &by_customer),
        ("by_date", &by_date),
        ("by_bin", &by_bin),
        ("by_text", &by_text),
        ("joined", &joined),
        ("months", &month_of_days),
    ])
    .await;
    let all = ["days", "by_customer", "by_date", "by_bin", "by_text", "joined", "months"];
    shop.run("insert into facts.customers values (1, 'ann', 1, now(), now(), 0)").await;
    shop.orders(FOUR).await;
    let changes = [
        "update facts.orders set ordered_at = '2024-04-01Z', customer = 'ann' where order_id = 4",
        "insert into facts.orders values (9, 'zoe', 9, '2024-04-01 00:14:59.9Z', now(), 0)",
        "delete from facts.orders where order_id = 3",
        // The change has no bucket, so everything that reads it is recomputed.
        "insert into facts.customers values (2, 'bob', 1, now(), now(), 0), (3, 'zoe', 1, now(), now(), 0)",
    ];
    shop.refreshed().await;
    for change in changes {
        shop.run(change).await;
        shop.refreshed().await;
        for name in all {
            shop.check(name).await;
        }
    }
    let index =
        "select count(*) from pg_indexes where tablename = 'orders' and indexdef like '%(ordered_at)%'";
    assert_eq!(shop.number(index).await, 1, "one index for all that find rows by the time");
}

#[tokio::test]
async fn a_null_is_a_bucket_of_the_facts_and_none_of_the_rollup() {
    let days = DAYS.replace("group by", "where ordered_at is not null group by");
    let shop = Shop::new(&[("orders", ORDERS), ("days", &days)]).await;
    shop.orders(FOUR).await;
    shop.refreshed().await;
    mark(&shop).await;
    shop.run("update facts.orders set ordered_at = null where order_id = 4").await;
    shop.refreshed().await;
    assert_eq!(marked(&shop).await, ["03-01", "03-02"]);
    shop.run("update facts.orders set ordered_at = '2024-05-06Z' where order_id = 4").await;
    shop.refreshed().await;
    assert_eq!(shop.number("select count(*) from facts.days where day = '2024-05-06Z'").await, 1);
}

#[tokio::test]
async fn a_changed_query_recomputes_everything_and_a_removed_file_drops_its_triggers() {
    let mut shop = Shop::new(&[("orders", ORDERS), ("days", DAYS)]).await;
    shop.orders(FOUR).await;
    shop.refreshed().await;
    shop.write("days", &DAYS.replace("sum(total)", "max(total)"));
    shop.deployed().await;
    assert_eq!(shop.refreshed().await, ["days"]);
    shop.check("days").await;
    let triggers = "select count(*) from pg_trigger where tgrelid = 'facts.orders'::regclass and tgname like 'invalidate%'";
    assert_eq!(shop.number(triggers).await, 4);
    shop.run("delete from facts.orders where order_id = 1").await;
    shop.remove("days");
    shop.deployed().await;
    assert_eq!(shop.number(triggers).await, 0);
    assert_eq!(shop.number("select count(*) from pipeline.invalidations").await, 0);
    assert_eq!(shop.number("select count(*) from facts.days").await, 4, "the table stays");
}

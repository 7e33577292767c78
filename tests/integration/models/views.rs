//! Views and materialized views: created, replaced, recreated, and refreshed after changes below them.

use super::shop::{DAYS, ORDERS, Shop};

const RECENT: &str = "-- kind = \"view\"
-- description = \"Lately\"
select order_id, customer, total from orders";

const CUSTOMERS: &str = "-- kind = \"materialized_view\"
-- key = [\"customer\"]
select customer, sum(total) as total from recent group by customer";

const TWO: &str = "(1, 'ann', 10.5, timestamptz '2024-03-01 10:00Z'), (2, 'bob', 2, '2024-03-01Z')";

#[tokio::test]
async fn a_view_with_changed_columns_is_recreated_with_its_dependants() {
    let mut shop = Shop::new(&[("orders", ORDERS), ("recent", RECENT), ("customers", CUSTOMERS)]).await;
    shop.orders(TWO).await;
    assert_eq!(shop.refreshed().await, ["customers"]);
    let before = shop.number("select 'facts.customers'::regclass::oid::bigint").await;
    // An additional column is a replacement.
    shop.write("recent", &RECENT.replace("total from", "total, ordered_at from"));
    shop.deployed().await;
    shop.check("recent").await;
    assert_eq!(shop.number("select 'facts.customers'::regclass::oid::bigint").await, before);
    shop.write("recent", &RECENT.replace("order_id, ", "").replace("total from", "total * 2 as total from"));
    shop.deployed().await;
    shop.check("recent").await;
    assert_ne!(shop.number("select 'facts.customers'::regclass::oid::bigint").await, before);
    shop.check("customers").await;
    let comment = "select count(*) from pg_description where objoid = 'facts.recent'::regclass and description = 'Lately'";
    assert_eq!(shop.number(comment).await, 1);
    shop.database
        .role("millrace_reader")
        .await
        .batch_execute("select * from facts.customers")
        .await
        .expect("read");
}

#[tokio::test]
async fn a_users_objects_on_a_view_are_never_dropped() {
    let mut shop = Shop::new(&[("orders", ORDERS), ("recent", RECENT), ("customers", CUSTOMERS)]).await;
    shop.run("create view public.mine as select customer from facts.recent").await;
    shop.write("recent", &RECENT.replace("order_id, ", ""));
    let deployment = shop.deploy().await;
    assert!(deployment.stopped["recent"].chain().contains("public.mine"), "{:?}", deployment.stopped);
    assert!(deployment.stopped.contains_key("customers"));
    assert!(!deployment.stopped.contains_key("orders"));
    assert_eq!(shop.number("select count(order_id) from facts.recent").await, 0, "it is as it was");
    shop.run("drop view public.mine").await;
    shop.deployed().await;
    shop.check("recent").await;
}

#[tokio::test]
async fn a_materialized_view_is_refreshed_only_after_changes_below_its_views() {
    let shop =
        Shop::new(&[("orders", ORDERS), ("days", DAYS), ("recent", RECENT), ("customers", CUSTOMERS)]).await;
    assert_eq!(shop.refreshed().await, ["customers", "days"]);
    assert!(shop.refreshed().await.is_empty());
    shop.orders(TWO).await;
    assert_eq!(shop.refreshed().await, ["customers", "days"]);
    shop.check("customers").await;
    assert!(shop.refreshed().await.is_empty());
    // A reader blocks a refresh that takes an exclusive lock, but not a concurrent refresh.
    let reader = shop.database.owner().await;
    reader.batch_execute("begin; select * from facts.customers").await.expect("read");
    shop.run("delete from facts.orders where order_id = 1").await;
    assert_eq!(shop.refreshed().await, ["customers", "days"]);
    shop.check("customers").await;
}

#[tokio::test]
async fn a_changed_query_takes_effect_immediately() {
    let mut shop = Shop::new(&[("orders", ORDERS), ("recent", RECENT), ("customers", CUSTOMERS)]).await;
    shop.orders(TWO).await;
    shop.refreshed().await;
    shop.write("customers", &CUSTOMERS.replace("sum(total)", "max(total)::text"));
    shop.deployed().await;
    shop.check("customers").await;
    shop.refreshed().await;
    shop.orders("(3, 'ann', 99, timestamptz '2024-03-01Z')").await;
    assert_eq!(shop.refreshed().await, ["customers"]);
    shop.check("customers").await;
}

#[tokio::test]
async fn materialized_views_made_by_hand_are_refreshed_in_the_order_of_what_they_read() {
    let shop = Shop::new(&[("orders", ORDERS), ("days", DAYS)]).await;
    shop.run(
        "set role millrace_transform;
         create materialized view facts.b as select sum(total) as total, min(day) as day from facts.days;
         create materialized view facts.a as select total * 2 as total from facts.b;
         create unique index on facts.b (day);
         reset role;
         create materialized view facts.foreign_owner as select 1 as one",
    )
    .await;
    shop.orders(TWO).await;
    let summary = shop.refresh().await;
    assert_eq!(summary.refreshed.keys().collect::<Vec<_>>(), ["a", "b", "days"]);
    assert!(summary.skipped["foreign_owner"].contains("owner to millrace_transform"), "{summary:?}");
    assert_eq!(shop.number("select total::bigint from facts.a").await, 25);
    let summary = shop.refresh().await;
    assert!(summary.refreshed.is_empty(), "{summary:?}");
    assert_eq!(summary.unchanged.len(), 3);
}

#[tokio::test]
async fn a_changed_view_invalidates_its_dependants() {
    let by_customer = DAYS
        .replace("date_trunc('day', ordered_at) as day, customer", "customer as day, 0 as customer")
        .replace("from orders", "from recent");
    let mut shop = Shop::new(&[
        ("orders", ORDERS),
        ("recent", RECENT),
        ("customers", CUSTOMERS),
        ("by_customer", &by_customer),
    ])
    .await;
    shop.orders(TWO).await;
    shop.refreshed().await;
    shop.write("recent", &RECENT.replace("from orders", "from orders where customer = 'ann'"));
    shop.deployed().await;
    assert_eq!(shop.refreshed().await, ["by_customer", "customers"]);
    shop.check("customers").await;
    shop.check("by_customer").await;
}

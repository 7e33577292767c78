//! Views and materialized views: made, replaced, made again, and refreshed when something below them changed.

use super::shop::{DAYS, ORDERS, Shop};

const RECENT: &str = "-- kind = \"view\"
-- description = \"Lately\"
select order_id, customer, total from orders";

const CUSTOMERS: &str = "-- kind = \"materialized_view\"
-- key = [\"customer\"]
select customer, sum(total) as total from recent group by customer";

const TWO: &str = "(1, 'ann', 10.5, timestamptz '2024-03-01 10:00Z'), (2, 'bob', 2, '2024-03-01Z')";

#[tokio::test]
async fn a_view_whose_columns_change_is_made_again_with_the_models_on_top() {
    let mut shop = Shop::new(&[("orders", ORDERS), ("recent", RECENT), ("customers", CUSTOMERS)]).await;
    shop.orders(TWO).await;
    assert_eq!(shop.refreshed().await, ["customers"]);
    let before = shop.number("select 'facts.customers'::regclass::oid::bigint").await;
    // A column more is a replacement.
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
async fn what_a_user_made_from_a_view_is_never_dropped() {
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
async fn a_materialized_view_follows_what_is_below_its_views_and_nothing_else() {
    let shop =
        Shop::new(&[("orders", ORDERS), ("days", DAYS), ("recent", RECENT), ("customers", CUSTOMERS)]).await;
    assert_eq!(shop.refreshed().await, ["customers", "days"]);
    assert!(shop.refreshed().await.is_empty());
    shop.orders(TWO).await;
    assert_eq!(shop.refreshed().await, ["customers", "days"]);
    shop.check("customers").await;
    assert!(shop.refreshed().await.is_empty());
    // A reader in the middle of it holds up a refresh that shuts readers out, and no other.
    let reader = shop.database.owner().await;
    reader.batch_execute("begin; select * from facts.customers").await.expect("read");
    shop.run("delete from facts.orders where order_id = 1").await;
    assert_eq!(shop.refreshed().await, ["customers", "days"]);
    shop.check("customers").await;
}

#[tokio::test]
async fn a_changed_query_is_there_at_once() {
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
async fn another_query_of_a_view_touches_what_is_above_it() {
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

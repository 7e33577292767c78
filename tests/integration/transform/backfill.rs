//! Backfills: a new model transforms history, and a changed one is rebuilt, under concurrent changes.

use std::time::{Duration, Instant};

use millrace_models::backfill::{self, BackfillOptions, BackfillProgress, BackfillTarget, target_for};
use millrace_models::deploy;
use millrace_models::transform::ClaimBounds;
use uuid::Uuid;

use super::fixture::{ORDERS, TransformFixture};

impl TransformFixture {
    /// Runs a model's backfill as the command does, and returns its result.
    async fn catch_up(&self, name: &str, full_refresh: bool) -> Option<BackfillTarget> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let project = self.project();
        let model = project.model(name).expect("a model");
        let mut connection = self.connection();
        deploy::deploy(&mut connection, &project, deadline).await.expect("deploy");
        let history = backfill::unseen(&mut connection, model, deadline).await.expect("look");
        let target = target_for(&history, full_refresh)?;
        let options = BackfillOptions { target, bounds: self.bounds, events_per_second: None, deadline };
        let dead_letters = self.dead_letter_queue();
        let mut last = BackfillProgress::default();
        let finished = backfill::backfill(
            &mut connection,
            &project,
            model,
            &dead_letters,
            Uuid::now_v7(),
            options,
            |progress| last = *progress,
        )
        .await
        .expect("backfill");
        assert!(finished);
        assert_eq!(last.events_done, last.events);
        Some(target)
    }
}

#[tokio::test]
async fn a_new_model_sees_history_once_beside_live_traffic() {
    let mut fixture = TransformFixture::new(&[]).await;
    fixture.bounds = ClaimBounds { events: 100, ..ClaimBounds::default() };
    for batch in 0..10 {
        fixture.many_orders(batch * 30, 60, &batch.to_string()).await;
    }
    fixture.orders(&[(1_000, "bad", "x")]).await;
    let summary = fixture.transformed().await;
    assert_eq!(summary.unmodelled, 601);
    fixture.write("orders", ORDERS);
    // New events overlap with history and are transformed concurrently.
    fixture.many_orders(0, 20, "77").await;
    let (target, _) = tokio::join!(fixture.catch_up("orders", false), fixture.transformed());
    assert_eq!(target, Some(BackfillTarget::InPlace));
    fixture.check_orders().await;
    assert_eq!(fixture.number("select sum(unmodelled_count)::bigint from staging.batches").await, 0);
    assert_eq!(fixture.number("select sum(quarantined_count)::bigint from staging.batches").await, 1);
    assert_eq!(fixture.dead_letters().await.len(), 1);
    assert_eq!(fixture.catch_up("orders", false).await, None, "nothing is left");
}

#[tokio::test]
async fn a_changed_type_is_followed_by_a_rebuild_that_is_swapped_in() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    fixture.many_orders(1, 300, "5").await;
    fixture.transformed().await;
    fixture.run("create view facts.big as select 1 as one").await;
    fixture.write("orders", &ORDERS.replace("numeric(12,2)", "double precision"));
    fixture.many_orders(200, 300, "6").await;
    assert_eq!(fixture.transform().await.expect("a run").waiting.len(), 1);
    assert_eq!(fixture.catch_up("orders", true).await, Some(BackfillTarget::Rebuild));
    fixture.transformed().await;
    assert_eq!(fixture.facts().await.len(), 499);
    assert_eq!(fixture.facts().await[&250].0, "6");
    assert_eq!(fixture.number("select count(*) from pg_constraint where conname = 'orders_pkey'").await, 1);
    assert_eq!(fixture.number("select count(*) from pg_class where relname like 'orders\\_\\_%'").await, 0);
}

#[tokio::test]
async fn a_changed_query_rebuilds_history_and_removes_excluded_facts() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    fixture.many_orders(1, 100, "5").await;
    fixture.transformed().await;
    fixture.write("orders", &format!("{ORDERS} where (payload->>'order_id')::bigint > 50"));
    fixture.many_orders(90, 20, "6").await;
    fixture.transformed().await;
    assert_eq!(fixture.number("select count(*) from facts.orders").await, 109, "until it is rebuilt");
    assert_eq!(fixture.catch_up("orders", false).await, Some(BackfillTarget::Rebuild));
    assert_eq!(fixture.number("select count(*) from facts.orders").await, 59);
    assert_eq!(fixture.number("select count(*) from facts.orders where total = 6").await, 20);
}

#[tokio::test]
async fn a_users_view_on_a_table_prevents_its_swap() {
    let fixture = TransformFixture::new(&[("orders", ORDERS)]).await;
    fixture.many_orders(1, 10, "5").await;
    fixture.transformed().await;
    fixture.run("create view public.mine as select * from facts.orders").await;
    let deadline = Instant::now() + Duration::from_secs(60);
    let (project, mut connection) = (fixture.project(), fixture.connection());
    let options = BackfillOptions {
        target: BackfillTarget::Rebuild,
        bounds: fixture.bounds,
        events_per_second: None,
        deadline,
    };
    let model = project.model("orders").unwrap();
    let dead_letters = fixture.dead_letter_queue();
    let error =
        backfill::backfill(&mut connection, &project, model, &dead_letters, Uuid::now_v7(), options, |_| {})
            .await
            .expect_err("somebody's view");
    assert!(error.chain().contains("mine, which no model created, would be dropped"), "{}", error.chain());
    assert_eq!(fixture.number("select count(*) from public.mine").await, 10);
}

#[tokio::test]
async fn an_interrupted_backfill_continues_where_it_stopped() {
    let mut fixture = TransformFixture::new(&[]).await;
    fixture.bounds = ClaimBounds { events: 50, ..ClaimBounds::default() };
    for batch in 0..8 {
        fixture.many_orders(batch * 50, 50, "1").await;
    }
    fixture.transformed().await;
    fixture.write("orders", ORDERS);
    let (project, mut connection) = (fixture.project(), fixture.connection());
    let deadline = Instant::now() + Duration::from_secs(60);
    deploy::deploy(&mut connection, &project, deadline).await.unwrap();
    let options = BackfillOptions {
        target: BackfillTarget::InPlace,
        bounds: fixture.bounds,
        events_per_second: Some(100),
        deadline,
    };
    let dead_letters = fixture.dead_letter_queue();
    let model = project.model("orders").unwrap();
    let work =
        backfill::backfill(&mut connection, &project, model, &dead_letters, Uuid::now_v7(), options, |_| {});
    // Half a second per chunk, so that it is interrupted in the middle.
    assert!(tokio::time::timeout(Duration::from_millis(1_200), work).await.is_err());
    let done =
        fixture.number("select count(*) from pipeline.backfill_batches where done_at is not null").await;
    assert!((1..8).contains(&done), "{done}");
    fixture.catch_up("orders", false).await;
    fixture.check_orders().await;
    assert_eq!(fixture.number("select count(*) from pipeline.backfills").await, 1);
    assert_eq!(
        fixture
            .number("select sum(event_count)::bigint from pipeline.runs where activity = 'backfill'")
            .await,
        400
    );
}

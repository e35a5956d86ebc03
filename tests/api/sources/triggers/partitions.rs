//! Tables in parts: partitions, also those that are attached later, and tables that inherit.

use super::{adopt, agrees, is_noticed, triggers, watched_after};
use crate::{sources::MAPPING, support::wait_until};

/// The hospital's movements, in partitions of months, of which one has partitions itself.
pub(super) const PARTITIONS: &str = r#"
    ALTER TABLE public.movement RENAME TO old_movement;
    CREATE TABLE public.movement (id bigserial, kind text NOT NULL, hospital_id integer,
        product text, units smallint, "At" timestamp NOT NULL) PARTITION BY RANGE ("At");
    CREATE TABLE public.movement_old PARTITION OF public.movement FOR VALUES
        FROM (MINVALUE) TO ('2020-01-01');
    CREATE TABLE public.movement_now PARTITION OF public.movement FOR VALUES
        FROM ('2020-01-01') TO ('2090-01-01') PARTITION BY LIST (kind);
    CREATE TABLE public.movement_deliveries PARTITION OF public.movement_now FOR VALUES
        IN ('delivery');
    INSERT INTO public.movement SELECT * FROM public.old_movement WHERE kind = 'delivery'"#;

const REQUEST: &str = "(kind, hospital_id, \"At\") VALUES ('request', 2, now() AT TIME ZONE \
                       'Africa/Accra')";
const DELIVERY: &str = "(kind, hospital_id, product, units, \"At\") VALUES ('delivery', 2, 'A+', \
                        5, now() AT TIME ZONE 'Africa/Accra')";

#[tokio::test]
async fn writes_through_the_table_and_to_its_partitions_show() {
    let (service, mut sql) = watched_after(MAPPING, PARTITIONS).await;
    for (what, statement) in [
        ("a row by the table", format!("INSERT INTO public.movement {DELIVERY}")),
        ("a row by a part", format!("INSERT INTO public.movement_now {DELIVERY}")),
        ("a row by a leaf", format!("INSERT INTO public.movement_deliveries {DELIVERY}")),
        ("an update of the table", "UPDATE public.movement SET units = 7".into()),
        ("an update of a leaf", "UPDATE public.movement_deliveries SET hospital_id = 1".into()),
        (
            "a move between leaves",
            "UPDATE public.movement SET \"At\" = '2001-01-01' WHERE units = 7".into(),
        ),
        ("another row", format!("INSERT INTO public.movement {DELIVERY}")),
        ("TRUNCATE of a leaf", "TRUNCATE public.movement_deliveries".into()),
    ] {
        sql.run(statement).await;
        agrees(&service, &mut sql, what).await;
    }
}

/// A partition that is attached later has a trigger for each row: the server copies it. What it
/// brings, and what a detached one takes away, shows as well.
#[tokio::test]
async fn a_partition_that_is_attached_later_is_watched_like_the_others() {
    let (service, mut sql) = watched_after(MAPPING, PARTITIONS).await;
    for (what, statement) in [
        (
            "a new partition",
            "CREATE TABLE public.movement_requests PARTITION OF public.movement_now FOR VALUES IN \
             ('request')"
                .to_owned(),
        ),
        ("a row by the table", format!("INSERT INTO public.movement {REQUEST}")),
        ("a row by the leaf", format!("INSERT INTO public.movement_requests {REQUEST}")),
        ("an update of the leaf", "UPDATE public.movement_requests SET hospital_id = 1".into()),
        ("TRUNCATE of the leaf", "TRUNCATE public.movement_requests".into()),
        ("a row again", format!("INSERT INTO public.movement_requests {REQUEST}")),
        (
            "a partition that goes",
            "ALTER TABLE public.movement_now DETACH PARTITION public.movement_requests".into(),
        ),
        ("rows that do not count", format!("INSERT INTO public.movement_requests {REQUEST}")),
        (
            "a partition that comes with rows",
            "ALTER TABLE public.movement_now ATTACH PARTITION public.movement_requests FOR VALUES \
             IN ('request')"
                .into(),
        ),
    ] {
        sql.run(statement).await;
        agrees(&service, &mut sql, what).await;
        assert_eq!(triggers(&service).await["state"], "up", "{what}");
    }
    // After that it has the cheaper ones.
    adopt(service.launch(), &["install"]).await;
    is_noticed(&service).await;
    let statement_triggers = "SELECT count(*) FROM pg_trigger WHERE tgrelid = \
                              'public.movement_requests'::regclass AND tgname LIKE \
                              'facility\\_summary\\_insert%'";
    assert_eq!(sql.number(statement_triggers).await, 1);
    sql.run(format!("INSERT INTO public.movement_requests {REQUEST}")).await;
    agrees(&service, &mut sql, "a row after another installation").await;
}

#[tokio::test]
async fn a_table_that_inherits_is_watched_and_a_later_one_is_missed_in_plain_words() {
    let (service, mut sql) = watched_after(
        MAPPING,
        "CREATE TABLE public.frozen_bag (at_degrees integer) INHERITS (public.bag)",
    )
    .await;
    let insert = |table: &str| {
        format!("INSERT INTO public.{table} (\"No\", store_id, abo, rh) VALUES (1000, 3, 'O', '+')")
    };
    sql.run(insert("frozen_bag")).await;
    agrees(&service, &mut sql, "a row of the table that inherits").await;
    sql.run("UPDATE public.bag SET store_id = 1").await;
    agrees(&service, &mut sql, "an update of both").await;
    sql.run("CREATE TABLE public.dry_bag () INHERITS (public.bag)").await;
    wait_until("it is said", async || triggers(&service).await["state"] == "down").await;
    let said = triggers(&service).await;
    assert_eq!(said["last_error"], "missing");
    let remedy = said["remedy"].as_str().expect("words");
    assert!(remedy.contains("public.dry_bag") && remedy.contains("adopt install"), "{remedy}");
    sql.run(insert("dry_bag")).await;
    adopt(service.launch(), &["install"]).await;
    is_noticed(&service).await;
    agrees(&service, &mut sql, "the repair").await;
}

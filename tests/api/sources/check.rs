//! `adopt check`: what a mapping reaches, before anything is made.

use super::{MAPPING, mapped, run};

#[tokio::test]
async fn a_check_says_what_each_list_reaches_and_makes_nothing() {
    let (launch, mut sql) = mapped(MAPPING).await;
    sql.run(
        "INSERT INTO public.hospital VALUES (5, 'Korle Bu', NULL); INSERT INTO public.bag \
         (store_id, abo, rh) VALUES (4, 'O', '-'), (1, 'C', '+'); INSERT INTO public.movement \
         (kind, hospital_id, product, units, \"At\") VALUES ('delivery', NULL, 'X', 1, now()), \
         ('delivery', 2, 'whole blood', 5, now() + interval '3 days'), ('delivery', 1, 'plasma', \
         1, now() - interval '400 days')",
    )
    .await;
    sql.run(
        "INSERT INTO public.movement (kind, hospital_id, product, units, \"At\") SELECT 'request', \
         2, 'AB+', 1, now() - interval '60 days' FROM generate_series(1, 5000); ANALYZE",
    )
    .await;
    let schemas = "SELECT count(*) FROM pg_namespace";
    let before = sql.number(schemas).await;
    let exited = run(&launch, &["adopt", "check"]).await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    assert_eq!(sql.number(schemas).await, before);
    for line in [
        "sources.facilities: 3 facilities",
        "sources.stock[0]: 7 rows of 2 facilities",
        "  1 row of no mapped facility: not counted",
        "  1 row with the type \"C+\": counted as unknown",
        "  today 5",
        "sources.deliveries[0]: 5 rows of 2 facilities",
        "  1 row more than a day ahead",
        "  1 row with the type \"whole blood\": counted as unknown",
        "  today 4, last 7 days 6",
        "sources.requests[0]: 5001 rows of 2 facilities",
        "  today 1, last 7 days 1",
        "  a refresh of one facility reads all of \"public\".\"movement\" (about 5006 rows)",
    ] {
        let found = exited.output.lines().any(|shown| shown.starts_with(line));
        assert!(found, "{line:?} is not in:\n{}", exited.output);
    }
    let index = r#"CREATE INDEX CONCURRENTLY ON "public"."movement" (hospital_id, "At");"#;
    assert!(exited.output.contains(&format!("    an index would help: {index}\n")));
    sql.run(index).await;
    let exited = run(&launch, &["adopt", "check"]).await;
    assert!(!exited.output.contains("reads all of"), "{}", exited.output);
}

#[tokio::test]
async fn a_check_tells_of_each_list_whether_it_fits() {
    let mapping = MAPPING.replace("b.expiry", "b.expires").replace("m.units", "m.unit");
    let (launch, _) = mapped(&mapping).await;
    let exited = run(&launch, &["adopt", "check"]).await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    for line in [
        "sources.stock[0]: does not fit: error returned from database: column b.expires does not",
        "sources.deliveries[0]: does not fit: error returned from database: column m.unit does not",
        "sources.requests[0]: 1 row of 1 facility",
        "triggers would watch public.bag, public.hospital, public.movement, public.store",
    ] {
        assert!(exited.output.contains(line), "{line:?} is not in:\n{}", exited.output);
    }
    let exited = launch.run(&["adopt", "check"]).await;
    assert_eq!(exited.code, Some(1));
    assert!(exited.output.contains("--sources"), "{}", exited.output);
}

#[tokio::test]
async fn a_check_says_what_no_trigger_sees() {
    let mapping = MAPPING
        .replace("b.deleted_at IS NULL", "(b.deleted_at IS NULL OR b.deleted_at > now())")
        .replace("m.units", "public.doses(m.units)");
    let (launch, mut sql) = mapped(&mapping).await;
    sql.run(
        "CREATE FUNCTION public.doses(units integer) RETURNS integer LANGUAGE sql AS 'SELECT \
         units'",
    )
    .await;
    let exited = run(&launch, &["adopt", "check"]).await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    for line in [
        "  stock[0] calls now: no trigger sees when its result changes",
        "  deliveries[0] calls public.doses: no trigger sees when its result changes",
    ] {
        assert!(exited.output.contains(line), "{line:?} is not in:\n{}", exited.output);
    }
}

/// Whoever may name a column has no line of the output, which `docs/adopt.md` gives to psql.
#[tokio::test]
async fn no_name_of_the_database_makes_a_line_of_its_own() {
    let (launch, mut sql) = mapped(MAPPING).await;
    let grant = "# GRANT pg_write_server_files TO mallory;";
    sql.run(format!(
        "ALTER TABLE public.hospital ADD COLUMN \"time zone\n{grant} --\" text DEFAULT 'UTC'; \
         ALTER TABLE public.movement DROP COLUMN kind; ALTER TABLE public.movement ADD COLUMN kind \
         text DEFAULT E'delivery\\n{grant}'; COMMENT ON TABLE public.hospital IS E'a\\r{grant}'; \
         CREATE TABLE public.\"blood bag\u{2028}{grant}\" (id integer PRIMARY KEY)"
    ))
    .await;
    let exited = run(&launch, &["adopt", "init"]).await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    let lines = exited.output.split(['\n', '\r', '\u{2028}']);
    let forged: Vec<&str> = lines.filter(|line| line.starts_with(grant)).collect();
    assert!(forged.is_empty(), "{}", exited.output);
    assert!(exited.output.contains("These names go over several lines"), "{}", exited.output);
    sql.run(format!("INSERT INTO public.bag (store_id, abo, rh) VALUES (1, E'\\r{}', '+')", "#"))
        .await;
    let exited = run(&launch, &["adopt", "check"]).await;
    assert!(!exited.output.contains('\r'), "{}", exited.output);
}

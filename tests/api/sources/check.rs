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
        "sources.stock[0]: does not fit: sources.stock[0].expires (line 12 of file ",
        "sources.toml): column b.expires does not exist",
        "sources.deliveries[0]: does not fit: sources.deliveries[0].quantity (line 21 of file ",
        "sources.toml): column m.unit does not exist (Perhaps you meant",
        "sources.requests[0]: 1 row of 1 facility",
        "triggers would watch public.bag, public.hospital, public.movement, public.store",
    ] {
        assert!(exited.output.contains(line), "{line:?} is not in:\n{}", exited.output);
    }
    assert!(!exited.output.contains("at line"), "{}", exited.output);
    let exited = launch.run(&["adopt", "check"]).await;
    assert_eq!(exited.code, Some(1));
    assert!(exited.output.contains("--sources"), "{}", exited.output);
}

/// The server's message is about a statement of the service, with the texts of all keys.
#[tokio::test]
async fn what_does_not_fit_is_named_by_its_key_and_line() {
    for (right, wrong, said) in [
        ("h.title", "h.titel", "sources.facilities.name (line 4 of"),
        ("h.closed_on IS NULL", "h.closed IS NULL", "sources.facilities.where (line 6 of"),
        ("public.bag b JOIN", "public.bags b JOIN", "sources.stock[0].from (line 9 of"),
        ("b.abo || b.rh", "b.abo +", "sources.stock[0].blood_type (line 11 of"),
        ("s.hospital_id", "s.hospital_id::text", "sources.stock[0].facility (line 10 of"),
        ("m.kind = 'request'", "m.kind = 7", "sources.requests[0].where (line 32 of"),
    ] {
        let mapping = MAPPING.replacen(right, wrong, 1);
        assert_ne!(mapping, MAPPING);
        let (launch, _) = mapped(&mapping).await;
        for command in [&["adopt", "check"][..], &["migrate"], &["adopt", "install"]] {
            let exited = run(&launch, command).await;
            assert_eq!(exited.code, Some(1), "{command:?}: {}", exited.output);
            assert!(exited.output.contains(said), "{command:?} {said}: {}", exited.output);
            assert!(!exited.output.contains("at line"), "{command:?}: {}", exited.output);
        }
    }
}

/// What fits the database, and does not mean what it should.
#[tokio::test]
async fn a_check_warns_of_times_of_another_kind_and_of_results_that_change_by_themselves() {
    let mapping = MAPPING
        .replacen("at_as = \"local\"\n", "", 1)
        .replace("b.expiry\"\nexpires_as = \"date\"", "b.ends\"\nexpires_as = \"local\"")
        .replace("h.closed_on IS NULL", "random() >= 0 AND public.open(h.id)");
    let (launch, mut sql) = mapped(&mapping).await;
    sql.run(
        "ALTER TABLE public.bag ADD ends timestamptz; CREATE FUNCTION public.open(id integer) \
         RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    )
    .await;
    let exited = run(&launch, &["adopt", "check"]).await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    for (line, words) in [
        ("  warning: sources.facilities.where (line 6 of", "calls random: it is VOLATILE"),
        ("  warning: sources.facilities.where (line 6 of", "calls public.open: it is VOLATILE"),
        ("  warning: sources.stock[0].expires (line 12 of", "is a timestamptz"),
        ("  warning: sources.deliveries[0].at (line 22 of", "has no time zone"),
    ] {
        let mut lines = exited.output.lines();
        let found = lines.any(|shown| shown.starts_with(line) && shown.contains(words));
        assert!(found, "{line:?} … {words:?} is not in:\n{}", exited.output);
    }
    let (launch, _) = mapped(MAPPING).await;
    let exited = run(&launch, &["adopt", "check"]).await;
    assert!(!exited.output.contains("warning:"), "{}", exited.output);
}

/// Where no trigger can watch, functions of the time are named all the same.
#[tokio::test]
async fn a_function_of_the_time_is_named_where_triggers_cannot_watch() {
    let mapping = MAPPING
        .replace("public.bag b", "public.bags b")
        .replace("b.deleted_at IS NULL", "(b.deleted_at IS NULL OR b.deleted_at > now())");
    let (launch, mut sql) = mapped(&mapping).await;
    sql.run("CREATE VIEW public.bags AS SELECT * FROM public.bag").await;
    let exited = run(&launch, &["adopt", "check"]).await;
    let said = "calls now: its result changes without a write";
    assert!(exited.output.contains(said), "{}", exited.output);
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

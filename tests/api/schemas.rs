//! The schema of everything that the service makes, whatever `search_path` says.

use uuid::Uuid;

use crate::{
    server_settings::owned,
    support::{
        outside::Outside,
        service::Launch,
        site::{Site, a_zone_at_noon, acknowledged, audited},
    },
};

/// Everything in a schema.
fn objects(schema: &str) -> String {
    format!(
        "SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('{schema}'))
              + (SELECT count(*) FROM pg_proc WHERE pronamespace = to_regnamespace('{schema}'))
              + (SELECT count(*) FROM pg_type WHERE typnamespace = to_regnamespace('{schema}'))"
    )
}

/// A launch by the owner of a database whose sessions have the server's usual `search_path`, and
/// the superuser's connection to it.
async fn usual() -> (Launch, Outside, String) {
    let (launch, mut sql, role) = owned().await;
    sql.run(format!("ALTER ROLE {role} SET search_path = \"$user\", public")).await;
    sql.run("SET search_path = public").await;
    (launch, sql, role)
}

fn request(schema: &str, site: Site) -> String {
    format!(
        "INSERT INTO {schema}.blood_requests (id, facility_id) VALUES (gen_random_uuid(), '{}')",
        site.facility
    )
}

#[tokio::test]
async fn everything_is_in_one_schema_beside_tables_of_the_same_names() {
    let (launch, mut sql, _) = usual().await;
    sql.run(
        "CREATE TABLE facilities (id bigint, facility_name text); INSERT INTO facilities VALUES \
         (7, 'Theirs'); CREATE TABLE dashboard_daily_summary (day date); CREATE TYPE blood_type AS \
         ENUM ('A_POSITIVE'); CREATE TABLE _sqlx_migrations (version bigint)",
    )
    .await;
    let before = sql.number(objects("public")).await;
    let service = launch.start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    acknowledged(&service, &site.stock(Uuid::new_v4(), 5)).await;
    sql.run(request("facility_summary", site)).await;
    site.shows(&service, (5, 0, 1)).await;
    assert_eq!(sql.number(objects("public")).await, before);
    assert_eq!(sql.number("SELECT count(*) FROM facilities WHERE id = 7").await, 1);
    assert_eq!(sql.number("SELECT count(*) FROM facility_summary.facilities").await, 1);
    audited(service.launch()).await;
}

#[tokio::test]
async fn a_role_that_owns_nothing_but_the_schema_is_enough() {
    let (launch, mut sql, role) = usual().await;
    let database = launch.database_url().rsplit('/').next().expect("a path").to_owned();
    sql.run(format!(
        "ALTER DATABASE {database} OWNER TO postgres; ALTER SCHEMA public OWNER TO \
         postgres; REVOKE ALL ON SCHEMA public FROM PUBLIC"
    ))
    .await;
    let exited = launch.run(&["migrate"]).await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    let remedy = format!("CREATE SCHEMA \"facility_summary\" AUTHORIZATION \"{role}\"");
    assert!(exited.output.contains(&remedy), "{}", exited.output);

    sql.run("CREATE SCHEMA facility_summary").await;
    let exited = launch.run(&["migrate"]).await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    let remedy = format!("GRANT USAGE, CREATE ON SCHEMA \"facility_summary\" TO \"{role}\"");
    assert!(exited.output.contains(&remedy), "{}", exited.output);
    assert_eq!(sql.number(objects("facility_summary")).await, 0);

    sql.run(format!("ALTER SCHEMA facility_summary OWNER TO {role}")).await;
    let service = launch.start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    acknowledged(&service, &site.stock(Uuid::new_v4(), 5)).await;
    sql.run(request("facility_summary", site)).await;
    site.shows(&service, (5, 0, 1)).await;
    audited(service.launch()).await;
}

#[tokio::test]
async fn the_schema_of_the_setting_is_used_even_if_another_has_our_tables() {
    let (launch, mut sql, _) = usual().await;
    assert_eq!(launch.run(&["migrate"]).await.code, Some(0));
    let name = "Blut \"1\"";
    let launch = launch.env("FACILITY_SUMMARY__DATABASE__SCHEMA", name);
    let service = launch.start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    sql.run(request("\"Blut \"\"1\"\"\"", site)).await;
    site.shows(&service, (0, 0, 1)).await;
    assert_eq!(sql.number("SELECT count(*) FROM facility_summary.facilities").await, 0);
}

#[tokio::test]
async fn an_installation_in_public_goes_on_and_moves_by_command() {
    let (launch, mut sql, _) = usual().await;
    let in_public = Launch::clone(&launch).env("FACILITY_SUMMARY__DATABASE__SCHEMA", "public");
    assert_eq!(in_public.run(&["migrate"]).await.code, Some(0));
    sql.run("CREATE TABLE theirs (id bigint); CREATE FUNCTION theirs() RETURNS int RETURN 1").await;
    let service = Launch::clone(&launch).start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    acknowledged(&service, &site.stock(Uuid::new_v4(), 5)).await;
    sql.run(request("public", site)).await;
    site.shows(&service, (5, 0, 1)).await;
    assert_eq!(sql.number(objects("facility_summary")).await, 0);

    // Each replica uses the schema that it found at its start.
    let to = ["migrate", "--to-schema", "facility_summary"];
    let exited = launch.run(&to).await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    assert!(exited.output.contains("stop every replica first"), "{}", exited.output);
    site.shows(&service, (5, 0, 1)).await;

    service.terminate().await;
    let exited = launch.run(&to).await;
    assert_eq!(exited.code, Some(0), "{}", exited.output);
    assert!(exited.output.contains("moved from the schema public"), "{}", exited.output);
    // What is left there: the table with its two types, and the function.
    assert_eq!(sql.number(objects("public")).await, 4);
    let again = launch.run(&to).await;
    assert!(again.code == Some(0) && again.output.contains("already"), "{}", again.output);

    let service = launch.start().await;
    site.shows(&service, (5, 0, 1)).await;
    sql.run(request("facility_summary", site)).await;
    site.shows(&service, (5, 0, 2)).await;
    acknowledged(&service, &site.stock(Uuid::new_v4(), 3)).await;
    site.shows(&service, (8, 0, 2)).await;
    audited(service.launch()).await;
}

#[tokio::test]
async fn nothing_is_moved_when_a_name_is_taken_or_nothing_is_there() {
    let (launch, mut sql, _) = usual().await;
    let exited = launch.run(&["migrate", "--to-schema", "elsewhere"]).await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    assert!(exited.output.contains("has nothing of this service"), "{}", exited.output);
    assert_eq!(
        sql.number("SELECT count(*) FROM pg_namespace WHERE nspname = 'elsewhere'").await,
        0
    );

    assert_eq!(launch.run(&["migrate"]).await.code, Some(0));
    let before = sql.number(objects("facility_summary")).await;
    sql.run("CREATE TABLE public.outbox (id bigint)").await;
    let exited = launch.run(&["migrate", "--to-schema", "public"]).await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    for words in ["outbox", "already exists", "nothing was moved"] {
        assert!(exited.output.contains(words), "{words:?} not in {}", exited.output);
    }
    assert_eq!(sql.number(objects("facility_summary")).await, before);
    assert_eq!(launch.run(&["migrate", "--to-schema", "pg_ours"]).await.code, Some(1));
}

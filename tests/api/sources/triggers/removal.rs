//! What `adopt remove` says of the role, so that the role can be dropped; and the record of the
//! rights that were given.

use std::process::Command;

use super::{
    adopt,
    install::{as_superuser, definitions, of_two_roles, psql, run_by_psql},
};
use crate::{
    sources::{MAPPING, run, sources_of},
    support::{Service, outside::Outside, postgres::fresh_database},
};

/// The statements that a report of a removal says.
fn statements(said: &str) -> String {
    let (_, rest) = said.split_once("to take these back, too: ").expect(said);
    rest.lines().next().expect("a line").to_owned()
}

#[tokio::test]
async fn removal_names_what_keeps_the_role_from_being_dropped() {
    let (owner, _, mut sql, role) = of_two_roles().await;
    adopt(&owner, &["install", "--role", &role]).await;
    sql.run(format!(
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {role}; ALTER DEFAULT \
         PRIVILEGES GRANT USAGE ON SCHEMAS TO {role}; CREATE TABLE public.later (id integer); \
         CREATE TABLE public.its (id integer); ALTER TABLE public.its OWNER TO {role}; CREATE \
         FUNCTION public.one() RETURNS integer LANGUAGE sql AS 'SELECT 1'; GRANT EXECUTE ON \
         FUNCTION public.one() TO {role}"
    ))
    .await;
    let script = adopt(&owner, &["sql", "--remove"]).await;
    let said = adopt(&owner, &["remove"]).await;
    for words in ["table public.its", "function public.one()", "before it can be dropped"] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    assert!(script.contains(&format!("-- Left: the role {role}, with the rights")), "{script}");
    let (take_back, _) = statements(&said).split_once("; before").map_or_else(
        || panic!("{said}"),
        |(statements, rest)| (statements.to_owned(), rest.to_owned()),
    );
    sql.run(take_back).await;
    sql.run(format!("DROP TABLE public.its; REVOKE ALL ON FUNCTION public.one() FROM {role}"))
        .await;
    sql.run(format!("DROP ROLE {role}")).await;
}

/// An installation of an earlier version gave rights, and recorded none.
#[tokio::test]
async fn removal_without_a_record_of_rights_says_that_it_left_them() {
    let (owner, _, mut sql, role) = of_two_roles().await;
    adopt(&owner, &["install", "--role", &role]).await;
    sql.run("DROP TABLE facility_summary.granted_rights").await;
    let said = adopt(&owner, &["remove"]).await;
    for words in [
        "left: the role",
        "nothing is recorded of which of them install gave",
        "REVOKE SELECT (id)",
    ] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    sql.run(statements(&said)).await;
    sql.run(format!("DROP ROLE {role}")).await;
}

/// A dump of the whole database in another one: tables, schemas and columns have other ids there,
/// and the record has those of the first.
#[tokio::test]
async fn removal_from_a_restored_dump_takes_back_what_install_gave() {
    let (owner, _, _sql, role) = of_two_roles().await;
    adopt(&owner, &["install", "--role", &role]).await;
    let dump = Command::new("pg_dump").arg(owner.database_url()).output().expect("pg_dump runs");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let copy = as_superuser(&fresh_database().await);
    let mut sql = Outside::connect(&copy).await;
    // So that no id is by chance the same.
    sql.run(
        "DO $$ BEGIN FOR n IN 1..50 LOOP EXECUTE format('CREATE TABLE public.spare_%s (id \
         integer)', n); EXECUTE format('DROP TABLE public.spare_%s', n); END LOOP; END $$; DROP \
         SCHEMA public",
    )
    .await;
    psql(&copy, &format!("CREATE SCHEMA IF NOT EXISTS public;\n{}", text(&dump.stdout)));
    let granted = format!(
        "SELECT (has_column_privilege('{role}', 'public.bag', 'expiry', 'SELECT') AND \
         has_schema_privilege('{role}', 'public', 'USAGE'))::integer::bigint"
    );
    assert_eq!(sql.number(granted.clone()).await, 1);
    let restored = Service::on(&copy);
    std::fs::write(sources_of(&restored), MAPPING).expect("the folder can be written");
    let said = adopt(&restored, &["remove"]).await;
    assert!(said.contains("removed: The rights that were given"), "{said}");
    let rights = "SELECT count(*) FROM pg_attribute a, aclexplode(a.attacl) x WHERE a.attrelid = \
                  'public.bag'::regclass";
    assert_eq!(sql.number(rights).await, 0);
    assert!(!definitions(&copy).contains(&role), "{}", definitions(&copy));
    // The first database keeps its own.
    let mut first = Outside::connect(owner.database_url()).await;
    assert_eq!(first.number(granted).await, 1);
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Both installations would give rights to the role, and the removal of one would take those of the
/// other.
#[tokio::test]
async fn a_role_that_serves_another_installation_is_refused() {
    let (owner, _, mut sql, role) = of_two_roles().await;
    adopt(&owner, &["install", "--role", &role]).await;
    sql.run("CREATE TABLE public.bag2 (LIKE public.bag)").await;
    let others =
        MAPPING.replace("public.", "other.").replace("other.bag_state", "public.bag_state");
    sql.run(
        "CREATE SCHEMA other; CREATE TABLE other.hospital (LIKE public.hospital INCLUDING ALL); \
         CREATE TABLE other.store (LIKE public.store INCLUDING ALL); CREATE TABLE other.bag (LIKE \
         public.bag INCLUDING ALL); CREATE TABLE other.movement (LIKE public.movement INCLUDING \
         ALL)",
    )
    .await;
    std::fs::write(sources_of(&owner), others).expect("the folder can be written");
    let before = definitions(owner.database_url());
    let second = owner.env("FACILITY_SUMMARY__DATABASE__SCHEMA", "second");
    for action in ["install", "sql"] {
        let exited = run(&second, &["adopt", action, "--role", &role]).await;
        assert_eq!(exited.code, Some(1), "{}", exited.output);
        for words in [
            &*format!(
                "the role {role} serves another installation, of the schema facility_summary"
            ),
            "name a role of its own with --role",
            "nothing was made",
        ] {
            assert!(exited.output.contains(words), "{words:?} is not in: {}", exited.output);
        }
    }
    assert_eq!(definitions(second.database_url()), before);
}

/// All rights were given by hand, and a service has made the schema: install has nothing to give.
#[tokio::test]
async fn removal_says_that_install_gave_no_right_where_it_gave_none() {
    let (owner, serves, mut sql, role) = of_two_roles().await;
    sql.run(format!(
        "CREATE SCHEMA facility_summary AUTHORIZATION {role}; GRANT USAGE ON SCHEMA public TO \
         {role}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
    ))
    .await;
    let (_, _serves) = serves.start().await.terminate().await;
    adopt(&owner, &["install"]).await;
    let said = adopt(&owner, &["remove"]).await;
    assert!(said.contains("with the rights that others gave it"), "{said}");
    assert!(!said.contains("nothing is recorded"), "{said}");
}

/// What the owner has made on ours: a table that inherits, columns and tables of our types, foreign
/// keys, functions, views. And what is the owner's in our schema.
#[tokio::test]
async fn removal_destroys_nothing_that_is_not_ours() {
    let (owner, _, mut sql, role) = of_two_roles().await;
    adopt(&owner, &["install", "--role", &role]).await;
    let printed_before = adopt(&owner, &["sql", "--remove"]).await;
    sql.run(
        "CREATE TABLE public.arch (note text) INHERITS (facility_summary.dashboard_daily_summary); \
         CREATE TABLE public.theirs_fk (id integer, fid uuid REFERENCES \
         facility_summary.facilities); CREATE FUNCTION public.theirs_f() RETURNS bigint \
         LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM facility_summary.facilities; END; \
         CREATE TABLE public.theirs_def (id integer, f facility_summary.facilities); CREATE TABLE \
         public.theirs_bt (id integer, b facility_summary.blood_type); CREATE VIEW public.theirs_v \
         AS SELECT id FROM facility_summary.facilities",
    )
    .await;
    let before = definitions(owner.database_url());
    for action in [&["remove"][..], &["sql", "--remove"]] {
        let exited = run(&owner, &[&["adopt"], action].concat()).await;
        assert_eq!(exited.code, Some(1), "{}", exited.output);
        for words in [
            "table public.arch",
            "constraint theirs_fk_fid_fkey on table public.theirs_fk",
            "function public.theirs_f()",
            "column f of table public.theirs_def",
            "column b of table public.theirs_bt",
            "view public.theirs_v",
            "drop them, or change them",
            "nothing was removed",
        ] {
            assert!(exited.output.contains(words), "{words:?} is not in: {}", exited.output);
        }
    }
    let said = run_by_psql(owner.database_url(), &printed_before).expect_err("others need ours");
    assert!(said.contains("other objects depend on"), "{said}");
    assert_eq!(definitions(owner.database_url()), before);
    sql.run(
        "DROP VIEW public.theirs_v; DROP FUNCTION public.theirs_f(); DROP TABLE public.arch, \
         public.theirs_fk, public.theirs_def, public.theirs_bt; CREATE DOMAIN \
         facility_summary.theirs_dom AS text; CREATE TYPE facility_summary.theirs_mood AS ENUM \
         ('a'); CREATE TABLE public.theirs (d facility_summary.theirs_dom, m \
         facility_summary.theirs_mood); INSERT INTO public.theirs VALUES ('precious', 'a')",
    )
    .await;
    let said = run_by_psql(owner.database_url(), &printed_before).expect_err("others are in it");
    assert!(said.contains("other objects depend on"), "{said}");
    let said = adopt(&owner, &["remove"]).await;
    for words in ["which has objects of others: ", "theirs_dom", "theirs_mood"] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    let precious = "SELECT count(*) FROM public.theirs WHERE d = 'precious' AND m = 'a'";
    assert_eq!(sql.number(precious).await, 1);
    let left = "SELECT count(*) FROM pg_depend d JOIN pg_namespace n ON n.oid = d.refobjid AND \
                d.refclassid = 'pg_namespace'::regclass WHERE n.nspname = 'facility_summary'";
    assert_eq!(sql.number(left).await, 2, "nothing else is left: {said}");
}

/// Whatever was renamed or moved since, no trigger and no function stays.
#[tokio::test]
async fn removal_finds_triggers_whose_schema_or_function_was_moved() {
    for (statement, is_schema) in [
        ("ALTER SCHEMA facility_summary RENAME TO fsx", true),
        (
            "DO $$ BEGIN EXECUTE (SELECT format('ALTER FUNCTION %s SET SCHEMA public', \
             p.oid::regprocedure) FROM pg_proc p WHERE p.proname LIKE 'notice\\_%' LIMIT 1); \
             END $$",
            false,
        ),
    ] {
        let (owner, _, mut sql, role) = of_two_roles().await;
        let before = definitions(owner.database_url());
        adopt(&owner, &["install", "--role", &role]).await;
        sql.run(statement).await;
        let said = adopt(&owner, &["remove"]).await;
        assert!(said.contains("removed: The triggers on mapped tables"), "{said}");
        let triggers = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'facility\\_summary\\_%'";
        assert_eq!(sql.number(triggers).await, 0, "{said}");
        if is_schema {
            assert!(said.contains("the schema fsx, in which those functions were"), "{said}");
        } else {
            assert_eq!(definitions(owner.database_url()), before, "{said}");
        }
    }
}

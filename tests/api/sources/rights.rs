//! What the service needs to be allowed, and what it leaves behind.

use std::process::Command;

use super::{HOSPITAL, MAPPING, now, run, sources_of, today_of, totals};
use crate::{
    server_settings::owned,
    steps::{Scrape, get, read},
    support::{outside::Outside, service::Launch, wait_until},
};

/// The columns that the mapping names, and nothing else.
const GRANTS: &str = "
    GRANT USAGE ON SCHEMA public TO {role};
    GRANT SELECT (id, title, closed_on) ON public.hospital TO {role};
    GRANT SELECT (id, hospital_id) ON public.store TO {role};
    GRANT SELECT (store_id, abo, rh, state, expiry, deleted_at) ON public.bag TO {role};
    GRANT SELECT (kind, hospital_id, product, units, \"At\") ON public.movement TO {role}";

/// The hospital's database, which belongs to somebody else, and a role that may read the mapped
/// columns and owns the service's schema.
async fn owned_by_another() -> (Launch, Outside, String) {
    let (launch, mut sql, role) = owned().await;
    let database = launch.database_url().rsplit('/').next().expect("a path").to_owned();
    sql.run(format!(
        "ALTER DATABASE {database} OWNER TO postgres; ALTER SCHEMA public OWNER TO postgres; \
         REVOKE ALL ON SCHEMA public FROM PUBLIC"
    ))
    .await;
    sql.run(HOSPITAL).await;
    sql.run(GRANTS.replace("{role}", &role)).await;
    let file = sources_of(&launch);
    std::fs::write(&file, MAPPING).expect("the folder can be written");
    (launch.argument("--sources").argument(&file), sql, role)
}

/// The definitions of everything in the database.
fn definitions(launch: &Launch) -> String {
    let url = launch.database_url();
    let (_, address) = url.split_once('@').expect("a user");
    let dump = Command::new("pg_dump")
        .args(["--schema-only", "--restrict-key=same"])
        .arg(format!("postgres://postgres:postgres@{address}"))
        .output()
        .expect("pg_dump runs");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    String::from_utf8(dump.stdout).expect("definitions are UTF-8")
}

#[tokio::test]
async fn a_role_that_reads_the_mapped_columns_is_enough_and_the_schema_is_all_that_is_made() {
    let (launch, mut sql, role) = owned_by_another().await;
    let before = definitions(&launch);
    sql.run(format!("CREATE SCHEMA facility_summary AUTHORIZATION {role}")).await;
    let service = launch.start().await;
    let ridge = now(&service, "1").await;
    assert_eq!(totals(&ridge), [3, 4, 1], "{ridge}");
    let (_, launch) = service.terminate().await;
    sql.run("DROP SCHEMA facility_summary CASCADE").await;
    assert_eq!(definitions(&launch), before);
}

#[tokio::test]
async fn a_column_that_may_not_be_read_is_named() {
    let (launch, mut sql, role) = owned_by_another().await;
    sql.run(format!("CREATE SCHEMA facility_summary AUTHORIZATION {role}")).await;
    sql.run(format!("REVOKE SELECT (expiry) ON public.bag FROM {role}")).await;
    let exited = run(&launch, &["migrate"]).await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    for word in ["sources.stock[0]", "permission denied for table bag"] {
        assert!(exited.output.contains(word), "{word:?} is not in: {}", exited.output);
    }
}

/// The owner may switch it on at any time, and nothing is written then.
#[tokio::test]
async fn row_level_security_that_is_switched_on_is_named_with_its_table_before_any_write() {
    let (launch, mut sql, role) = owned_by_another().await;
    sql.run(format!("CREATE SCHEMA facility_summary AUTHORIZATION {role}")).await;
    std::fs::write(sources_of(&launch), format!("[sources]\ncompare_seconds = 1\n{MAPPING}"))
        .expect("the folder can be written");
    let service = launch.env("FACILITY_SUMMARY__REBUILD__CRON", "off").start().await;
    let before = now(&service, "1").await;
    let path = today_of(&service, "1").await;
    sql.run("ALTER TABLE public.bag ENABLE ROW LEVEL SECURITY").await;
    wait_until("readiness names the table", async || {
        let ready = get(&service, "/health/ready").await;
        let all = ready["dependencies"].as_array().expect("a list");
        let sources = all.iter().find(|one| one["name"] == "sources").expect("it is listed");
        let remedy = sources["remedy"].as_str().unwrap_or_default();
        sources["last_error"] == "broken" && remedy.contains("row-level security of public.bag")
    })
    .await;
    assert_eq!(Scrape::of(&service).await.sum("source_changes", &[("kind", "broken")]), 1.0);
    let logged = service.logged(
        "the mapped tables were changed: their figures cannot be read any more, and the last ones \
         are served with their age",
    );
    assert!(logged[0]["change"].as_str().expect("words").contains("public.bag"), "{logged:?}");
    // No policy lets any row be seen: that would be a sum of nothing.
    assert_eq!(read(&service, &path, "no-cache").await.status(), 503);
    let last = read(&service, &path, "max-age=3600").await;
    assert_eq!(last.status(), 200);
    assert_eq!(totals(&last.json().await.expect("JSON")), totals(&before));
    sql.run("ALTER TABLE public.bag DISABLE ROW LEVEL SECURITY").await;
    wait_until("figures are read again", async || {
        read(&service, &path, "no-cache").await.status() == 200
    })
    .await;
}

/// Rows that a policy hides must not become a sum of the others.
#[tokio::test]
async fn rows_that_a_policy_hides_are_an_error() {
    let (launch, mut sql, role) = owned_by_another().await;
    sql.run(format!("CREATE SCHEMA facility_summary AUTHORIZATION {role}")).await;
    sql.run(
        "ALTER TABLE public.bag ENABLE ROW LEVEL SECURITY; CREATE POLICY reserved ON public.bag \
         USING (state = 'reserved')",
    )
    .await;
    let exited = run(&launch, &["migrate"]).await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    for word in ["sources.stock[0]", "row-level security"] {
        assert!(exited.output.contains(word), "{word:?} is not in: {}", exited.output);
    }
}

/// What gives the role more than it needs, what takes it back, and words of what is said then.
fn spare_rights(role: &str, owner: &str) -> Vec<(String, String, Vec<String>)> {
    vec![
        (
            format!("GRANT UPDATE (title) ON public.hospital TO {role}"),
            format!("REVOKE UPDATE (title) ON public.hospital FROM {role}"),
            vec!["may write public.hospital (UPDATE)".to_owned(), "REVOKE UPDATE ON".into()],
        ),
        (
            "GRANT DELETE, TRUNCATE ON public.bag TO PUBLIC".into(),
            "REVOKE DELETE, TRUNCATE ON public.bag FROM PUBLIC".into(),
            vec!["may write public.bag (DELETE, TRUNCATE)".into(), "or from PUBLIC".into()],
        ),
        (
            format!(
                "CREATE ROLE {owner}; ALTER TABLE public.store OWNER TO {owner}; ALTER TABLE \
                 public.bag OWNER TO {owner}; GRANT {owner} TO {role}"
            ),
            format!("REVOKE {owner} FROM {role}"),
            vec![
                format!("is a member of {owner}, which owns public.bag, public.store"),
                format!("REVOKE {owner} FROM {role};"),
            ],
        ),
        (
            format!("ALTER ROLE {role} NOINHERIT; GRANT {owner} TO {role}"),
            format!("REVOKE {owner} FROM {role}; ALTER ROLE {role} INHERIT"),
            vec![format!("is a member of {owner}, which owns")],
        ),
        (
            format!("ALTER TABLE public.movement OWNER TO {role}"),
            format!(
                "ALTER TABLE public.movement OWNER TO postgres; {}",
                GRANTS.replace("{role}", role)
            ),
            vec!["owns public.movement: it may change and drop".into()],
        ),
        (
            format!("ALTER ROLE {role} BYPASSRLS"),
            "SELECT 1".into(),
            vec![format!("ALTER ROLE {role} NOBYPASSRLS")],
        ),
        (
            "ALTER TABLE public.bag ENABLE ROW LEVEL SECURITY".into(),
            "ALTER TABLE public.bag DISABLE ROW LEVEL SECURITY".into(),
            vec!["has BYPASSRLS, which it needs for public.bag:".into()],
        ),
        (
            format!("ALTER ROLE {role} SUPERUSER"),
            format!("ALTER ROLE {role} NOSUPERUSER NOBYPASSRLS"),
            vec!["is a superuser".into(), "may read the mapped columns, owns the schema".into()],
        ),
    ]
}

/// A role that may do more than read serves as well, and nobody would notice.
#[tokio::test]
async fn a_check_says_what_the_role_may_do_beyond_what_serving_needs() {
    let (launch, mut sql, role) = owned_by_another().await;
    let said = async || {
        let exited = run(&launch, &["adopt", "check"]).await;
        assert_eq!(exited.code, Some(0), "{}", exited.output);
        let of_rights = exited.output.lines().filter(|line| line.starts_with("rights: "));
        of_rights.map(str::to_owned).collect::<Vec<String>>()
    };
    let none: [String; 0] = [];
    assert_eq!(said().await, none, "what the mapping needs is not too much");
    let owner = format!("{role}_of_tables");
    let starts = format!("rights: {role}, the role of this command, ");
    for (grant, revoke, parts) in spare_rights(&role, &owner) {
        sql.run(grant.as_str()).await;
        let lines = said().await;
        assert_eq!(lines.len(), 1, "{grant}: {lines:?}");
        assert!(lines[0].starts_with(&starts), "{grant}: {lines:?}");
        for part in parts {
            assert!(lines[0].contains(&part), "{part:?} is not in: {lines:?}");
        }
        sql.run(revoke.as_str()).await;
    }
    assert_eq!(said().await, none, "everything is as before");
    sql.run(format!(
        "ALTER TABLE public.store OWNER TO postgres; ALTER TABLE public.bag OWNER TO postgres; \
         DROP ROLE {owner}"
    ))
    .await;
}

//! Owners who are no superusers, beside what a superuser has installed: they make partitions and
//! dumps as before, or the report says why not.

use std::process::{Command, Output};

use super::{adopt, is_noticed, only_marks, partitions::PARTITIONS, triggers};
use crate::{
    sources::{MAPPING, run, sources_of, triggers::install::of_two_roles},
    steps::get,
    support::{outside::Outside, service::Launch, wait_until},
};

/// The hospital's database with partitions, which belongs to a role of its own with a password; and
/// that role.
async fn of_an_owner() -> (Launch, Launch, Outside, String, String) {
    let (superuser, serves, mut sql, role) = of_two_roles().await;
    for launch in [&superuser, &serves] {
        let mapping = format!("[sources]\ncompare_seconds = 1\n{MAPPING}");
        std::fs::write(sources_of(launch), mapping).expect("the folder can be written");
    }
    sql.run(PARTITIONS).await;
    let owner = format!("{role}_owner");
    let database = serves.database_url().rsplit('/').next().expect("a path").to_owned();
    sql.run(format!(
        "CREATE ROLE {owner} LOGIN PASSWORD 'secret'; ALTER DATABASE {database} OWNER TO {owner}; \
         ALTER SCHEMA public OWNER TO {owner}"
    ))
    .await;
    sql.run(give_to(&owner)).await;
    (superuser, serves, sql, role, owner)
}

/// Gives all tables of the hospital to another owner.
fn give_to(owner: &str) -> String {
    let tables = [
        "hospital",
        "store",
        "bag",
        "old_movement",
        "movement",
        "movement_old",
        "movement_now",
        "movement_deliveries",
    ];
    let statements = tables.map(|of| format!("ALTER TABLE public.{of} OWNER TO {owner};"));
    statements.concat()
}

/// Makes a partition as this role.
async fn part(sql: &mut Outside, role: &str, kind: &str) {
    sql.run(format!(
        "SET ROLE {role}; CREATE TABLE public.movement_{kind} PARTITION OF public.movement_now \
         FOR VALUES IN ('{kind}'); RESET ROLE"
    ))
    .await;
}

#[tokio::test]
async fn an_owner_makes_partitions_and_a_later_owner_who_cannot_is_named() {
    let (superuser, serves, mut sql, role, owner) = of_an_owner().await;
    adopt(&superuser, &["install", "--role", &role]).await;
    let service = only_marks(serves).start().await;
    is_noticed(&service).await;
    part(&mut sql, &owner, "request").await;
    is_noticed(&service).await;
    let later = format!("{owner}_later");
    sql.run(format!("CREATE ROLE {later}; GRANT CREATE, USAGE ON SCHEMA public TO {later}")).await;
    sql.run(give_to(&later)).await;
    let said = format!("public.movement belongs to {later}, who can make and attach no partition");
    wait_until("it is said", async || {
        let ready = get(&service, "/health/ready").await;
        let all = ready["dependencies"].as_array().expect("a list");
        let sources = all.iter().find(|one| one["name"] == "sources").expect("it is listed");
        sources["remedy"].as_str().unwrap_or_default().contains(&said)
    })
    .await;
    let installed = adopt(&superuser, &["install"]).await;
    assert!(installed.contains("made: "), "{installed}");
    part(&mut sql, &later, "return").await;
    is_noticed(&service).await;
}

fn dump_as(url: &str, owner: &str) -> Output {
    let (_, address) = url.split_once('@').expect("a user");
    let url = format!("postgres://{owner}:secret@{address}");
    Command::new("pg_dump").arg(url).output().expect("pg_dump runs")
}

#[tokio::test]
async fn an_owner_whose_dump_stops_at_our_schema_is_named_with_what_helps() {
    let (superuser, _, mut sql, role, owner) = of_an_owner().await;
    let url = superuser.database_url();
    assert!(dump_as(url, &owner).status.success());
    let said = adopt(&superuser, &["install", "--role", &role]).await;
    let failed = String::from_utf8(dump_as(url, &owner).stderr).expect("words");
    assert!(failed.contains("permission denied for schema facility_summary"), "{failed}");
    let grant = format!("GRANT \"{role}\" TO {owner}");
    for words in [&*format!("pg_dump of this database by {owner} stops"), &grant] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    sql.run(grant).await;
    let dump = dump_as(url, &owner);
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let again = adopt(&superuser, &["install"]).await;
    assert!(!again.contains("pg_dump"), "{again}");
}

#[tokio::test]
async fn a_partition_on_another_server_is_named_before_anything_is_made() {
    let (superuser, _, mut sql, role, _) = of_an_owner().await;
    sql.run(
        "CREATE EXTENSION postgres_fdw; CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw; \
         CREATE FOREIGN TABLE public.movement_away PARTITION OF public.movement FOR VALUES FROM \
         ('2090-01-01') TO (MAXVALUE) SERVER away",
    )
    .await;
    let said = "since its part public.movement_away is a foreign table";
    let checked = run(&superuser, &["adopt", "check"]).await;
    assert!(checked.output.contains(said), "{}", checked.output);
    let installed = run(&superuser, &["adopt", "install", "--role", &role]).await;
    assert_eq!(installed.code, Some(1), "{}", installed.output);
    assert!(installed.output.contains(said), "{}", installed.output);
    let made = "SELECT count(*) FROM pg_namespace WHERE nspname = 'facility_summary'";
    assert_eq!(sql.number(made).await, 0);
}

/// Postgres itself then fails the owner's statements, which no function can catch: so it is said
/// how to end that.
#[tokio::test]
async fn a_foreign_table_that_becomes_a_part_later_is_named_with_what_it_breaks() {
    let (superuser, serves, mut sql, role, _) = of_an_owner().await;
    adopt(&superuser, &["install", "--role", &role]).await;
    let service = only_marks(serves).start().await;
    is_noticed(&service).await;
    // No other session sees what is in this one.
    sql.run("CREATE TEMP TABLE mine () INHERITS (public.bag)").await;
    sql.run(
        "CREATE EXTENSION postgres_fdw; CREATE SERVER away FOREIGN DATA WRAPPER postgres_fdw; \
         CREATE FOREIGN TABLE public.movement_away PARTITION OF public.movement FOR VALUES FROM \
         ('2090-01-01') TO (MAXVALUE) SERVER away",
    )
    .await;
    wait_until("readiness names it", async || {
        let off = triggers(&service).await;
        let remedy = off["remedy"].as_str().unwrap_or_default().to_owned();
        assert!(!remedy.contains("mine"), "{remedy}");
        off["last_error"] == "unsuitable_table"
            && remedy.contains("movement_away is a foreign table")
            && remedy.contains("detach the part")
    })
    .await;
    sql.run("ALTER TABLE public.movement DETACH PARTITION public.movement_away").await;
    is_noticed(&service).await;
}

#[tokio::test]
async fn the_script_that_removes_refuses_while_a_service_runs() {
    let (superuser, serves, mut sql, role, _) = of_an_owner().await;
    adopt(&superuser, &["install", "--role", &role]).await;
    let service = only_marks(serves).start().await;
    is_noticed(&service).await;
    let file = superuser.folder().join("remove.sql");
    std::fs::write(&file, adopt(&superuser, &["sql", "--remove"]).await).expect("it is written");
    let url = superuser.database_url();
    let psql = || {
        let psql =
            Command::new("psql").args(["--no-psqlrc", "--file"]).arg(&file).arg(url).output();
        psql.expect("psql runs")
    };
    let refused = psql();
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{words}");
    assert!(words.contains("stop every replica first; nothing was removed"), "{words}");
    is_noticed(&service).await;
    drop(service.terminate().await);
    let removed = psql();
    assert!(removed.status.success(), "{}", String::from_utf8_lossy(&removed.stderr));
    let left = "SELECT count(*) FROM pg_namespace WHERE nspname = 'facility_summary'";
    assert_eq!(sql.number(left).await, 0);
}

#[tokio::test]
async fn a_right_that_install_lacks_is_named() {
    let (_, serves, mut sql, role) = of_two_roles().await;
    let refused = run(&serves, &["adopt", "install"]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.output);
    assert!(refused.output.contains("GRANT CREATE ON DATABASE"), "{}", refused.output);
    let database = serves.database_url().rsplit('/').next().expect("a path").to_owned();
    sql.run(format!(
        "CREATE SCHEMA facility_summary AUTHORIZATION {role}; GRANT USAGE ON SCHEMA public TO \
         {role}; REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC"
    ))
    .await;
    let refused = run(&serves, &["adopt", "install"]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.output);
    assert!(refused.output.contains("GRANT TEMPORARY ON DATABASE"), "{}", refused.output);
}

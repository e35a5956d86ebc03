//! `adopt install`, `adopt sql` and `adopt remove`.

use std::process::Command;

use super::{adopt, agrees, is_noticed, only_marks, shows, watched};
use crate::{
    server_settings::owned,
    sources::{HOSPITAL, MAPPING, mapped, run, sources_of},
    support::{
        outside::Outside,
        postgres::{Postgres, fresh_database},
        service::Launch,
    },
};

/// The URL of the superuser.
pub fn as_superuser(url: &str) -> String {
    let (_, address) = url.split_once('@').expect("a user");
    format!("postgres://postgres:postgres@{address}")
}

/// The definitions of everything in the database.
pub fn definitions(url: &str) -> String {
    let dump = Command::new("pg_dump")
        .args(["--schema-only", "--restrict-key=same"])
        .arg(as_superuser(url))
        .output()
        .expect("pg_dump runs");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    String::from_utf8(dump.stdout).expect("definitions are UTF-8")
}

/// Runs a file by psql, which succeeds.
pub fn psql(url: &str, script: &str) {
    if let Err(said) = run_by_psql(url, script) {
        panic!("{script}\n{said}");
    }
}

/// Runs a file by psql. `Err` with what it says where it fails.
pub fn run_by_psql(url: &str, script: &str) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("script.sql");
    std::fs::write(&file, script).expect("it can be written");
    let run = Command::new("psql")
        .args(["--no-psqlrc", "--quiet", "--file"])
        .arg(&file)
        .arg(url)
        .output()
        .expect("psql runs");
    run.status.success().then_some(()).ok_or(String::from_utf8_lossy(&run.stderr).into_owned())
}

/// A database of a hospital, owned by the superuser; the role that is to serve, which may do
/// nothing; and the launches of both.
pub async fn of_two_roles() -> (Launch, Launch, Outside, String) {
    let (serves, mut sql, role) = owned().await;
    let database = serves.database_url().rsplit('/').next().expect("a path").to_owned();
    sql.run(format!(
        "ALTER DATABASE {database} OWNER TO postgres; ALTER SCHEMA public OWNER TO postgres; \
         REVOKE ALL ON SCHEMA public FROM PUBLIC"
    ))
    .await;
    sql.run(HOSPITAL).await;
    let owner = crate::support::Service::on(as_superuser(serves.database_url()));
    for launch in [&serves, &owner] {
        std::fs::write(sources_of(launch), MAPPING).expect("the folder can be written");
    }
    let file = sources_of(&serves);
    (owner, serves.argument("--sources").argument(&file), sql, role)
}

#[tokio::test]
async fn an_owner_installs_another_role_serves_and_nothing_is_left_after_removal() {
    let (owner, serves, mut sql, role) = of_two_roles().await;
    let before = definitions(owner.database_url());
    let said = adopt(&owner, &["install", "--role", &role]).await;
    for words in ["The schema facility_summary", "may read the mapped columns", "public.bag"] {
        assert!(said.contains(words), "{words:?} is not in: {said}");
    }
    assert!(!said.contains("made: Waits") && !said.contains("made: All tables"), "{said}");
    let again = adopt(&owner, &["install"]).await;
    assert!(again.contains("nothing was made"), "{again}");
    let service = only_marks(serves).start().await;
    is_noticed(&service).await;
    sql.run("UPDATE public.store SET hospital_id = 2 WHERE id = 1").await;
    agrees(&service, &mut sql, "a move").await;
    let exited = run(&owner, &["adopt", "remove"]).await;
    assert_eq!(exited.code, Some(1));
    assert!(exited.output.contains("stop every replica first"), "{}", exited.output);
    assert!(!exited.output.contains("mapping cannot be used"), "{}", exited.output);
    drop(service.terminate().await);
    let said = adopt(&owner, &["remove"]).await;
    assert!(said.contains(&format!("left: the role {role}")), "{said}");
    assert_eq!(definitions(owner.database_url()), before);
    sql.run(format!("DROP ROLE {role}")).await;
    let again = adopt(&owner, &["remove"]).await;
    assert!(again.contains("There was nothing of this service"), "{again}");
}

#[tokio::test]
async fn what_sql_prints_does_what_install_and_remove_do() {
    let (owner, serves, mut sql, role) = of_two_roles().await;
    let before = definitions(owner.database_url());
    let script = adopt(&owner, &["sql", "--role", &role]).await;
    assert_eq!(definitions(owner.database_url()), before, "it makes nothing");
    psql(owner.database_url(), &script);
    let service = only_marks(serves).start().await;
    is_noticed(&service).await;
    sql.run("DELETE FROM public.bag WHERE store_id = 1").await;
    agrees(&service, &mut sql, "a delete").await;
    let again = adopt(&owner, &["install"]).await;
    assert!(again.contains("nothing was made"), "{again}");
    drop(service.terminate().await);
    psql(owner.database_url(), &adopt(&owner, &["sql", "--remove"]).await);
    assert_eq!(definitions(owner.database_url()), before);
}

/// The role that serves prints the script, and a database administrator runs it.
#[tokio::test]
async fn what_sql_prints_makes_all_for_the_role_that_serves_whoever_runs_it() {
    let (owner, serves, mut sql, role) = of_two_roles().await;
    sql.run(format!(
        "CREATE SCHEMA facility_summary AUTHORIZATION {role}; GRANT USAGE ON SCHEMA public TO \
         {role}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}; \
         CREATE ROLE stranger_{role} LOGIN PASSWORD 'postgres'"
    ))
    .await;
    let printer = crate::support::Service::on(serves.database_url());
    std::fs::write(sources_of(&printer), MAPPING).expect("the folder can be written");
    let script = adopt(&printer, &["sql"]).await;
    let (_, address) = owner.database_url().split_once('@').expect("a user");
    let stranger = format!("postgres://stranger_{role}:postgres@{address}");
    let said = run_by_psql(&stranger, &script).expect_err("it is no member");
    let remedy = format!("may not make what the role \"{role}\" shall own: GRANT \"{role}\" TO");
    assert!(said.contains(&remedy), "{said}");
    psql(owner.database_url(), &script);
    for (catalogue, owned_by) in [("pg_class", "rel"), ("pg_proc", "pro")] {
        let others = format!(
            "SELECT count(*) FROM {catalogue} JOIN pg_namespace n ON n.oid = {owned_by}namespace \
             WHERE n.nspname = 'facility_summary' AND pg_get_userbyid({owned_by}owner) <> '{role}'"
        );
        assert_eq!(sql.number(others).await, 0, "{catalogue}");
    }
    let service = only_marks(serves).start().await;
    is_noticed(&service).await;
    drop(service.terminate().await);
    // As a script of an earlier release has left it.
    sql.run("ALTER TABLE facility_summary._sqlx_migrations OWNER TO postgres").await;
    for (launch, command) in [(&printer, &["migrate"][..]), (&owner, &["adopt", "install"])] {
        let exited = run(launch, command).await;
        assert_eq!(exited.code, Some(1), "{}", exited.output);
        for words in ["belong to the role \"postgres\"", "adopt remove", "nothing was changed"] {
            assert!(exited.output.contains(words), "{words:?} is not in: {}", exited.output);
        }
    }
    sql.run(format!("DROP ROLE stranger_{role}")).await;
}

#[tokio::test]
async fn a_schema_whose_name_needs_quotes_is_left_as_it_was() {
    let (owner, _, mut sql, role) = of_two_roles().await;
    sql.run("ALTER SCHEMA public RENAME TO \"Blut-Bank\"").await;
    let mapping = MAPPING.replace("public.", "\\\"Blut-Bank\\\".");
    std::fs::write(sources_of(&owner), mapping).expect("the folder can be written");
    let before = definitions(owner.database_url());
    adopt(&owner, &["install", "--role", &role]).await;
    adopt(&owner, &["remove"]).await;
    assert_eq!(definitions(owner.database_url()), before);
}

#[tokio::test]
async fn no_name_ends_a_comment_of_what_sql_prints() {
    let (owner, _, mut sql, _) = of_two_roles().await;
    let odd = "odd\rCREATE TABLE public.forged (); --";
    sql.run(format!("CREATE ROLE \"{odd}\"")).await;
    psql(owner.database_url(), &adopt(&owner, &["sql", "--role", odd]).await);
    psql(owner.database_url(), &adopt(&owner, &["sql", "--remove"]).await);
    assert_eq!(sql.number("SELECT count(*) FROM pg_class WHERE relname = 'forged'").await, 0);
    sql.run(format!("DROP ROLE \"{odd}\"")).await;
}

#[tokio::test]
async fn removal_takes_back_what_install_gave_and_nothing_else() {
    let (owner, _, mut sql, role) = of_two_roles().await;
    sql.run(format!(
        "CREATE TABLE public.ledger (id integer); GRANT SELECT ON public.bag TO {role}; GRANT \
         SELECT (title) ON public.hospital TO {role}; GRANT SELECT, INSERT ON public.ledger TO \
         {role}"
    ))
    .await;
    let before = definitions(owner.database_url());
    for by_hand in [false, true] {
        adopt(&owner, &["install", "--role", &role]).await;
        assert_ne!(definitions(owner.database_url()), before);
        sql.run("ALTER TABLE public.store RENAME TO cellar").await;
        if by_hand {
            psql(owner.database_url(), &adopt(&owner, &["sql", "--remove"]).await);
        } else {
            let said = adopt(&owner, &["remove"]).await;
            assert!(said.contains("with the rights that others gave it"), "{said}");
            assert!(!said.contains("DROP ROLE"), "{said}");
        }
        sql.run("ALTER TABLE public.cellar RENAME TO store").await;
        assert_eq!(definitions(owner.database_url()), before);
    }
}

#[tokio::test]
async fn a_second_installation_leaves_the_triggers_of_the_first_alone() {
    let (launch, _sql) = mapped(MAPPING).await;
    adopt(&launch, &["install"]).await;
    let before = definitions(launch.database_url());
    let second = launch.env("FACILITY_SUMMARY__DATABASE__SCHEMA", "second");
    for action in ["install", "sql"] {
        let exited = run(&second, &["adopt", action]).await;
        assert_eq!(exited.code, Some(1), "{}", exited.output);
        for words in ["another installation", "the schema facility_summary", "nothing was made"] {
            assert!(exited.output.contains(words), "{words:?} is not in: {}", exited.output);
        }
    }
    adopt(&second, &["remove"]).await;
    assert_eq!(definitions(second.database_url()), before);
}

#[tokio::test]
async fn a_publication_of_all_tables_is_named_before_anything_is_made() {
    let (launch, mut sql) = mapped(MAPPING).await;
    sql.run("CREATE PUBLICATION everything FOR ALL TABLES").await;
    let before = definitions(launch.database_url());
    let exited = run(&launch, &["adopt", "install"]).await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    for action in ["check", "sql"] {
        let said = adopt(&launch, &[action]).await;
        assert!(said.contains("the publication everything publishes"), "{said}");
    }
    assert!(exited.output.contains("--published"), "{}", exited.output);
    assert!(exited.output.contains("the publication everything"), "{}", exited.output);
    assert_eq!(definitions(launch.database_url()), before);
    sql.run("DROP PUBLICATION everything; CREATE SCHEMA facility_summary").await;
    sql.run("CREATE PUBLICATION ours FOR TABLES IN SCHEMA facility_summary").await;
    let exited = run(&launch, &["adopt", "install"]).await;
    assert!(exited.output.contains("the publication ours"), "{}", exited.output);
    adopt(&launch, &["install", "--published"]).await;
    let again = adopt(&launch, &["install"]).await;
    assert!(again.contains("nothing was made"), "{again}");
}

/// Rights that somebody gave to a role that has tables of its own stay, and so do objects of others
/// in our schema.
#[tokio::test]
async fn removal_leaves_what_is_not_ours() {
    let (launch, mut sql) = mapped(MAPPING).await;
    sql.run("CREATE SCHEMA facility_summary; CREATE TABLE facility_summary.notes (text text)")
        .await;
    let before = definitions(launch.database_url());
    adopt(&launch, &["install"]).await;
    sql.run("CREATE VIEW public.ours AS SELECT * FROM facility_summary.facilities").await;
    let exited = run(&launch, &["adopt", "remove"]).await;
    assert_eq!(exited.code, Some(1));
    assert!(exited.output.contains("public.ours"), "{}", exited.output);
    sql.run("DROP VIEW public.ours").await;
    let said = adopt(&launch, &["remove"]).await;
    assert!(said.contains("facility_summary.notes"), "{said}");
    assert_eq!(definitions(launch.database_url()), before);
}

#[tokio::test]
async fn an_installation_does_not_queue_behind_a_long_transaction() {
    let (launch, mut sql) = mapped(MAPPING).await;
    sql.run("BEGIN; UPDATE public.bag SET abo = abo").await;
    let exited = run(&launch, &["adopt", "install"]).await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    for word in ["lock", "run this again", "nothing was made"] {
        assert!(exited.output.contains(word), "{word:?} is not in: {}", exited.output);
    }
    sql.run("COMMIT").await;
    adopt(&launch, &["install"]).await;
}

#[tokio::test]
async fn a_role_without_the_rights_is_told_which_it_needs() {
    let (owner, serves, mut sql, role) = of_two_roles().await;
    sql.run(format!(
        "CREATE SCHEMA facility_summary AUTHORIZATION {role}; GRANT USAGE ON SCHEMA public TO \
         {role}; GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
    ))
    .await;
    let exited = run(&serves, &["adopt", "install"]).await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    assert!(exited.output.contains("owner of the tables"), "{}", exited.output);
    for (first, word) in
        [("SELECT 1", "ALTER SCHEMA"), ("DROP SCHEMA facility_summary CASCADE", "CREATE ROLE")]
    {
        sql.run(first).await;
        let exited = run(&owner, &["adopt", "install", "--role", "nobody_at_all"]).await;
        assert_eq!(exited.code, Some(1));
        assert!(exited.output.contains(word), "{word}: {}", exited.output);
    }
}

/// A copy of the owner's schemas alone: its tables work, whatever psql says of our triggers.
#[tokio::test]
async fn a_copy_of_the_owners_schemas_has_no_broken_trigger() {
    let (service, _sql) = watched(MAPPING).await;
    let copy = fresh_database().await;
    let dump = Command::new("pg_dump")
        .args(["--schema=public", "--restrict-key=same"])
        .arg(service.database_url())
        .output()
        .expect("pg_dump runs");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("dump.sql");
    std::fs::write(&file, &dump.stdout).expect("it can be written");
    let restored = Command::new("psql").args(["--quiet", "--file"]).arg(&file).arg(&copy).output();
    let said = String::from_utf8(restored.expect("psql runs").stderr).expect("UTF-8");
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("ERROR:")).collect();
    assert!(!errors.is_empty());
    for error in errors {
        let is_ours =
            error.contains("facility_summary") || error.contains("schema \"public\" already");
        assert!(is_ours, "{error}");
    }
    let mut sql = Outside::connect(&copy).await;
    assert_eq!(sql.number("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal").await, 0);
    assert_eq!(sql.number("SELECT count(*) FROM public.bag").await, 6);
    sql.run("UPDATE public.bag SET state = 'issued'; TRUNCATE public.movement").await;
}

/// A dump of the whole database brings all of it into another server, and the triggers are looked
/// at once more. Other tables have the ids there that the mapped ones had.
#[tokio::test]
async fn a_restored_dump_of_everything_is_watched() {
    let (service, _sql) = watched(MAPPING).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("all.dump");
    let mut dump = Command::new("pg_dump");
    let dump = dump.args(["-Fc", "--file"]).arg(&file).arg(service.database_url()).output();
    let dump = dump.expect("pg_dump runs");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    let other = Postgres::start(&[]);
    let (launch, mut sql) = {
        let launch = crate::support::Service::on(other.fresh_database().await);
        let file = sources_of(&launch);
        let mapping = format!("[sources]\ncompare_seconds = 1\n{MAPPING}");
        std::fs::write(&file, mapping).expect("the folder can be written");
        let sql = Outside::connect(launch.database_url()).await;
        (launch.argument("--sources").argument(&file), sql)
    };
    let mut restore = Command::new("pg_restore");
    let restore = restore.args(["--exit-on-error", "--dbname"]).arg(launch.database_url());
    let restore = restore.arg(&file).output().expect("pg_restore runs");
    assert!(restore.status.success(), "{}", String::from_utf8_lossy(&restore.stderr));
    sql.run(
        "UPDATE facility_summary.fleet SET shape = (SELECT jsonb_agg(jsonb_set(c, '{table_id}', \
         (SELECT to_jsonb(oid::bigint) FROM pg_class WHERE relkind = 't' ORDER BY oid DESC LIMIT \
         1))) FROM jsonb_array_elements(shape) c); DELETE FROM public.bag WHERE store_id = 1",
    )
    .await;
    let service = only_marks(launch).start().await;
    is_noticed(&service).await;
    agrees(&service, &mut sql, "a delete before the start").await;
    sql.run("DELETE FROM public.bag").await;
    shows(&service, "1", &[0, 4, 1], "a delete").await;
    let said = async || {
        let ready = crate::steps::get(&service, "/health/ready").await;
        let all = ready["dependencies"].as_array().expect("a list").clone();
        all.iter().find(|one| one["name"] == "sources").expect("it is listed").clone()
    };
    assert_eq!(said().await["state"], "up", "{}", said().await);
    // The ids are those of this server now.
    sql.run("ALTER TABLE public.bag RENAME expiry TO expires_on").await;
    crate::support::wait_until("the rename is named", async || {
        let remedy = said().await["remedy"].as_str().unwrap_or_default().to_owned();
        remedy.starts_with("public.bag.expiry is now public.bag.expires_on")
    })
    .await;
}

/// Whichever of both is there first.
#[tokio::test]
async fn an_installation_on_a_part_keeps_another_one_off_the_whole() {
    let (launch, mut sql) = mapped(MAPPING).await;
    sql.run(
        "CREATE TABLE public.bag_more () INHERITS (public.bag); CREATE TABLE public.site (id \
         integer PRIMARY KEY)",
    )
    .await;
    let part = "[sources.facilities]\nfrom = \"public.site s\"\nkey = \"s.id\"\nname = \
                \"s.id::text\"\ntimezone = \"'UTC'\"\n[[sources.stock]]\nfrom = \
                \"public.bag_more b\"\nfacility = \"b.store_id\"\n";
    std::fs::write(sources_of(&launch), part).expect("it can be written");
    adopt(&launch, &["install"]).await;
    std::fs::write(sources_of(&launch), MAPPING).expect("it can be written");
    let second = launch.env("FACILITY_SUMMARY__DATABASE__SCHEMA", "second");
    let exited = run(&second, &["adopt", "install"]).await;
    assert_eq!(exited.code, Some(1), "{}", exited.output);
    assert!(exited.output.contains("another installation"), "{}", exited.output);
}

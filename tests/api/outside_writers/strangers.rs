//! Other roles may be able to create objects in the schema of the tables, as every role could up to
//! Postgres 14, or to create schemas beside it. The service's statements run with its own rights.
//! So none of them may refer to a table, operator or function of another role.

use std::path::Path;

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use uuid::Uuid;

use super::{held::several_drains, rights::Intruder};
use crate::{
    server_settings::owned,
    steps::get,
    support::{
        Service,
        events::event,
        outside::Outside,
        plain_sql::texts,
        service::Launch,
        site::{Site, a_zone_at_noon, acknowledged, audited, rebuild},
        wait_until,
    },
};

/// Creates an operator for each pair of types, and, for each name that a statement calls, functions
/// with one and with two arguments of each type. Postgres calls the function or operator that fits
/// the types of the arguments best. When one of these fits better than the server's own, it is
/// called instead. Only their owner may execute them. So a statement that refers to one fails
/// before it begins, with or without rows.
const STRANGERS: &str = "
    DO $plant$
    DECLARE
        types constant text[] := ARRAY['text', 'varchar', 'bigint', 'integer', 'smallint', \
                         'numeric', 'uuid', 'date', 'timestamptz', 'timestamp', 'interval',
            'float8', 'boolean', 'jsonb', 'facility_summary.blood_type', '\"char\"', 'name', \
            'oid', 'xid', \
                         'jsonpath', 'regnamespace', 'regclass', 'uuid[]', 'text[]', 'bigint[]', \
                         'integer[]'];
        make constant text := 'CREATE FUNCTION facility_summary.%1$I(%2$s) RETURNS boolean \
        LANGUAGE plpgsql \
                         AS $$ BEGIN RAISE ''a stranger''; END $$;
                               REVOKE ALL ON FUNCTION facility_summary.%1$I(%2$s) FROM PUBLIC';
        func text;
        a text;
        b text;
        op text;
    BEGIN
        FOREACH func IN ARRAY ARRAY['stranger'] || string_to_array('{NAMES}', ' ') LOOP
            FOREACH a IN ARRAY types LOOP
                EXECUTE format(make, func, a);
                FOREACH b IN ARRAY types LOOP
                    EXECUTE format(make, func, a || ', ' || b);
                END LOOP;
            END LOOP;
        END LOOP;
        FOREACH a IN ARRAY types LOOP
            FOREACH b IN ARRAY types LOOP
                FOREACH op IN ARRAY ARRAY['=', '<>', '<', '>', '<=', '>=', '+', '-', '*', '/', \
                         '||', '->', '->>', '~~'] LOOP
                    EXECUTE format('CREATE OPERATOR facility_summary.%s (leftarg = %s, rightarg \
                    = %s, \
                         function = facility_summary.stranger)', op, a, b);
                END LOOP;
            END LOOP;
        END LOOP;
    END $plant$";

/// The statements of the service as they are sent, each with the name of its file.
fn statements() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/postgres");
    let files = [folder.clone(), folder.join("entities")]
        .into_iter()
        .flat_map(|folder| std::fs::read_dir(folder).expect("it is there"));
    let files = files
        .map(|file| file.expect("an entry").path())
        .filter(|file| file.extension().is_some_and(|end| end == "sql"));
    let read = |file: &Path| std::fs::read_to_string(file).expect("it can be read");
    files
        .filter(|file| !file.ends_with("derive.sql"))
        .map(|file| {
            let name = file.file_name().expect("it has one").to_string_lossy().into_owned();
            let begin = if ["derive_select.sql", "audit_select.sql"].contains(&name.as_str()) {
                read(&folder.join("derive.sql"))
            } else {
                String::new()
            };
            (name, begin + &read(&file))
        })
        .collect()
}

/// The words of a text before an opening bracket, each with the text before it.
fn calls(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.match_indices('(').filter_map(|(at, _)| {
        let begin = text[..at]
            .rfind(|c: char| !(c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit()))
            .map_or(0, |before| before + 1);
        (begin < at).then(|| (&text[..begin], &text[begin..at]))
    })
}

/// Creates the operators and functions of `STRANGERS` in the database.
async fn plant(launch: &Launch, sql: &mut Outside) {
    // The functions that statements in SQL files and in the sources call.
    let sources = [
        "mod",
        "move_schema",
        "transaction",
        "epoch",
        "server_registry",
        "runs",
        "entities",
        "migrate",
        "home",
        "connect",
        "session",
        "triggers",
    ];
    let sources = sources.map(|name| {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/store/postgres/{name}.rs"))
    });
    let text: String = statements()
        .into_iter()
        .map(|(_, text)| text)
        .chain(sources.map(|file| std::fs::read_to_string(file).expect("it is there")))
        .collect();
    let known = texts(
        launch.database_url(),
        "SELECT DISTINCT proname::text FROM pg_proc WHERE pronamespace = \
         'pg_catalog'::regnamespace",
    )
    .await;
    let mut names: Vec<&str> = calls(&text)
        .map(|(_, name)| name)
        .filter(|name| known.iter().any(|known| known == name))
        .collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.contains(&"floor") && names.contains(&"unnest"), "{names:?}");
    sql.run(STRANGERS.replace("{NAMES}", &names.join(" "))).await;
}

/// A database with the tables of the service and the objects of `STRANGERS`. Its owner is a role
/// that is not a superuser. Returns a launch with the URL of that role, and a superuser's
/// connection.
async fn beside_strangers() -> (Launch, Outside) {
    let (launch, mut sql, _) = owned().await;
    let migrated = launch.run(&["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.output);
    plant(&launch, &mut sql).await;
    (launch, sql)
}

#[tokio::test]
async fn no_statement_calls_a_better_matching_operator_or_function_of_another_role() {
    let (launch, _sql) = beside_strangers().await;
    let mut ours =
        PgConnection::connect(launch.database_url()).await.expect("the owner may log in");
    ours.execute(
        "SET search_path = facility_summary, pg_temp; SET plan_cache_mode = force_generic_plan",
    )
    .await
    .expect("settings");
    let strange = ours
        .execute("SELECT 3::bigint * interval '1 day'")
        .await
        .expect_err("there is a better one than the server's");
    assert!(strange.to_string().contains("permission denied for function stranger"), "{strange}");
    let statements = statements();
    assert!(statements.len() > 40, "{}", statements.len());
    for (name, statement) in statements {
        let parameters = (1..=20).filter(|n| statement.contains(&format!("${n}"))).count();
        let nulls = if parameters == 0 {
            String::new()
        } else {
            format!("({})", vec!["NULL"; parameters].join(", "))
        };
        let run = format!("BEGIN; PREPARE s AS {statement};\nEXECUTE s {nulls}");
        let outcome = sqlx::raw_sql(AssertSqlSafe(run)).execute(&mut ours).await;
        match outcome {
            // It failed at a null value. So it has begun, and its names were resolved before that.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("23502") => {}
            outcome => drop(outcome.unwrap_or_else(|error| panic!("{name}: {error}"))),
        }
        ours.execute("ROLLBACK; DEALLOCATE ALL").await.expect("it ends");
    }
}

/// There are too many combinations of types to create functions of more than two, or of any number
/// of, arguments. So statements must call the server's own functions by their full names.
#[tokio::test]
async fn functions_of_many_arguments_are_called_by_their_full_names() {
    let service = Service::on_postgres().await.start().await;
    let long = "SELECT DISTINCT proname::text FROM pg_proc WHERE pronamespace = \
                'pg_catalog'::regnamespace AND (pronargs > 2 OR provariadic <> 0)
                AND proname NOT IN ('date_trunc', 'to_timestamp')"; // these have two here
    let long = texts(service.database_url(), long).await;
    for (file, statement) in statements() {
        let statement: String = statement
            .lines()
            .filter(|line| !line.trim_start().starts_with("--"))
            .collect::<Vec<_>>()
            .join("\n");
        for (before, name) in
            calls(&statement).filter(|(_, name)| long.iter().any(|long| long == name))
        {
            assert!(before.ends_with("pg_catalog."), "{file}: {name} should be pg_catalog.{name}");
        }
    }
}

#[tokio::test]
async fn the_service_and_its_commands_run_beside_objects_of_other_roles() {
    let (launch, mut sql) = beside_strangers().await;
    let service = launch.clone().env("DATABASE_READ_URL", launch.database_url()).start().await;
    let (zone, today) = a_zone_at_noon();
    let (site, other) =
        (Site::register(&service, &zone).await, Site::register(&service, &zone).await);
    let (item, request) = (Uuid::new_v4(), Uuid::new_v4());
    acknowledged(&service, &site.stock(item, 4)).await;
    acknowledged(&service, &site.request(request, jiff::Timestamp::now())).await;
    let delivered = json!({
        "distribution_id": Uuid::new_v4(),
        "dispatched_to_id": site.facility,
        "quantity": 3,
        "blood_type": "A+",
        "date_delivered": jiff::Timestamp::now(),
    });
    acknowledged(&service, &event("distribution.set", delivered)).await;
    site.shows(&service, (4, 3, 1)).await;
    acknowledged(&service, &event("request.removed", json!({"request_id": request}))).await;
    // The session of an ordinary writer may call the other role's functions, but our triggers must
    // not.
    let bank = json!({"facility_id": other.facility, "name": "Ward"});
    assert_eq!(service.put(&format!("/v1/blood-banks/{}", site.bank), &bank).await.status(), 200);
    site.shows(&service, (0, 3, 0)).await;
    other.shows(&service, (4, 0, 0)).await;
    sql.run(format!(
        "SET search_path = pg_catalog; INSERT INTO facility_summary.blood_requests (id, \
        facility_id) VALUES \
         (gen_random_uuid(), '{}')",
        site.facility
    ))
    .await;
    sql.run(format!(
        "SET session_replication_role = replica; INSERT INTO facility_summary.blood_requests (id, \
         facility_id) VALUES (gen_random_uuid(), '{}')",
        site.facility
    ))
    .await;
    site.shows(&service, (0, 3, 2)).await;
    let list = get(
        &service,
        &format!("/v1/facilities/{}/summaries?from={today}&to={today}", site.facility),
    )
    .await;
    assert!(list.to_string().contains("\"total_requests\":2"), "{list}");
    let run = rebuild(&service).await;
    assert_eq!((&run["state"], &run["drift"]), (&"done".into(), &0.into()), "{run}");
    assert_eq!(get(&service, "/health/ready").await["status"], "ready");
    let generated = launch.run(&["generate", "--facilities=3", "--days=2"]).await;
    assert_eq!(generated.code, Some(0), "{}", generated.output);
    audited(&launch).await;
}

/// An operator that grants the rights of the role that uses it to every role.
const BAIT: &str = "
    CREATE FUNCTION {S}.take(facility_summary.blood_type, text) RETURNS boolean LANGUAGE plpgsql \
    AS $$ BEGIN
        IF current_user <> '{ROLE}' THEN EXECUTE 'GRANT ALL ON ALL TABLES IN SCHEMA \
        facility_summary TO \
                    PUBLIC'; END IF;
        RETURN $1::text OPERATOR(pg_catalog.=) $2;
    END $$;
    CREATE OPERATOR {S}.= (leftarg = facility_summary.blood_type, rightarg = text, function = \
    {S}.take);";

#[tokio::test]
async fn roles_that_may_create_objects_in_the_schema_gain_nothing_and_are_named_at_the_start() {
    let service = Service::on_postgres().await.start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let mut intruder = Intruder::new(&service, "blood_distributions").await;
    let mut owner = Outside::connect(service.database_url()).await;
    owner.run("GRANT CREATE, USAGE ON SCHEMA facility_summary TO PUBLIC").await;
    intruder
        .run(&BAIT.replace("{S}", "facility_summary").replace("{ROLE}", &intruder.role))
        .await
        .expect("they may");
    owner.run("ANALYZE facility_summary.blood_distributions").await;
    let (_, launch) = service.terminate().await;
    let service = launch.start().await;
    let deliver = format!(
        "INSERT INTO facility_summary.blood_distributions (id, dispatched_to_id, quantity, \
        date_delivered, \
         blood_type) VALUES (gen_random_uuid(), '{}', 5, now(), 'O+')",
        site.facility
    );
    intruder.run(&deliver).await.expect("that is their table");
    site.shows(&service, (0, 5, 0)).await;
    rebuild(&service).await;
    assert_eq!(intruder.rights(&service).await, 0);
    let told = service.logged(
        "others than the owner of the tables may create objects in their schema, which is taken \
         for as safe as its owner: revoke that, or give the service a schema of its own",
    );
    assert_eq!(
        (told.len(), &told[0]["remedy"]),
        (1, &json!("REVOKE CREATE ON SCHEMA \"facility_summary\" FROM PUBLIC")),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_schema_named_like_the_services_role_hides_no_table_and_gives_no_rights() {
    let service = Service::on_postgres().await.start().await;
    let site = Site::register(&service, &a_zone_at_noon().0).await;
    let mut intruder = Intruder::new(&service, "blood_distributions").await;
    let mut owner = Outside::connect(service.database_url()).await;
    let database = service.database_url().rsplit('/').next().expect("a path").to_owned();
    owner.run(format!("GRANT CREATE ON DATABASE {database} TO {}", intruder.role)).await;
    let mine = "CREATE SCHEMA postgres; GRANT USAGE ON SCHEMA postgres TO PUBLIC;
                CREATE TABLE postgres._sqlx_migrations (version bigint);
                CREATE TABLE postgres.summary_marks (id bigint);
                CREATE TABLE postgres.facilities (id uuid, name text, timezone text);
                CREATE TABLE postgres.blood_inventory (LIKE facility_summary.blood_inventory);";
    // The intruder may not read our table, so it cannot copy its columns by LIKE.
    let mine = mine.replace(
        "(LIKE facility_summary.blood_inventory)",
        "(id uuid, blood_bank_id uuid, blood_type text, quantity integer, expires_at timestamptz)",
    );
    intruder
        .run(&(mine + &BAIT.replace("{S}", "postgres").replace("{ROLE}", &intruder.role)))
        .await
        .expect("they may");
    let check = async |service: &Service, quantity: i64| {
        let item = Uuid::new_v4();
        acknowledged(service, &site.stock(item, quantity)).await;
        let unit = format!(
            "INSERT INTO facility_summary.blood_inventory (id, blood_bank_id, quantity) VALUES \
             (gen_random_uuid(), '{}', 2000)",
            site.bank
        );
        Outside::connect(service.database_url()).await.run(unit).await;
    };
    check(&service, 24).await;
    site.shows(&service, (2024, 0, 0)).await;
    // The sessions of a new start begin while that schema is there.
    let (_, launch) = service.terminate().await;
    let service = launch.start().await;
    check(&service, 24).await;
    site.shows(&service, (4048, 0, 0)).await;
    let deliver = format!(
        "INSERT INTO facility_summary.blood_distributions (id, dispatched_to_id, quantity, \
        date_delivered, \
         blood_type) VALUES (gen_random_uuid(), '{}', 5, now(), 'O+')",
        site.facility
    );
    intruder.run(&deliver).await.expect("that is their table");
    site.shows(&service, (4048, 5, 0)).await;
    several_drains(&service).await;
    wait_until("all marks are processed", async || {
        owner.number("SELECT count(*) FROM facility_summary.summary_marks").await == 0
    })
    .await;
    assert_eq!(intruder.rights(&service).await, 0);
    audited(service.launch()).await;
}

//! The statements that make the triggers of a plan, for `adopt install` to run and for `adopt sql`
//! to print.

use std::collections::BTreeSet;

use sqlx::{FromRow, PgConnection};

use super::{Plan, functions, parsed::TableName, plan::Note};
use crate::store::{
    Result,
    postgres::{home::quoted, sources::figures::literal},
};

/// One step, with what it is for.
#[derive(Debug, Clone)]
pub(super) struct Step {
    /// In words.
    pub comment: String,
    /// Statements, each ended by a semicolon.
    pub sql: String,
    /// What a report says that it has made; `None` where it makes nothing that stays.
    pub made: Option<String>,
}

impl Step {
    /// A step of these statements.
    pub fn new(comment: impl Into<String>, sql: impl Into<String>) -> Self {
        let comment = comment.into();
        Step { made: Some(comment.clone()), comment, sql: sql.into() }
    }

    /// The same, of which a report says nothing.
    pub fn unsaid(comment: impl Into<String>, sql: impl Into<String>) -> Self {
        Step { comment: comment.into(), sql: sql.into(), made: None }
    }

    /// The same, with other words in a report.
    pub fn said_as(self, made: impl Into<String>) -> Self {
        Step { made: Some(made.into()), ..self }
    }
}

/// For whom triggers are made.
pub(super) struct Parties {
    /// The schema of our tables.
    pub schema: String,
    /// The role that serves, which owns that schema.
    pub role: String,
    /// The role that makes the triggers: an owner of the mapped tables.
    pub user: String,
}

/// A table, one of its partitions, or one that inherits from it.
#[derive(Debug, FromRow)]
struct Part {
    schema: String,
    name: String,
    is_partitioned: bool,
    /// It gets its row trigger from the table of which it is a partition.
    is_partition: bool,
    /// This one, or another part of the table, is also a part of a table that is not watched here.
    /// Statements that name that one fire row triggers only.
    is_below: bool,
    /// The role that owns it.
    owner: String,
}

const PARTS: &str = "
    WITH RECURSIVE part AS (
        SELECT c.oid AS rel, 0 AS depth FROM pg_class c JOIN pg_namespace space
            ON space.oid = c.relnamespace
         WHERE space.nspname = $1::text::name AND c.relname = $2::text::name
        UNION
        SELECT below.inhrelid, part.depth + 1 FROM part JOIN pg_inherits below
            ON below.inhparent = part.rel
        JOIN pg_class child ON child.oid = below.inhrelid
        -- Of a temporary table no other session sees a row.
        WHERE child.relpersistence <> 't'::\"char\"
    )
    SELECT space.nspname::text AS schema, c.relname::text AS name,
           c.relkind = 'p'::\"char\" AS is_partitioned,
           c.relispartition AND min(part.depth) > 0 AS is_partition,
           EXISTS (SELECT 1 FROM pg_inherits above WHERE above.inhrelid IN (SELECT rel FROM part)
                     AND above.inhparent NOT IN (SELECT rel FROM part)) AS is_below,
           pg_get_userbyid(c.relowner)::text AS owner
    FROM part JOIN pg_class c ON c.oid = part.rel JOIN pg_namespace space
        ON space.oid = c.relnamespace
    GROUP BY c.oid, space.nspname
    ORDER BY min(part.depth), 1, 2";

/// Triggers of ours that the plan has no use for, as (trigger, table), and functions likewise.
const STALE: &str = "
    SELECT quote_ident(t.tgname::text), t.tgrelid::regclass::text
    FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_namespace space
        ON space.oid = p.pronamespace
    WHERE space.nspname = $1::text::name AND starts_with(p.proname::text, 'notice_'::text)
      AND t.tgparentid = 0::oid AND p.proname::text <> ALL ($2::text[])
    ORDER BY 2, 1";
const STALE_FUNCTIONS: &str = "
    SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace space
        ON space.oid = p.pronamespace
    WHERE space.nspname = $1::text::name AND starts_with(p.proname::text, 'notice_'::text)
      AND p.proname::text <> ALL ($2::text[])
    ORDER BY 1";

/// The steps that make the triggers of this plan, in the order in which they have to run. They
/// belong into one transaction.
pub(super) async fn triggers(
    connection: &mut PgConnection,
    plan: &Plan,
    parties: &Parties,
) -> Result<Vec<Step>> {
    let mut tables = Vec::new();
    for (table, notes) in &plan.watches {
        let parts: Vec<Part> = sqlx::query_as(PARTS)
            .bind(&table.schema)
            .bind(&table.name)
            .fetch_all(&mut *connection)
            .await?;
        tables.push((table, notes, parts));
    }
    let mut steps = vec![Step::unsaid(
        "Waits for nobody's transaction longer than this. Writers wait for the rest.",
        "SET LOCAL lock_timeout = '2s';",
    )];
    let roots: Vec<String> = plan.watches.keys().map(full_name).collect();
    steps.push(Step::unsaid(
        "All tables at once, so that no writer sees a part of the triggers.",
        format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE;", roots.join(", ")),
    ));
    steps.extend(stale(connection, plan, parties).await?);
    let owners: Vec<BTreeSet<&str>> = tables
        .iter()
        .map(|(_, _, parts)| parts.iter().map(|part| &*part.owner).collect())
        .collect();
    steps.push(functions_of(plan, parties, &owners));
    steps.extend(tables.iter().map(|(table, notes, parts)| {
        let statements: String = parts.iter().map(|part| of_part(table, part, parties)).collect();
        let what = if notes.iter().any(|note| matches!(note, Note::Everybody { .. })) {
            format!(": each change counts for every facility, since {}", plan.everybody[*table])
        } else {
            String::new()
        };
        let table = format!("{}.{}{what}", table.schema, table.name);
        Step::new(&table, statements).said_as(format!("The triggers on {table}."))
    }));
    steps.push(record(plan, parties));
    Ok(steps)
}

async fn stale(connection: &mut PgConnection, plan: &Plan, parties: &Parties) -> Result<Vec<Step>> {
    let kept: Vec<String> = plan.watches.keys().map(function).collect();
    let triggers: Vec<(String, String)> =
        sqlx::query_as(STALE).bind(&parties.schema).bind(&kept).fetch_all(&mut *connection).await?;
    let functions: Vec<String> = sqlx::query_scalar(STALE_FUNCTIONS)
        .bind(&parties.schema)
        .bind(&kept)
        .fetch_all(connection)
        .await?;
    let triggers: Vec<String> = triggers
        .iter()
        .map(|(trigger, table)| format!("DROP TRIGGER {trigger} ON {table};"))
        .collect();
    let functions: Vec<String> =
        functions.iter().map(|function| format!("DROP FUNCTION {function};")).collect();
    let all = [triggers, functions].concat();
    let step =
        Step::new("What an earlier mapping had, and this one has no use for.", all.join("\n"));
    Ok(Some(step).filter(|_| !all.is_empty()).into_iter().collect())
}

/// The functions, which have the rights of the role that serves: to our schema, and to read. Who
/// owns a table may execute its function: the server asks the maker of a partition for that right.
fn functions_of(plan: &Plan, parties: &Parties, owners: &[BTreeSet<&str>]) -> Step {
    let mut sql = as_role(parties);
    for ((table, body), owners) in plan.functions(&parties.schema).zip(owners) {
        let (schema, name) = (quoted(&parties.schema), function(table));
        sql += &format!(
            "\nCREATE OR REPLACE FUNCTION {schema}.{name}() RETURNS trigger LANGUAGE plpgsql \
             SECURITY DEFINER AS {};\nREVOKE ALL ON FUNCTION {schema}.{name}() FROM PUBLIC;",
            dollar_quoted(&body)
        );
        let grantees = owners.iter().copied().chain([&*parties.user]);
        let grantees: BTreeSet<&str> = grantees.filter(|of| *of != parties.role).collect();
        for grantee in grantees.into_iter().map(quoted) {
            sql += &format!("\nGRANT EXECUTE ON FUNCTION {schema}.{name}() TO {grantee};");
        }
    }
    Step::new(
        "What the triggers do. A writer needs no right to it, and whatever goes wrong in it, the \
         writer's statement succeeds.",
        sql + as_user(),
    )
    .said_as("The functions of the triggers.")
}

/// Begins statements that make what the role that serves shall own, whoever runs them: a printed
/// script is often run by another role than the one that printed it.
pub(super) fn as_role(parties: &Parties) -> String {
    format!("SET LOCAL ROLE {};", quoted(&parties.role))
}

/// Ends them: what follows is made by whoever has begun.
pub(super) fn as_user() -> &'static str {
    "\nSET LOCAL role TO DEFAULT;"
}

/// A block that fails with the remedy where whoever runs a printed script may not act as the role
/// that serves.
pub(super) fn refuse_unless_member(parties: &Parties) -> Step {
    let role = &parties.role;
    let name = literal(role);
    let [missing, no_member] = [
        format!("there is no role {0}: CREATE ROLE {0} LOGIN PASSWORD '…'", quoted(role)),
        format!(
            "whoever runs this may not make what the role {0} shall own: GRANT {0} TO that role, \
             or run this as a superuser",
            quoted(role)
        ),
    ]
    .map(|words| literal(&words));
    let block = format!(
        "BEGIN IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_roles r WHERE r.rolname = {name}) THEN \
         RAISE EXCEPTION USING MESSAGE = {missing}; ELSIF NOT \
         pg_catalog.pg_has_role(current_user, {name}, 'MEMBER') THEN RAISE EXCEPTION USING MESSAGE \
         = {no_member}; END IF; END"
    );
    let comment = format!("Everything in the schema belongs to the role {role}, which serves.");
    Step::unsaid(comment, format!("DO {};", dollar_quoted(&block)))
}

/// The triggers on one table, or on a part of it.
fn of_part(root: &TableName, part: &Part, parties: &Parties) -> String {
    let suffix = functions::suffix(root);
    let table = format!("{}.{}", quoted(&part.schema), quoted(&part.name));
    let call = format!("EXECUTE FUNCTION {}.{}()", quoted(&parties.schema), function(root));
    let make = |event: &str, when: &str| {
        format!(
            "CREATE OR REPLACE TRIGGER facility_summary_{event}_{suffix} AFTER {when} {call};\n"
        )
    };
    let (old, new) = ("OLD TABLE AS old_rows", "NEW TABLE AS new_rows");
    let of =
        |what: &str, rows: &str| format!("{what} ON {table} REFERENCING {rows} FOR EACH STATEMENT");
    let mut sql = make("insert", &of("INSERT", new))
        + &make("update", &of("UPDATE", &format!("{old} {new}")))
        + &make("delete", &of("DELETE", old))
        + &make("truncate", &format!("TRUNCATE ON {table} FOR EACH STATEMENT"));
    if !part.is_partition {
        // The server copies it to partitions, also to those that are attached later.
        sql += &make("row", &format!("INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW"));
    }
    let row = if part.is_partitioned || part.is_below { "ALWAYS" } else { "REPLICA" };
    sql + &format!(
        "ALTER TABLE ONLY {table} ENABLE TRIGGER facility_summary_insert_{suffix}, ENABLE TRIGGER \
         facility_summary_update_{suffix}, ENABLE TRIGGER facility_summary_delete_{suffix}, ENABLE \
         ALWAYS TRIGGER facility_summary_truncate_{suffix}, ENABLE {row} TRIGGER \
         facility_summary_row_{suffix};\n"
    )
}

/// What the service compares the triggers with. After this it looks at everything once more.
fn record(plan: &Plan, parties: &Parties) -> Step {
    let schema = quoted(&parties.schema);
    let rows: Vec<String> = plan
        .functions(&parties.schema)
        .map(|(table, body)| {
            format!(
                "({}, {}, {}, {})",
                literal(&table.schema),
                literal(&table.name),
                literal(&functions::suffix(table)),
                dollar_quoted(&body),
            )
        })
        .collect();
    Step::new(
        "What the service compares the triggers with. It looks at all figures once more.",
        format!(
            "{}\nDELETE FROM {schema}.mapped_watch;\nINSERT INTO {schema}.mapped_watch \
             (schema_name, tab, suffix, source) VALUES {};\nUPDATE {schema}.fleet SET \
             mapped_plan = {}, mapped_seen = NULL, mapped_calls = {};{}",
            as_role(parties),
            rows.join(", "),
            literal(&plan.id(&parties.schema)),
            plan.calls_functions,
            as_user()
        ),
    )
    .said_as("The record of the triggers.")
}

/// A text between dollar signs, which no name in it can end.
fn dollar_quoted(text: &str) -> String {
    let mut tag = "$notice$".to_owned();
    while text.contains(&tag) {
        tag.insert(1, '_');
    }
    format!("{tag}{text}{tag}")
}

/// The name of the function of a table.
fn function(table: &TableName) -> String {
    format!("notice_{}", functions::suffix(table))
}

fn full_name(table: &TableName) -> String {
    format!("{}.{}", quoted(&table.schema), quoted(&table.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_whose_names_have_dots_have_triggers_of_their_own() {
        let name = |schema: &str, name: &str| {
            functions::suffix(&TableName { schema: schema.into(), name: name.into() })
        };
        assert_ne!(name("x.y", "z"), name("x", "y.z"));
        assert_ne!(name("x.", "z"), name("x", ".z"));
        // Triggers that earlier releases have made keep their names.
        let plain = xxhash_rust::xxh3::xxh3_64(b"public.bag") as u32;
        assert_eq!(name("public", "bag"), format!("{plain:08x}"));
    }

    #[test]
    fn no_name_ends_the_text_of_a_function() {
        assert_eq!(dollar_quoted("a"), "$notice$a$notice$");
        let name = "\"$notice$; GRANT $_notice$\"";
        assert_eq!(dollar_quoted(name), format!("$__notice${name}$__notice$"));
    }
}

//! The functions that a mapping calls.

use std::{collections::BTreeSet, ops::ControlFlow};

use sqlparser::{
    ast::{Expr, Statement, visit_expressions},
    dialect::PostgreSqlDialect,
    parser::Parser,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::parsed::stored;
use crate::{
    config::sources::SourcesSettings,
    store::{
        Result,
        postgres::{session::BEGIN, sources::misfit},
    },
};

/// Functions of the time, which change without a write.
const OF_THE_TIME: [&str; 10] = [
    "now",
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "clock_timestamp",
    "statement_timestamp",
    "transaction_timestamp",
    "timeofday",
];

/// Whether the function with this name, with its schema where it has one, is one of the time.
pub fn is_of_the_time(name: &[String]) -> bool {
    match name {
        [name] => OF_THE_TIME.contains(&name.as_str()),
        [schema, name] => schema == "pg_catalog" && OF_THE_TIME.contains(&name.as_str()),
        _ => false,
    }
}

/// Functions whose results change unseen: of the time, and of other schemas than the server's.
pub(super) fn unseen(statements: &Vec<Statement>) -> BTreeSet<String> {
    let is_unseen = |name: &Vec<String>| {
        let is_of_the_server = name.len() == 1 || name[0] == "pg_catalog";
        !is_of_the_server || is_of_the_time(name)
    };
    names(statements).into_iter().filter(is_unseen).map(|name| name.join(".")).collect()
}

/// The functions that a text of a mapping calls, each with its schema where it has one; none where
/// the text is too unusual to be read.
pub fn called(text: &str, is_from: bool) -> BTreeSet<Vec<String>> {
    let select = match is_from {
        true => format!("SELECT 1 FROM {text}"),
        false => format!("SELECT ({text}\n)"),
    };
    Parser::parse_sql(&PostgreSqlDialect {}, &select)
        .map_or_else(|_| BTreeSet::new(), |statements| names(&statements))
}

fn names(statements: &Vec<Statement>) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    let _ = visit_expressions(statements, |part| {
        if let Expr::Function(function) = part {
            let parts = function.name.0.iter().filter_map(|part| part.as_ident());
            found.insert(parts.map(stored).collect());
        }
        ControlFlow::<()>::Continue(())
    });
    found
}

/// What the views call: functions by their names, and those behind operators and casts, of which
/// the server notes the operator, or the function. It notes none of its own.
const CALLED: &str = "
    SELECT EXISTS (
        SELECT 1 FROM pg_class probe
        JOIN pg_rewrite rule ON rule.ev_class = probe.oid
        JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass::oid AND d.objid = rule.oid
        WHERE probe.relnamespace = pg_my_temp_schema()
          AND starts_with(probe.relname::text, 'facility_summary_probe_'::text)
          AND d.refclassid = ANY (ARRAY['pg_proc'::regclass::oid, 'pg_operator'::regclass::oid]))";

/// Whether the mapping calls functions other than the server's own, also behind an operator or a
/// cast. The server itself finds them: of views that are rolled back.
pub(super) async fn are_of_others(
    connection: &mut PgConnection,
    sources: &SourcesSettings,
) -> Result<bool> {
    let mut tx = connection.begin_with(BEGIN).await?;
    for (list, _) in sources.texts() {
        let named = list.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let probes = misfit::probes(sources, &list).into_iter().enumerate();
        let views = probes.map(|(nth, (_, select))| {
            format!("CREATE TEMPORARY VIEW facility_summary_probe_{named}_{nth} AS {select};\n")
        });
        let make = AssertSqlSafe(views.collect::<String>());
        if let Err(error) = sqlx::raw_sql(make).execute(&mut *tx).await {
            tx.rollback().await?;
            return Err(misfit::error(connection, sources, &list, &error).await);
        }
    }
    let calls = sqlx::query_scalar(CALLED).fetch_one(&mut *tx).await?;
    tx.rollback().await?;
    Ok(calls)
}

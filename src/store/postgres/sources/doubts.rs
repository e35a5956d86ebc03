//! What fits the database, and perhaps does not mean what it should: times of another kind than the
//! mapping says, and expressions with another result at each call.

use sqlx::{AssertSqlSafe, Column, Executor, PgConnection, SqlSafeStr, Statement, TypeInfo};

use super::{
    misfit::{Time, times},
    notice,
};
use crate::config::sources::{SourcesSettings, TimeKind};

/// All doubts, each with its list. `triggers_say_unseen`: whether the functions of the time are
/// named elsewhere.
pub(super) async fn of(
    connection: &mut PgConnection,
    sources: &SourcesSettings,
    triggers_say_unseen: bool,
) -> sqlx::Result<Vec<(String, String)>> {
    let mut doubts = Vec::new();
    for time in times(sources) {
        let select = format!("SELECT ({}\n) FROM {}", time.text, time.from);
        sqlx::raw_sql("SAVEPOINT doubt").execute(&mut *connection).await?;
        let found = match connection.prepare(AssertSqlSafe(select).into_sql_str()).await {
            Ok(prepared) => {
                let column = prepared.columns().first();
                column.map(|column| column.type_info().name().to_uppercase())
            }
            // The list says what does not fit.
            Err(_) => None,
        };
        sqlx::raw_sql("ROLLBACK TO SAVEPOINT doubt").execute(&mut *connection).await?;
        let words = found.and_then(|found| of_time(sources, &time, &found));
        doubts.extend(words.map(|words| (time.list.clone(), words)));
    }
    for (list, texts) in sources.texts() {
        for (key, text) in texts {
            for name in notice::called(text, key == "from") {
                let Some(words) = of_call(connection, &name, triggers_say_unseen).await? else {
                    continue;
                };
                let place = sources.places.named(&format!("{list}.{key}"));
                doubts.push((list.clone(), format!("{place} calls {}: {words}", name.join("."))));
            }
        }
    }
    Ok(doubts)
}

/// What is to be said of a time whose type is this one.
fn of_time(sources: &SourcesSettings, time: &Time, found: &str) -> Option<String> {
    let Time { list, key, kind, .. } = time;
    let place = sources.places.named(&format!("{list}.{key}"));
    match (TimeKind::parse(kind)?, found) {
        (TimeKind::Instant, "TIMESTAMP" | "DATE") => Some(format!(
            "{place} has no time zone, and is taken for a time of UTC: write {key}_as = \"utc\" if \
             that is so, and otherwise \"local\", \"date\", or the name of a zone"
        )),
        (TimeKind::Instant, _) => None,
        (_, "TIMESTAMPTZ") => Some(format!(
            "{place} is a timestamptz, which is an instant, and {key}_as = {kind:?} takes what it \
             shows in UTC: leave {key}_as out"
        )),
        _ => None,
    }
}

/// What is to be said of a call of the function with this name, with its schema where it has one.
async fn of_call(
    connection: &mut PgConnection,
    name: &[String],
    triggers_say_unseen: bool,
) -> sqlx::Result<Option<String>> {
    if notice::is_of_the_time(name) {
        let words = "its result changes without a write; the next rebuild shows it";
        return Ok((!triggers_say_unseen).then(|| words.into()));
    }
    let (schema, function) = match name {
        [schema, function] => (schema.as_str(), function),
        [function] => ("pg_catalog", function),
        _ => return Ok(None),
    };
    let is_volatile: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
         WHERE n.nspname = $1::text::name AND p.proname = $2::text::name AND p.provolatile = \
         'v'::\"char\")",
    )
    .bind(schema)
    .bind(function)
    .fetch_one(connection)
    .await?;
    Ok(is_volatile.then(|| {
        "it is VOLATILE, so it may have another result at each call, and the figures with it; a \
         function that only computes from its arguments is to be declared IMMUTABLE, or STABLE if \
         it reads tables"
            .into()
    }))
}

//! What tells the history of a server from another: the functions `server_timeline` and
//! `server_identifier`, of which each epoch is made. Both ask functions of the server that some
//! managed servers do not have, or refuse. Then another answer takes their place, by which no loss
//! goes unnoticed, and it is said what that costs.
//!
//! The functions lie in the database, so that all servers on it are in one epoch.

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use super::session::BEGIN;
use crate::store::Result;

/// A function of ours that asks the server.
struct Answer {
    /// Its name.
    function: &'static str,
    /// Its type, and what holds of its answer.
    declared: &'static str,
    /// What it asks.
    asks: &'static str,
    /// What it answers where the server refuses that.
    instead: &'static str,
    /// A part of `asks`, by which it is found in the catalogue.
    sign: &'static str,
    /// What is lost then.
    lost: &'static str,
}

const ANSWERS: [Answer; 2] = [
    Answer {
        function: "server_timeline",
        declared: "text LANGUAGE sql",
        asks: "left(pg_walfile_name(pg_current_wal_lsn()), 8)",
        // A promoted standby, a restored copy and a server after a crash have another one.
        instead: "pg_catalog.concat('s', (extract(epoch FROM pg_postmaster_start_time()) * \
                  1000000.0)::bigint)",
        sign: "pg_current_wal_lsn",
        lost: "the server refuses pg_current_wal_lsn() or pg_walfile_name(), which tell a failover \
               from a restart: each restart of it counts as a failover, after which all that is \
               held in memory and in Redis is read anew",
    },
    Answer {
        function: "server_identifier",
        declared: "bigint LANGUAGE sql IMMUTABLE",
        asks: "(SELECT system_identifier FROM pg_control_system())",
        instead: "0::bigint",
        sign: "pg_control_system",
        lost: "the server refuses pg_control_system(), which tells it from a copy of it: give each \
               database a Redis of its own",
    },
];

impl Answer {
    /// Whether the server answers what the function asks. The primary is asked: a standby refuses
    /// the first.
    async fn is_given(&self, connection: &mut PgConnection) -> Result<bool> {
        let ask = format!("SELECT {}::text", self.asks);
        match sqlx::query(AssertSqlSafe(ask)).fetch_one(connection).await {
            Ok(_) => Ok(true),
            Err(sqlx::Error::Database(error)) if is_a_refusal(error.code().as_deref()) => {
                tracing::debug!(%error, "the server does not answer");
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// An expression for whether the other answer is in its place.
    fn is_replaced(&self) -> String {
        format!(
            "pg_catalog.strpos(pg_get_functiondef(to_regprocedure('{}()'::text)::oid), \
             '{}'::text) = 0",
            self.function, self.sign
        )
    }

    fn definition(&self, is_given: bool) -> String {
        let answer = if is_given { self.asks } else { self.instead };
        let Answer { function, declared, .. } = self;
        format!(
            "CREATE OR REPLACE FUNCTION {function}() RETURNS {declared} BEGIN ATOMIC SELECT \
             {answer}; END"
        )
    }
}

/// Whether the error says that the server has no such function, or does not let us call it. Each
/// managed server has a code of its own for that. An error that goes away is none.
fn is_a_refusal(code: Option<&str>) -> bool {
    !matches!(code.and_then(|code| code.get(..2)), Some("08" | "25" | "40" | "53" | "57" | "58"))
}

/// Lets each function ask what this server answers. Only one process at a time may do this. Returns
/// what the server refuses, each with what is lost, and logs it.
///
/// Where nothing was refused before, it takes two round trips: the server may be far away.
pub(super) async fn settle(connection: &mut PgConnection) -> Result<Vec<String>> {
    let columns = ANSWERS.each_ref().map(Answer::is_replaced).join(", ");
    let row = sqlx::raw_sql(AssertSqlSafe(format!("SELECT {columns}"))).fetch_one(&mut *connection);
    let row = row.await?;
    let mut is_replaced = Vec::new();
    for nth in 0..ANSWERS.len() {
        is_replaced.push(row.try_get::<bool, _>(nth)?);
    }
    let ask = "SELECT server_timeline(), server_identifier()";
    if !is_replaced.contains(&true) && sqlx::raw_sql(ask).execute(&mut *connection).await.is_ok() {
        return Ok(Vec::new());
    }
    let mut limits = Vec::new();
    for (answer, is_replaced) in ANSWERS.iter().zip(is_replaced) {
        let is_given = answer.is_given(connection).await?;
        if is_replaced == is_given {
            let mut tx = connection.begin_with(BEGIN).await?;
            sqlx::raw_sql(AssertSqlSafe(answer.definition(is_given))).execute(&mut *tx).await?;
            tx.commit().await?;
        }
        if !is_given {
            tracing::warn!("{}", answer.lost);
            limits.push(answer.lost.to_owned());
        }
    }
    Ok(limits)
}

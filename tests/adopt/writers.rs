//! The owner's programs: single rows as an object mapper writes them, changes of status, moves
//! between facilities, deletes that cascade, COPY of many rows, TRUNCATE.

use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection,
    postgres::{PgPoolCopyExt, PgPoolOptions},
};

/// One thing that a program does.
#[derive(Clone, Debug)]
enum Step {
    /// Statements, each a transaction of its own.
    Statements(Vec<String>),
    /// COPY into this table and columns, of the rows that a query makes.
    Copy {
        into: String,
        rows: String,
    },
    Truncate(String),
}

/// The programs of a fixture.
pub struct Programs {
    steps: Vec<Step>,
    url: String,
}

impl Programs {
    /// Reads `writers.sql`: steps that begin with `-- step`, `-- copy: TABLE (COLUMNS)` or
    /// `-- truncate`.
    pub fn read(text: &str, url: &str) -> Programs {
        let mut steps = Vec::new();
        for part in text.split("\n-- ").skip(1) {
            let (head, body) = part.split_once('\n').expect("a step has statements");
            let body = body.trim();
            steps.push(match head.split_once(": ") {
                Some(("step", _)) => {
                    Step::Statements(body.split(";\n").map(str::to_owned).collect())
                }
                Some(("copy", into)) => Step::Copy { into: into.into(), rows: body.into() },
                _ if head == "truncate" => Step::Truncate(body.into()),
                _ => panic!("{head} is no step"),
            });
        }
        let number = |of: fn(&Step) -> bool| steps.iter().filter(|step| of(step)).count();
        let statements = number(|step| matches!(step, Step::Statements(_)));
        let copies = number(|step| matches!(step, Step::Copy { .. }));
        let truncates = number(|step| matches!(step, Step::Truncate(_)));
        assert!(statements >= 4 && copies >= 2 && truncates >= 1, "some kind of step is missing");
        Programs { steps, url: url.to_owned() }
    }

    /// Does every step once, in an order that `seed` decides; TRUNCATE only if `truncates`.
    pub async fn run(&self, seed: u64, truncates: bool) {
        let mut steps = self.steps.clone();
        steps.retain(|step| truncates || !matches!(step, Step::Truncate(_)));
        steps.shuffle(&mut StdRng::seed_from_u64(seed));
        let mut connection = PgConnection::connect(&self.url).await.expect("the owner is let in");
        for step in &steps {
            self.step(&mut connection, step).await;
        }
        connection.close().await.expect("the connection closes");
    }

    async fn step(&self, connection: &mut PgConnection, step: &Step) {
        match step {
            Step::Statements(statements) => {
                for statement in statements {
                    write(connection, statement).await;
                }
            }
            Step::Truncate(statement) => write(connection, statement).await,
            Step::Copy { into, rows } => copy(&self.url, into, rows).await,
        }
    }

    /// Does everything once, and calls `after` with the words of each statement. What one statement
    /// has left out, no later one makes up for.
    pub async fn run_one_by_one(&self, mut after: impl AsyncFnMut(&str)) {
        let mut connection = PgConnection::connect(&self.url).await.expect("the owner is let in");
        for step in &self.steps {
            let parts = match step {
                Step::Statements(statements) => statements.clone(),
                Step::Truncate(_) | Step::Copy { .. } => vec![],
            };
            for statement in &parts {
                write(&mut connection, statement).await;
                after(statement).await;
            }
            if parts.is_empty() {
                self.step(&mut connection, step).await;
                after(&format!("{step:?}")).await;
            }
        }
        connection.close().await.expect("the connection closes");
    }
}

/// Two programs of the owner may be in each other's way, as in real life: one of them then gives
/// up, without a trace.
fn is_in_the_way(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    // A deadlock, a parent that has just been deleted, a key that is taken.
    matches!(code.as_deref(), Some("40P01" | "23503" | "23505"))
}

async fn write(connection: &mut PgConnection, statement: &str) {
    match sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(connection).await {
        Err(error) if is_in_the_way(&error) => {}
        written => drop(written.unwrap_or_else(|error| panic!("{statement}: {error}"))),
    }
}

async fn copy(url: &str, into: &str, rows: &str) {
    use futures_util::StreamExt;
    let pool = PgPoolOptions::new().max_connections(2).connect(url).await.expect("let in");
    let mut out = pool.copy_out_raw(&format!("COPY ({rows}) TO STDOUT")).await.expect("a query");
    let mut bytes = Vec::new();
    while let Some(part) = out.next().await {
        bytes.extend_from_slice(&part.expect("the rows are sent"));
    }
    drop(out);
    let mut copy = pool.copy_in_raw(&format!("COPY {into} FROM STDIN")).await.expect("it begins");
    copy.send(bytes).await.expect("the rows are taken");
    match copy.finish().await {
        Err(error) if is_in_the_way(&error) => {}
        done => drop(done.unwrap_or_else(|error| panic!("COPY {into}: {error}"))),
    }
    pool.close().await;
}

//! Noticing what the owner's programs write. Triggers on the mapped tables leave marks that name
//! rows of these tables (`functions`); the drain resolves them to facilities (`plan`, `path`), in
//! the snapshot that shows them. Whatever else notices writes leaves marks as well: nothing behind
//! the marks knows where they come from.

mod calls;
mod catalogue;
mod column_type;
mod dependents;
mod functions;
mod grants;
mod in_the_way;
pub mod install;
mod kept;
mod owners;
mod parsed;
mod path;
mod plan;
pub mod remove;
mod rows;
mod script;
mod taken_back;
mod watched_lists;
mod way;
mod way_select;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use sqlx::{PgConnection, Postgres, pool::PoolConnection};

use crate::{
    config::sources::{Notice, SourcesSettings},
    store::{
        Result, StoreError, TriggerOff,
        postgres::sources::{check::TriggersChecked, figures::literal, plain::one_line},
    },
};
pub(super) use calls::{called, is_of_the_time};
pub(in crate::store::postgres) use grants::RECORD;
pub(super) use in_the_way::publications;
pub(super) use owners::may_not_part;
use plan::Plan;

/// How the writes of the owner's programs are noticed.
#[derive(Debug)]
pub(in crate::store::postgres) struct Noticing {
    sources: SourcesSettings,
    /// The schema of our tables.
    schema: String,
    planned: ArcSwap<Planned>,
    /// What the last drain snapshot showed of the mapped tables, and which plan it named.
    seen: Mutex<Option<(String, Option<String>)>>,
}

/// What a plan says.
#[derive(Debug, Default)]
struct Planned {
    /// What triggers have to be made for: its id. `None` where none can watch the mapping.
    id: Option<String>,
    /// The ways of the plan.
    ways: Vec<String>,
    /// The statement that resolves marks; `None` where no mark leads anywhere.
    resolve: Option<Arc<str>>,
}

/// What the triggers on mapped tables are like.
pub(in crate::store::postgres) struct Watched {
    /// Whether writes leave marks.
    pub are_noticed: bool,
    /// What is off, where they should.
    pub off: Vec<TriggerOff>,
}

impl Noticing {
    /// What the settings and the mapping say.
    ///
    /// # Errors
    /// `Mapping`: triggers are asked for, but cannot watch what is mapped.
    pub async fn of(
        connection: &mut PgConnection,
        sources: &SourcesSettings,
        schema: &str,
    ) -> Result<Self> {
        let planned = match sources.notice {
            Some(Notice::Rebuild) => Planned::default(),
            asked => match Plan::of(connection, sources).await {
                Ok(plan) => Planned::of(plan, schema),
                Err(error) if asked == Some(Notice::Triggers) => return Err(error),
                Err(error) => {
                    tracing::info!(%error, "writes of other programs are not noticed");
                    Planned::default()
                }
            },
        };
        Ok(Noticing {
            sources: sources.clone(),
            schema: schema.to_owned(),
            planned: ArcSwap::from_pointee(planned),
            seen: Mutex::default(),
        })
    }

    /// Plans again where a drain snapshot shows other tables, or other triggers, than the one
    /// before: the owner may have given a column another type, or a table another key. Returns
    /// whether the plan is another one.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn follow(
        &self,
        connect: impl AsyncFnOnce() -> sqlx::Result<PoolConnection<Postgres>>,
        now: &str,
        made_for: Option<&str>,
    ) -> Result<bool> {
        let shown = Some((now.to_owned(), made_for.map(str::to_owned)));
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if self.sources.notice == Some(Notice::Rebuild) || *seen() == shown {
            return Ok(false);
        }
        let planned = match Plan::of(&mut *connect().await?, &self.sources).await {
            // What is missing is said by those who read it.
            Ok(plan) if plan.lacks_columns => None,
            Ok(plan) => Some(Planned::of(plan, &self.schema)),
            Err(StoreError::Mapping(_)) => None,
            Err(error) => return Err(error),
        };
        *seen() = shown;
        let Some(planned) = planned else { return Ok(false) };
        let is_other = self.planned.load().id != planned.id;
        self.planned.store(Arc::new(planned));
        Ok(is_other)
    }

    /// The statement that resolves marks; `None` where no mark leads anywhere.
    pub fn resolve(&self) -> Option<Arc<str>> {
        self.planned.load().resolve.clone()
    }

    /// Whether marks with this way lead to facilities.
    pub fn has_way(&self, way: &str) -> bool {
        self.planned.load().ways.iter().any(|known| known == way)
    }

    /// Whether triggers that were made for this plan fit.
    pub fn fits(&self, made_for: Option<&str>) -> bool {
        let planned = self.planned.load();
        planned.id.is_some() && planned.id.as_deref() == made_for
    }

    /// Judges what a drain snapshot shows: which plan triggers were made for, and which are off.
    pub fn judge(&self, made_for: Option<&str>, off: Vec<TriggerOff>) -> Watched {
        let wrong = |why: &str| TriggerOff {
            table: "[sources]".into(),
            trigger: "triggers".into(),
            why: why.into(),
        };
        let off = match (self.sources.notice, made_for) {
            (Some(Notice::Rebuild), _) | (None, None) => {
                return Watched { are_noticed: false, off: vec![] };
            }
            (Some(Notice::Triggers), None) => vec![wrong("not_installed")],
            (_, made_for) if !self.fits(made_for) => {
                vec![wrong("of_another_mapping")]
            }
            _ => off,
        };
        Watched { are_noticed: off.is_empty(), off }
    }
}

impl Planned {
    fn of(plan: Plan, schema: &str) -> Self {
        Planned {
            id: Some(plan.id(schema)),
            resolve: resolve(&plan).map(Into::into),
            ways: plan.ways.into_keys().collect(),
        }
    }
}

/// What is to be done where there are triggers, and they do not fit the tables as they are now.
pub(super) async fn to_install(
    connection: &mut PgConnection,
    sources: &SourcesSettings,
    schema: &str,
) -> Result<Option<String>> {
    let made_for: Option<String> =
        sqlx::query_scalar("SELECT mapped_plan FROM fleet").fetch_one(&mut *connection).await?;
    if made_for.is_none() || sources.notice == Some(Notice::Rebuild) {
        return Ok(None);
    }
    let is_whole =
        Plan::of(connection, sources).await.map(|plan| Some(plan.id(schema)) == made_for);
    Ok((!is_whole.unwrap_or(false)).then(|| {
        "the triggers were made for the tables as they were: run facility-summary adopt install as \
         the owner of the tables; a service that runs goes on by itself then"
            .into()
    }))
}

/// What triggers would notice of this mapping.
pub(super) async fn triggers_of(
    connection: &mut PgConnection,
    sources: &SourcesSettings,
) -> Result<TriggersChecked> {
    let plan = Plan::of(connection, sources).await?;
    let everybody = plan.everybody.iter();
    Ok(TriggersChecked {
        watched: plan.watches.keys().map(ToString::to_string).collect(),
        of_everybody: everybody.map(|(table, why)| (table.to_string(), why.clone())).collect(),
        of_merges: plan.partitioned.iter().map(ToString::to_string).collect(),
        unlogged: plan.unlogged,
        unseen: plan.unseen,
    })
}

/// Steps as a file for `psql`: one transaction, in which each step says what it is for.
fn printed(steps: &[script::Step]) -> String {
    let steps = steps.iter().map(|script::Step { comment, sql, .. }| {
        // A comment ends with its line: psql would run what a name has behind that.
        let comment = format!("-- {}\n", one_line(comment));
        format!("{comment}{}\n\n", sql.trim_end())
    });
    let steps: String = steps.collect();
    format!("\\set ON_ERROR_STOP on\nBEGIN;\n\n{steps}COMMIT;\n")
}

/// The statement that resolves the marks of a drain snapshot.
fn resolve(plan: &Plan) -> Option<String> {
    let branches: Vec<String> = plan
        .ways
        .iter()
        .map(|(name, select)| {
            format!("{select}\nWHERE facility_summary_mark.via = {}::text", literal(name))
        })
        .collect();
    let statement = include_str!("../../../../../sql/postgres/resolve_marks.sql");
    (!branches.is_empty())
        .then(|| super::with_part(statement, "branches", &branches.join("\nUNION ALL\n")))
}

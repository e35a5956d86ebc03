//! `adopt install`: makes our schema, the rights of the role that serves, and the triggers; and
//! `adopt sql`, which prints the same.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::{
    Plan, calls, catalogue, grants, in_the_way, owners,
    script::{self, Parties, Step},
};
use crate::{
    config::{DatabaseSettings, sources::SourcesSettings},
    store::{
        Result, StoreError,
        postgres::{
            connect,
            home::{Home, quoted},
            migrate, requirements,
            session::BEGIN,
            sources::{keys, mapping, misfit},
        },
    },
};

/// What `adopt install` has made.
#[derive(Debug)]
pub struct Installed {
    /// The steps, in words. Empty where all was there already.
    pub made: Vec<String>,
    /// The tables that are watched.
    pub watched: Vec<String>,
    /// Those whose changes count for every facility, with the reason.
    pub of_everybody: Vec<(String, String)>,
    /// Those with partitions: rows that MERGE moves between these are in no transition table.
    pub of_merges: Vec<String>,
    /// Tables that a crash of the server empties.
    pub unlogged: Vec<String>,
    /// What else its user should know.
    pub notes: Vec<String>,
    /// The schema.
    pub schema: String,
    /// The role that serves.
    pub role: String,
}

/// How the step begins that makes the schema.
const SCHEMA: &str = "The schema";

/// A connection, and what is to be made over it.
struct Site {
    connection: PgConnection,
    parties: Parties,
    plan: Plan,
}

impl Site {
    async fn open(
        settings: &DatabaseSettings,
        sources: &SourcesSettings,
        role: Option<&str>,
    ) -> Result<Site> {
        let options = connect::options(settings, &settings.url)?;
        let mut connection = PgConnection::connect_with(&options).await?;
        let home = Home::new(settings);
        home.settle(&mut connection).await?;
        requirements::check_mapped_encoding(&mut connection).await?;
        sqlx::query("SET statement_timeout = 0").execute(&mut connection).await?;
        let schema = home.schema(&mut connection).await?;
        let (user, owner): (String, Option<String>) = sqlx::query_as(
            "SELECT current_user::text, (SELECT r.rolname::text FROM pg_namespace n JOIN pg_roles \
             r ON r.oid = n.nspowner WHERE n.nspname = $1::text::name)",
        )
        .bind(&schema)
        .fetch_one(&mut connection)
        .await?;
        let role = match (role, owner) {
            (Some(role), Some(owner)) if role != owner => {
                return Err(StoreError::Mapping(format!(
                    "the schema {schema} belongs to the role {owner}, and not to {role}: leave \
                     --role out, or ALTER SCHEMA {} OWNER TO {}",
                    quoted(&schema),
                    quoted(role)
                )));
            }
            (Some(role), _) => role.to_owned(),
            (None, owner) => owner.unwrap_or_else(|| user.clone()),
        };
        check_role(&mut connection, &role, &user).await?;
        let plan = match Plan::of(&mut connection, sources).await {
            Ok(plan) => plan,
            // No trigger helps there, whether this role may read the rows or not.
            Err(error) if error.to_string().contains(catalogue::ELSEWHERE) => return Err(error),
            // The server says better than we do what does not fit.
            Err(error) => {
                return Err(misfit::first(&mut connection, sources).await.unwrap_or(error));
            }
        };
        let parties = Parties { schema, role, user };
        in_the_way::refuse_others(&mut connection, &plan, &parties).await?;
        Ok(Site { connection, parties, plan })
    }

    /// Whether the triggers are there, and as they should be.
    async fn is_whole(&mut self) -> Result<bool> {
        let there: bool = sqlx::query_scalar(
            "SELECT to_regclass('mapped_triggers') IS NOT NULL AND to_regclass('facility_key') IS \
             NOT NULL",
        )
        .fetch_one(&mut self.connection)
        .await?;
        if !there {
            return Ok(false);
        }
        if !owners::may_not_part(&mut self.connection).await?.is_empty() {
            return Ok(false);
        }
        Ok(sqlx::query_scalar(
            "SELECT coalesce(mapped_plan = $1::text, false) AND mapped_calls = $2::boolean AND off \
             = '[]'::jsonb AND NOT EXISTS \
             (SELECT 1 FROM mapped_trigger WHERE event <> 'row' AND wrong IS NULL AND NOT EXISTS \
             (SELECT 1 FROM pg_trigger t WHERE t.tgrelid = rel AND t.tgname = \
             mapped_trigger.name::name)) FROM fleet, mapped_triggers",
        )
        .bind(self.plan.id(&self.parties.schema))
        .bind(self.plan.calls_functions)
        .fetch_one(&mut self.connection)
        .await?)
    }

    /// Publications that will publish our tables, where these are yet to be made.
    async fn publications(&mut self) -> Result<Vec<String>> {
        let exist: bool = sqlx::query_scalar("SELECT to_regclass('fleet') IS NOT NULL")
            .fetch_one(&mut self.connection)
            .await?;
        match exist {
            true => Ok(vec![]),
            false => {
                Ok(in_the_way::publications(&mut self.connection, &self.parties.schema).await?)
            }
        }
    }

    /// The schema, if it is missing.
    async fn schema(&mut self) -> Result<Option<Step>> {
        let exists: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1::text::name)",
        )
        .bind(&self.parties.schema)
        .fetch_one(&mut self.connection)
        .await?;
        let Parties { schema, role, .. } = &self.parties;
        Ok((!exists).then(|| {
            Step::new(
                format!("{SCHEMA} {schema}, in which everything of the service lies."),
                format!("CREATE SCHEMA {} AUTHORIZATION {};", quoted(schema), quoted(role)),
            )
        }))
    }

    /// The table of keys, if it is missing; or another type for them, where the owner has changed
    /// that.
    async fn keys(&mut self, sources: &SourcesSettings) -> Result<Option<Step>> {
        let connection = &mut self.connection;
        let exists: bool = sqlx::query_scalar("SELECT to_regclass('facility_key') IS NOT NULL")
            .fetch_one(&mut *connection)
            .await?;
        let (comment, sql) = match exists {
            false => (
                "The key of each facility.".to_owned(),
                format!("{};", keys::statement(connection, sources).await?),
            ),
            true => {
                mapping::refuse_other_facilities(connection, &sources.facilities).await?;
                let Some(change) = keys::change(connection, sources).await? else {
                    return Ok(None);
                };
                (format!("Another type: {}.", change.words), change.sql)
            }
        };
        let (begin, end) = (script::as_role(&self.parties), script::as_user());
        let path = format!("SET LOCAL search_path = {}, pg_temp;", quoted(&self.parties.schema));
        Ok(Some(Step::new(comment, format!("{path}\n{begin}\n{sql}{end}"))))
    }
}

/// Whether the role that serves exists, and this one may make things for it.
async fn check_role(connection: &mut PgConnection, role: &str, user: &str) -> Result<()> {
    let member: Option<bool> = sqlx::query_scalar(
        "SELECT pg_catalog.pg_has_role(oid, 'MEMBER'::text) FROM pg_roles WHERE rolname = \
         $1::text::name",
    )
    .bind(role)
    .fetch_optional(connection)
    .await?;
    let (role, user) = (quoted(role), quoted(user));
    match member {
        Some(true) => Ok(()),
        Some(false) => Err(StoreError::Mapping(format!(
            "{user} may not make what the role {role} shall own: GRANT {role} TO {user}, or do \
             this as a superuser; nothing was changed"
        ))),
        None => Err(StoreError::Mapping(format!(
            "there is no role {role}: CREATE ROLE {role} LOGIN PASSWORD '…'; nothing was changed"
        ))),
    }
}

/// Makes all that is missing. Nothing is done where all is there. `published`: whether its user
/// knows that publications would publish our tables.
///
/// # Errors
/// `Mapping`: triggers cannot watch what is mapped, a right is missing, or a table was locked for
/// too long. The words say what to do.
pub async fn install(
    settings: &DatabaseSettings,
    sources: &SourcesSettings,
    role: Option<&str>,
    published: bool,
) -> Result<Installed> {
    let mut site = Site::open(settings, sources, role).await?;
    let publications = site.publications().await?;
    if !published && !publications.is_empty() {
        return Err(StoreError::Mapping(format!(
            "{}; then install with --published; nothing was made",
            publications.join("; ")
        )));
    }
    let mut made = Vec::new();
    if let Some(step) = site.schema().await? {
        site.run(&[step], &mut made).await?;
    }
    let grants = grants::missing(&mut site.connection, sources, &site.parties).await?;
    site.run(&grants, &mut made).await?;
    site.migrate().await?;
    let mut keys: Vec<Step> = site.keys(sources).await?.into_iter().collect();
    keys.extend(grants::empty_record(&mut site.connection, &site.parties).await?);
    site.run(&keys, &mut made).await?;
    site.plan.calls_functions = calls::are_of_others(&mut site.connection, sources).await?;
    if !site.is_whole().await? {
        let steps = script::triggers(&mut site.connection, &site.plan, &site.parties).await?;
        site.run(&steps, &mut made).await?;
    }
    let notes = owners::may_not_dump(&mut site.connection, &site.plan, &site.parties).await?;
    let everybody = site.plan.everybody.iter();
    Ok(Installed {
        made,
        watched: site.plan.watches.keys().map(ToString::to_string).collect(),
        of_everybody: everybody.map(|(table, why)| (table.to_string(), why.clone())).collect(),
        of_merges: site.plan.partitioned.iter().map(ToString::to_string).collect(),
        unlogged: site.plan.unlogged,
        notes,
        schema: site.parties.schema,
        role: site.parties.role,
    })
}

/// What `install` would run, for `psql`.
///
/// # Errors
/// As those of [`install`].
pub async fn print(
    settings: &DatabaseSettings,
    sources: &SourcesSettings,
    role: Option<&str>,
) -> Result<String> {
    let mut site = Site::open(settings, sources, role).await?;
    let publications = site.publications().await?;
    let mut steps: Vec<Step> =
        publications.into_iter().map(|words| Step::new(format!("Note: {words}."), "")).collect();
    steps.push(script::refuse_unless_member(&site.parties));
    steps.extend(site.schema().await?);
    let grants = grants::missing(&mut site.connection, sources, &site.parties).await?;
    match grants.is_empty() {
        true => steps.extend(grants::empty_record(&mut site.connection, &site.parties).await?),
        false => steps.extend(grants),
    }
    let missing = migrate::missing(&mut site.connection, &site.parties.schema).await?;
    if !missing.is_empty() {
        let path = quoted(&site.parties.schema);
        let begin = script::as_role(&site.parties);
        steps.push(Step::new(
            "The tables of the service, as its own migrations make them.",
            format!("SET LOCAL search_path = {path}, pg_temp;\n{begin}"),
        ));
        steps.extend(missing.into_iter().map(|(name, sql)| Step::new(name, sql)));
        let end = script::as_user();
        steps.push(Step::new("The end of the tables.", end.trim_start()));
    }
    steps.extend(site.keys(sources).await?);
    site.plan.calls_functions = calls::are_of_others(&mut site.connection, sources).await?;
    steps.extend(script::triggers(&mut site.connection, &site.plan, &site.parties).await?);
    let notes = owners::may_not_dump(&mut site.connection, &site.plan, &site.parties).await?;
    steps.extend(notes.into_iter().map(|words| Step::new(format!("Note: {words}."), "")));
    Ok(super::printed(&steps))
}

impl Site {
    async fn migrate(&mut self) -> Result<()> {
        let role = quoted(&self.parties.role);
        let begin = format!("SET ROLE {role}");
        sqlx::query(AssertSqlSafe(begin)).execute(&mut self.connection).await?;
        let migrated = migrate::migrate(&mut self.connection, &self.parties.schema).await;
        sqlx::query("RESET ROLE").execute(&mut self.connection).await?;
        migrated.map(drop)
    }

    /// Runs steps in one transaction.
    async fn run(&mut self, steps: &[Step], made: &mut Vec<String>) -> Result<()> {
        if steps.is_empty() {
            return Ok(());
        }
        let mut tx = self.connection.begin_with(BEGIN).await?;
        for Step { comment, sql, .. } in steps {
            sqlx::raw_sql(AssertSqlSafe(sql.clone()))
                .execute(&mut *tx)
                .await
                .map_err(|error| failed(comment, error))?;
        }
        tx.commit().await?;
        made.extend(steps.iter().filter_map(|step| step.made.clone()));
        Ok(())
    }
}

/// Why a step failed, and what to do.
fn failed(comment: &str, error: sqlx::Error) -> StoreError {
    let sqlx::Error::Database(error) = &error else { return error.into() };
    let what_to_do = match error.code().as_deref() {
        Some("55P03") => {
            "another transaction has held a lock on one of the tables for more than 2 seconds \
             (pg_stat_activity shows which); nothing was made: run this again when it has ended"
        }
        Some("42501") if comment.starts_with(SCHEMA) => {
            "the right to make a schema is missing: GRANT CREATE ON DATABASE … to this role, or \
             let the owner of the database run CREATE SCHEMA … AUTHORIZATION the role that serves; \
             nothing was made"
        }
        Some("42501") => {
            "triggers are made by the owner of the tables, or by a superuser: name such a role in \
             DATABASE_URL; nothing was made"
        }
        _ => "nothing was made",
    };
    StoreError::Mapping(format!("{comment} {}; {what_to_do}", error.message()))
}

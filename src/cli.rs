//! The command line. Exit codes: 0 when done, 1 when a check found something or a command failed, 2
//! when the command line or a setting is wrong.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Settings, check_schema},
    http::openapi,
    jobs::rebuild::Extent,
    service::imports::Undo,
    startup::{Application, Core, StartError, signals::Signals},
    store::postgres::{
        home::DEFAULT,
        move_schema::{Moved, move_schema},
    },
    telemetry::{self, Output},
    tools::{
        self,
        adopt::{self, AdoptCommand},
        audit::audit,
        counted, demo_events, estimate, generate,
        import::{self, ServiceTarget},
        key::{self, KeyCommand},
        token::{self, TokenCommand},
        user::{self, UserCommand},
        watch::{self, WatchArgs},
    },
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One fresh summary per blood-bank facility and local day, served from memory.
#[derive(Parser)]
#[command(
    name = "facility-summary",
    version,
    after_help = "Settings come from --config FILE, overridden by DATABASE_URL, BIND_ADDR and \
                  FACILITY_SUMMARY__SECTION__KEY; config.example.toml lists them all."
)]
struct Cli {
    /// Settings, in TOML
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The tables of an operational database that the figures come from, in TOML: [sources], where
    /// the settings do not have it
    #[arg(long, global = true, value_name = "FILE")]
    sources: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve HTTP, and keep the summaries fresh
    #[command(after_help = "Example:\n  facility-summary serve --demo\n  \
                            DATABASE_URL=postgres://user:password@localhost/blood \
                            facility-summary serve")]
    Serve {
        /// Register 25 facilities in an empty database, and send a stream of simulated events
        /// through the ingest
        #[arg(long)]
        demo: bool,
    },
    /// Apply the migrations, and end
    #[command(after_help = "Example:\n  DATABASE_URL=postgres://user:password@localhost/blood \
                            facility-summary migrate")]
    Migrate {
        /// Postgres: first move everything that the service has made to this schema; no service may
        /// run meanwhile
        #[arg(long, value_name = "NAME")]
        to_schema: Option<String>,
    },
    /// Look at the recent days of every facility, and refresh what differs from its sources
    #[command(after_help = "Example:\n  facility-summary rebuild --all\n  facility-summary \
                            rebuild --days 7")]
    Rebuild {
        /// Every day that has a row or data
        #[arg(long, conflicts_with = "days")]
        all: bool,
        /// Local days of each facility, today included [default: setting rebuild.days]
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=400))]
        days: Option<u32>,
    },
    /// Recompute every day of every facility, and list each row that differs; exit code 1 if any
    /// difference has no explanation
    ///
    /// A difference is explained where a mark of its facility, or an expiry, waits to be processed:
    /// a running service does that within a second. The audit lists it as explained, and does not
    /// count it as a finding. With [sources], every difference may have been written since the last
    /// refresh, and is listed so; and the figures are compared with those of [[sources.check]].
    #[command(after_help = "Example:\n  facility-summary audit && echo all right")]
    Audit,
    /// Write realistic data into the source tables
    Generate(generate::GenerateArgs),
    /// Say what a number of facilities would take, measured on a sample on this machine
    Estimate(estimate::EstimateArgs),
    /// Load a CSV file, or take back what one brought
    Import(import::ImportCommand),
    /// Stand beside an existing database: look at a mapping of its tables
    #[command(after_help = "Example:\n  facility-summary adopt check --sources sources.toml")]
    Adopt {
        #[command(subcommand)]
        action: AdoptCommand,
    },
    /// Make, list and revoke API keys, by which services and dashboards sign in
    #[command(
        after_help = "Example:\n  facility-summary key add --role admin --name \"first key\""
    )]
    Key {
        #[command(subcommand)]
        action: KeyCommand,
    },
    /// Make, list, disable, enable and reset accounts, by which people sign in with a password
    #[command(after_help = "Example:\n  facility-summary user add anna --role admin")]
    User {
        #[command(subcommand)]
        action: UserCommand,
    },
    /// List what was imported: source, file, hash, rows, when, and by which command
    #[command(after_help = "Example:\n  facility-summary imports")]
    Imports,
    /// Make a token, say why one is accepted or not, or end tokens before they end themselves
    #[command(after_help = "Example:\n  facility-summary token explain - < token.txt")]
    Token {
        #[command(subcommand)]
        action: TokenCommand,
    },
    /// Follow figures of a running service: a table that updates in place, with ages that grow
    ///
    /// It needs no settings and no database. A connection that is lost comes back by itself. Where
    /// the output is no terminal, each change is a line. Exit code 0: it was ended, by Ctrl-C or by
    /// the end of its output; 1: the service refuses it; 2: the command line is wrong.
    #[command(after_help = "Examples:\n  facility-summary watch \
                            7f1c5a52-3c1f-4d0e-9a53-0c3f3f0e8a11\n  \
                            FACILITY_SUMMARY_KEY=fs_… facility-summary watch --all --url \
                            https://summary.example\n  facility-summary watch --all --json | jq \
                            -c 'select(.type == \"stalled\")'")]
    Watch(WatchArgs),
    /// Print the OpenAPI document
    #[command(after_help = "Example:\n  facility-summary openapi > openapi.json")]
    Openapi,
}

impl Command {
    /// The name of a command that writes facilities, stock, deliveries or requests.
    fn writes_sources(&self) -> Option<&'static str> {
        match self {
            Command::Serve { demo: true } => Some("serve --demo"),
            Command::Generate(_) => Some("generate"),
            Command::Import(_) => Some("import"),
            _ => None,
        }
    }

    /// Why it cannot be carried out with these settings.
    fn wrong_with(&self, settings: &Settings) -> Option<String> {
        if matches!(self, Command::Migrate { to_schema: Some(_) })
            && !settings.database.is_postgres()
        {
            return Some("--to-schema: an SQLite file has no schemas".into());
        }
        settings.sources.as_ref()?;
        let command = self.writes_sources()?;
        Some(format!(
            "{command} writes into the service's own tables, but [sources] says that the figures \
             come from those of another program: write there, or leave [sources] out and name \
             another schema in database.schema"
        ))
    }
}

/// Reads the command line and carries it out.
pub async fn run() -> ExitCode {
    let cli = Cli::parse();
    // A command ends when nobody reads on, as in `adopt sql | head`. A server never does.
    if !matches!(cli.command, Command::Serve { .. }) {
        sigpipe::reset();
    }
    // A client of a service somewhere else: the settings here are not its business.
    if let Command::Watch(args) = cli.command {
        return watch::run(args).await;
    }
    let settings = match Settings::load(cli.config.as_deref(), cli.sources.as_deref()) {
        Ok(settings) => settings,
        Err(error) => return wrong_use(&error),
    };
    if let Some(reason) = cli.command.wrong_with(&settings) {
        return wrong_use(&reason);
    }
    let output =
        if matches!(cli.command, Command::Serve { .. }) { Output::Stdout } else { Output::Stderr };
    if let Err(error) = telemetry::init(&settings.log, output) {
        return wrong_use(&error);
    }
    let result = match cli.command {
        Command::Serve { demo } => serve(settings, demo).await,
        Command::Migrate { to_schema } => migrate(settings, to_schema).await,
        Command::Rebuild { all, days } => rebuild(settings, all, days).await,
        Command::Audit => audit(settings).await,
        Command::Generate(args) => {
            generate::run(args, &settings).await.map(|()| ExitCode::SUCCESS).map_err(Into::into)
        }
        Command::Estimate(args) => {
            estimate::run(args, &settings).await.map(|()| ExitCode::SUCCESS).map_err(Into::into)
        }
        Command::Import(import::ImportCommand { file: Some(args), .. }) => {
            load(settings, args).await
        }
        Command::Import(import::ImportCommand { action, .. }) => match action {
            Some(import::ImportAction::Undo { id }) => undo(settings, id).await,
            None => {
                return wrong_use(
                    &"import: say what to import, or which import to undo; see facility-summary \
                      import --help",
                );
            }
        },
        Command::Adopt { action } => adopt::run(action, &settings).await,
        Command::Key { action } => key::run(action, settings).await,
        Command::User { action } => user::run(action, settings).await,
        Command::Imports => imports(settings).await,
        Command::Token { action } => token::run(action, settings).await,
        Command::Watch(args) => Ok(watch::run(args).await),
        Command::Openapi => {
            println!("{}", openapi::json());
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        eprintln!("facility-summary: {error}");
        let is_setting = matches!(
            error.downcast_ref::<StartError>(),
            Some(StartError::Cron { .. } | StartError::Settings(_))
        );
        ExitCode::from(if is_setting { 2 } else { 1 })
    })
}

fn wrong_use(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("facility-summary: {error}");
    ExitCode::from(2)
}

async fn serve(settings: Settings, demo: bool) -> Result<ExitCode, Failure> {
    let application = Application::build(settings).await?;
    let stop_demo = CancellationToken::new();
    let simulated =
        demo.then(|| tokio::spawn(demo_events::run(application.app().clone(), stop_demo.clone())));
    let mut signals = Signals::listen()?;
    let stop = async move {
        let how = signals.next().await;
        tokio::spawn(async move {
            signals.next().await;
            tracing::warn!(
                "told to stop a second time: requests in flight are cut off; whatever was \
                 acknowledged is stored"
            );
            std::process::exit(1);
        });
        stop_demo.cancel();
        if let Some(simulated) = simulated {
            // The demo holds the app, and with it the ingest's queue, until it ends.
            let _ = simulated.await;
        }
        how
    };
    application.run_until(stop).await?;
    Ok(ExitCode::SUCCESS)
}

async fn migrate(mut settings: Settings, to_schema: Option<String>) -> Result<ExitCode, Failure> {
    if let Some(schema) = to_schema {
        move_to_schema(&settings, &schema).await?;
        settings.database.schema = Some(schema);
    }
    let core = Core::open(settings).await?;
    if core.store.restore_triggers().await? {
        println!(
            "The triggers on the source tables were put back: some were missing or off. A service \
             looks at everything once more."
        );
    }
    let facilities = counted(core.directory.by_name().len() as u64, "facility", "facilities");
    println!("The {} database is up to date; it has {facilities}.", core.store.dialect());
    core.store.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn move_to_schema(settings: &Settings, schema: &str) -> Result<(), Failure> {
    check_schema("--to-schema", schema)?;
    let Moved { from, objects } = move_schema(&settings.database, schema).await?;
    if objects == 0 {
        println!("Everything is in the schema {schema} already.");
        return Ok(());
    }
    println!(
        "{} moved from the schema {from} to {schema}. Other programs that write the source tables \
         need USAGE on that schema, and its name in their statements or search_path.",
        counted(objects as u64, "object", "objects")
    );
    if settings.database.schema.is_some() {
        println!("database.schema names {from}: set it to {schema} before the next start.");
    } else if schema != DEFAULT {
        println!("Set database.schema to {schema} before the next start.");
    }
    Ok(())
}

async fn rebuild(settings: Settings, all: bool, days: Option<u32>) -> Result<ExitCode, Failure> {
    let core = Core::open(settings).await?;
    let extent =
        if all { Extent::All } else { Extent::Recent(days.unwrap_or(core.settings.rebuild.days)) };
    // This command leaves the marks in place. A service that runs at the same time needs them: some
    // of them name new facilities, which this command does not announce to it.
    let run = core.rebuild.run_command(extent, Some(&tools::actor()), |_| ()).await?;
    let rows = counted(run.changed.unsigned_abs(), "row", "rows");
    println!(
        "{} looked at, {rows} changed, of which {} by a change that left no mark.",
        counted(run.done.unsigned_abs(), "facility", "facilities"),
        run.drift
    );
    core.store.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn load(settings: Settings, args: import::ImportArgs) -> Result<ExitCode, Failure> {
    let core = Core::open(settings).await?;
    let target = ServiceTarget::new(&core);
    let command = import::command_line(std::env::args());
    let result = import::run(args, &command, &target).await;
    target.close().await;
    core.store.close().await;
    match result {
        Ok(report) => {
            println!("{report}");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            eprintln!("facility-summary: {error}");
            Ok(ExitCode::from(error.exit_code()))
        }
    }
}

async fn imports(settings: Settings) -> Result<ExitCode, Failure> {
    let core = Core::open(settings).await?;
    println!("{}", import::list(&*core.store).await?);
    core.store.close().await;
    Ok(ExitCode::SUCCESS)
}

async fn undo(settings: Settings, id: i32) -> Result<ExitCode, Failure> {
    let core = Core::open(settings).await?;
    let back = Undo {
        store: core.store.clone(),
        refresher: core.refresher.clone(),
        lock_timeout: Duration::from_millis(core.settings.ingest.lock_timeout_ms),
    };
    let result = import::undo(id, &back, &core.directory).await;
    core.store.close().await;
    println!("{}", result?);
    Ok(ExitCode::SUCCESS)
}

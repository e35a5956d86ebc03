//! An owner's database, and the service beside it.

use std::{process::Command, time::Instant};

use serde_json::Value;

use crate::{
    figures::Asked,
    fixture::Fixture,
    support::{
        Service, outside::Outside, postgres::fresh_database, service::Launch, site::metric,
        wait_until,
    },
};

/// An owner's database with a role for the service.
pub struct Beside {
    /// A service with that role and the mapping.
    pub launch: Launch,
    /// The role.
    pub role: String,
    /// The owner's connection.
    pub owner: Outside,
    /// The URL of the owner, for more connections.
    pub owner_url: String,
}

/// How the service notices writes. Each way has its steps before the service starts and after it
/// has gone, and what a reader has to ask for to get exact figures.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Not at all: it reads the tables.
    Rebuild,
    /// By triggers. Nothing but their marks refreshes a figure.
    Triggers,
}

/// The settings with which nothing but marks refreshes a figure.
const ONLY_MARKS: [(&str, &str); 3] = [
    ("FACILITY_SUMMARY__REBUILD__CRON", "off"),
    ("FACILITY_SUMMARY__AUDIT__INTERVAL_MS", "0"),
    ("FACILITY_SUMMARY__FRESHNESS__MAX_AGE_SECONDS", "86400"),
];

impl Beside {
    /// The owner's tables with rows, and a role that may read nothing.
    pub async fn make(fixture: &Fixture) -> Beside {
        let owner_url = fresh_database().await;
        let database = owner_url.rsplit('/').next().expect("a URL has a path").to_owned();
        let role = format!("reader_of_{database}");
        let mut owner = Outside::connect(&owner_url).await;
        owner.run(&fixture.schema).await;
        owner.run(&fixture.data).await;
        owner.run(format!("ANALYZE; CREATE ROLE {role} LOGIN PASSWORD 'postgres'")).await;
        let url = owner_url.replacen("postgres:postgres@", &format!("{role}:postgres@"), 1);
        let launch = Service::on(url);
        let file = file_of(&launch);
        let launch = launch.argument("--sources").argument(&file);
        Beside { launch, role, owner, owner_url }
    }

    /// Lets the role read what the fixture's mapping names, and writes the mapping.
    pub async fn map(&mut self, fixture: &Fixture) {
        self.owner.run(fixture.grants.replace("{role}", &self.role)).await;
        self.write_mapping(&fixture.mapping);
    }

    pub fn write_mapping(&self, mapping: &str) {
        std::fs::write(file_of(&self.launch), mapping).expect("the folder can be written");
    }

    /// Runs `adopt` with the mapping, as the owner. It succeeds.
    pub async fn adopt(&self, action: &[&str]) -> String {
        let file = file_of(&self.launch);
        let owner = Service::on(&self.owner_url);
        let exited = owner.run(&[&["adopt"], action, &["--sources", &file]].concat()).await;
        assert_eq!(exited.code, Some(0), "{}", exited.output);
        exited.output
    }

    /// The service's own audit finds no figure that is not as the tables say.
    pub async fn audited(&self) {
        let exited = self.launch.run(&["audit", "--sources", &file_of(&self.launch)]).await;
        assert_eq!(exited.code, Some(0), "{}", exited.output);
    }

    /// The definitions of everything in the database but what the service has made.
    pub fn definitions(&self) -> String {
        dump(&self.owner_url, &["--exclude-schema=facility_summary"])
    }

    /// The definitions of everything in the database.
    pub fn all_definitions(&self) -> String {
        dump(&self.owner_url, &[])
    }
}

impl Notice {
    /// The mapping of the fixture, with the rights that no step of [`Notice::install`] gives.
    pub async fn map(self, beside: &mut Beside, fixture: &Fixture) {
        match self {
            Notice::Rebuild => beside.map(fixture).await,
            Notice::Triggers => beside.write_mapping(&fixture.mapping),
        }
    }

    /// What has to be done before the service starts for the first time, and after each change of
    /// the mapping.
    pub async fn install(self, beside: &mut Beside) {
        match self {
            Notice::Rebuild => {
                let make = "CREATE SCHEMA IF NOT EXISTS facility_summary AUTHORIZATION";
                beside.owner.run(format!("{make} {}", beside.role)).await;
            }
            Notice::Triggers => {
                beside.adopt(&["install", "--role", &beside.role]).await;
            }
        }
    }

    /// Takes the service away again.
    pub async fn remove(self, beside: &mut Beside) {
        match self {
            Notice::Rebuild => beside.owner.run("DROP SCHEMA facility_summary CASCADE").await,
            Notice::Triggers => {
                let said = beside.adopt(&["remove"]).await;
                assert!(said.contains(&format!("left: the role {}", beside.role)), "{said}");
            }
        }
    }

    /// Starts the service. With triggers, writes are noticed and everything is proven when this
    /// returns.
    pub async fn start(self, launch: Launch) -> Service {
        match self {
            Notice::Rebuild => launch.start().await,
            Notice::Triggers => {
                let settings = ONLY_MARKS.iter();
                let launch = settings.fold(launch, |launch, (name, value)| launch.env(name, value));
                let service = launch.start().await;
                wait_until("writes are noticed, and everything is proven", async || {
                    let ready: Value = service.get("/health/ready").await.json().await.unwrap();
                    metric(&service, "source_writes_noticed").await == 1.0
                        && ready["status"] == "ready"
                        && !ready["watermark_age_seconds"].is_null()
                })
                .await;
                service
            }
        }
    }

    /// What a reader beside the writers asks for. With triggers the answer comes from what marks
    /// have refreshed, where those are soon enough.
    pub fn beside_writers(self) -> &'static str {
        match self {
            Notice::Rebuild => "no-cache",
            Notice::Triggers => "max-age=1",
        }
    }

    /// Figures that are exact when nobody has written since `quiet`.
    pub fn exact(self, quiet: Instant) -> Asked {
        match self {
            Notice::Rebuild => Asked { freshness: "no-cache", after: None },
            Notice::Triggers => Asked { freshness: "max-age=86400", after: Some(quiet) },
        }
    }
}

fn file_of(launch: &Launch) -> String {
    launch.folder().join("sources.toml").to_str().expect("a path").to_owned()
}

fn dump(url: &str, arguments: &[&str]) -> String {
    let dump = Command::new("pg_dump")
        .args(["--schema-only", "--restrict-key=same"])
        .args(arguments)
        .arg(url)
        .output()
        .expect("pg_dump runs");
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    String::from_utf8(dump.stdout).expect("definitions are UTF-8")
}

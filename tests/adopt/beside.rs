//! An owner's database, and the service beside it.

use std::process::Command;

use crate::{
    fixture::Fixture,
    support::{Service, outside::Outside, postgres::fresh_database, service::Launch},
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
#[derive(Clone, Copy)]
pub enum Notice {
    /// Not at all: it reads the tables.
    Rebuild,
}

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
    /// What has to be done before the service starts for the first time.
    pub async fn install(self, beside: &mut Beside) {
        match self {
            Notice::Rebuild => {
                let role = &beside.role;
                beside
                    .owner
                    .run(format!("CREATE SCHEMA facility_summary AUTHORIZATION {role}"))
                    .await;
            }
        }
    }

    /// Takes the service away again.
    pub async fn remove(self, beside: &mut Beside) {
        match self {
            Notice::Rebuild => beside.owner.run("DROP SCHEMA facility_summary CASCADE").await,
        }
    }

    /// What a reader asks for to get figures that are exact now.
    pub fn exact(self) -> &'static str {
        match self {
            Notice::Rebuild => "no-cache",
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

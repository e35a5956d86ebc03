//! `user add`, `list`, `disable`, `enable` and `reset`: accounts, from the command line.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, IsTerminal, Write},
    process::ExitCode,
    str::FromStr,
};

use clap::{Args, Subcommand};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use uuid::Uuid;

use super::{Failure, actor, counted, open, open_existing};
use crate::{
    access::{
        accounts::{self, AccountWish, Change, NAME_RULE},
        passwords,
    },
    config::Settings,
    domain::{access::Role, summary::rfc3339},
    startup::Core,
    store::people::UserRow,
};

/// What to do with accounts.
#[derive(Subcommand)]
pub enum UserCommand {
    /// Make an account. Its password is asked for, or read from standard input, or made
    #[command(after_help = "Example:\n  facility-summary user add anna --role admin\n  \
                            facility-summary user add ward3 --role viewer --facility \
                            0b6c8f0e-54f1-4b1c-9f5e-0d6f3c1a2b4d --generate")]
    Add(AddArgs),
    /// List the accounts: name, role, facilities, who made it and when, last sign-in, state
    #[command(after_help = "Example:\n  facility-summary user list")]
    List,
    /// Disable an account: within two seconds its sessions end on every server
    #[command(after_help = "Example:\n  facility-summary user disable anna")]
    Disable {
        /// Its name
        name: String,
    },
    /// Enable an account that was disabled
    #[command(after_help = "Example:\n  facility-summary user enable anna")]
    Enable {
        /// Its name
        name: String,
    },
    /// Give an account another password: within two seconds its sessions end on every server
    #[command(after_help = "Example:\n  facility-summary user reset anna --generate")]
    Reset {
        /// Its name
        name: String,
        /// Make a password, and print it
        #[arg(long)]
        generate: bool,
    },
}

/// What a new account is to be.
#[derive(Args)]
pub struct AddArgs {
    /// Its name: letters (a to z), digits, and . _ - + @
    name: String,
    /// viewer (reads figures), operator (also posts events and refreshes), admin (everything)
    #[arg(long, value_parser = Role::from_str)]
    role: Role,
    /// A facility that a viewer or operator sees; repeated for several
    #[arg(long = "facility", value_name = "ID", conflicts_with = "all_facilities")]
    facilities: Vec<Uuid>,
    /// A viewer or operator sees every facility
    #[arg(long)]
    all_facilities: bool,
    /// Make a password, and print it
    #[arg(long)]
    generate: bool,
}

/// Carries out a command. Returns its exit code.
///
/// # Errors
/// The database cannot be opened, or does not answer.
pub async fn run(command: UserCommand, settings: Settings) -> Result<ExitCode, Failure> {
    let has_sign_in = settings.auth.is_on();
    let core = match command {
        UserCommand::Add(_) => open(settings).await?,
        _ => match open_existing(settings, "accounts").await? {
            Some(core) => core,
            None => return Ok(ExitCode::from(1)),
        },
    };
    let done = match command {
        UserCommand::Add(args) => add(args, &core, has_sign_in).await,
        UserCommand::List => list(&core).await,
        UserCommand::Disable { name } => {
            let done = "is disabled, and its sessions have ended";
            change(&core, &name, Change::Disable, done).await
        }
        UserCommand::Enable { name } => {
            change(&core, &name, Change::Enable, "can be used again").await
        }
        UserCommand::Reset { name, generate } => reset(&core, &name, generate).await,
    };
    core.store.close().await;
    done
}

async fn add(args: AddArgs, core: &Core, has_sign_in: bool) -> Result<ExitCode, Failure> {
    let Some(name) = accounts::name_of(&args.name) else {
        return Ok(wrong(&format!("NAME {:?} {NAME_RULE}", args.name)));
    };
    let facilities: BTreeSet<Uuid> = args.facilities.into_iter().collect();
    let unknown: Vec<String> = facilities
        .iter()
        .filter(|id| core.directory.get(**id).is_none())
        .map(Uuid::to_string)
        .collect();
    let facilities = (!facilities.is_empty()).then_some(facilities);
    let wish = AccountWish { name: name.clone(), role: args.role, facilities };
    if let Some((field, detail)) = wish.fault() {
        let option = if field == "facilities" { "--facility" } else { "--role" };
        return Ok(wrong(&format!("{option} {detail}")));
    }
    if args.role.is_of_facilities() && wish.facilities.is_none() && !args.all_facilities {
        return Ok(wrong(&format!(
            "the account of a {} says which facilities it sees: --facility ID, once for each, or \
             --all-facilities",
            args.role
        )));
    }
    if core.store.user(&name).await?.is_some() {
        return Ok(taken(&name));
    }
    let password = match password_of(&name, args.generate)? {
        Ok(password) => password,
        Err(detail) => return Ok(wrong(&format!("the password {detail}"))),
    };
    let hash = passwords::hash(&password);
    if !accounts::add(&*core.store, wish, hash, actor()).await? {
        return Ok(taken(&name));
    }
    if !unknown.is_empty() {
        eprintln!(
            "facility-summary: not registered yet, so there is nothing to see of them so far: {}",
            unknown.join(", ")
        );
    }
    if !has_sign_in {
        eprintln!(
            "facility-summary: sign-in is off by these settings, so nobody needs the account: set \
             auth.sign_in = \"on\""
        );
    }
    told(&name, args.generate.then_some(password));
    Ok(ExitCode::SUCCESS)
}

fn taken(name: &str) -> ExitCode {
    eprintln!(
        "facility-summary: there is an account {name} already; see facility-summary user list"
    );
    ExitCode::from(1)
}

async fn reset(core: &Core, name: &str, generate: bool) -> Result<ExitCode, Failure> {
    let found = match accounts::name_of(name) {
        Some(name) => core.store.user(&name).await?,
        None => None,
    };
    let Some(user) = found else { return Ok(none(name)) };
    let password = match password_of(&user.name, generate)? {
        Ok(password) => password,
        Err(detail) => return Ok(wrong(&format!("the password {detail}"))),
    };
    let change = Change::Reset(passwords::hash(&password));
    if !accounts::change(&*core.store, &user.name, change, actor()).await? {
        return Ok(none(name));
    }
    if user.disabled_ms.is_some() {
        eprintln!("facility-summary: the account is disabled; `user enable` enables it");
    }
    told(&user.name, generate.then_some(password));
    Ok(ExitCode::SUCCESS)
}

/// Says that an account has a password, and shows one that was made.
fn told(name: &str, made: Option<String>) {
    match made {
        None => eprintln!("The account {name} can sign in with this password."),
        Some(password) => {
            eprintln!(
                "The account {name} can sign in with this password, which is not shown again:"
            );
            println!("{password}");
        }
    }
}

async fn change(core: &Core, name: &str, change: Change, done: &str) -> Result<ExitCode, Failure> {
    let Some(known) = accounts::name_of(name) else { return Ok(none(name)) };
    if accounts::change(&*core.store, &known, change, actor()).await? {
        println!("The account {known} {done}.");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(none(name))
}

fn none(name: &str) -> ExitCode {
    eprintln!(
        "facility-summary: there is no account {name:?} that this can be done to; see \
         facility-summary user list"
    );
    ExitCode::from(1)
}

async fn list(core: &Core) -> Result<ExitCode, Failure> {
    let rows = core.store.users().await?;
    rows.iter().for_each(|row| println!("{}", line(row)));
    println!("{}.", counted(rows.len() as u64, "account", "accounts"));
    Ok(ExitCode::SUCCESS)
}

fn line(row: &UserRow) -> String {
    let facilities = match &row.facilities {
        None => "all facilities".to_owned(),
        Some(ids) => ids.trim_matches(['[', ']']).replace('"', ""),
    };
    let state = match (row.disabled_ms, &row.disabled_by) {
        (Some(at_ms), by) => {
            format!("disabled {} by {}", rfc3339(at_ms), by.as_deref().unwrap_or("?"))
        }
        (None, _) => "can be used".to_owned(),
    };
    let signed_in = row.signed_in_ms.map_or_else(
        || "not signed in yet".to_owned(),
        |at_ms| format!("last signed in {}", rfc3339(at_ms)),
    );
    format!(
        "{}  {}  {facilities}  made {} by {}  {signed_in}  {state}",
        row.name,
        row.role,
        rfc3339(row.created_ms),
        row.created_by
    )
}

/// A new password: one that is made, or typed twice, or a line of standard input. The inner error
/// says what would be right.
fn password_of(name: &str, generate: bool) -> io::Result<Result<String, String>> {
    if generate {
        return Ok(Ok(passwords::generated()));
    }
    let password = if io::stdin().is_terminal() {
        let password = typed(&format!("Password of {name}: "))?;
        if password != typed("Once more: ")? {
            return Ok(Err("was not typed twice the same".to_owned()));
        }
        password
    } else {
        one_line()?
    };
    Ok(match passwords::fault(&password, name) {
        None => Ok(password),
        Some(detail) => Err(detail),
    })
}

fn one_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// A line that is typed unseen.
fn typed(prompt: &str) -> io::Result<String> {
    eprint!("{prompt}");
    io::stderr().flush()?;
    let before = tcgetattr(io::stdin())?;
    let mut unseen = before.clone();
    unseen.local_modes.remove(LocalModes::ECHO);
    tcsetattr(io::stdin(), OptionalActions::Flush, &unseen)?;
    let line = one_line();
    tcsetattr(io::stdin(), OptionalActions::Flush, &before)?;
    eprintln!();
    line
}

fn wrong(error: &str) -> ExitCode {
    eprintln!("facility-summary: {error}");
    ExitCode::from(2)
}

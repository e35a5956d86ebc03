//! How `[auth]` is read: from the file as it is written, then from the environment.

use std::fmt;

use config::ValueKind;
use toml::{Table, Value};

use super::{
    SettingsError, Switch,
    auth::{AuthSettings, IssuerSettings},
    rules,
};
use crate::domain::access::Role;

/// Keys that stand in `[auth]` only, and not with each issuer.
const ONLY_ONCE: [&str; 8] = [
    "sign_in",
    "audit_log_days",
    "secret",
    "secret_file",
    "public_url",
    "session_idle_minutes",
    "session_hours",
    "issuers",
];

/// Checks the section of a file against the list of keys. `origin` names the file in errors.
pub fn checked(section: Value, origin: &str) -> Result<Table, SettingsError> {
    let Value::Table(table) = section else {
        return Err(SettingsError::new("auth", &"no table", &format!("must be one ({origin})")));
    };
    check_keys(&table, "auth", origin)?;
    if let Some(issuers) = table.get("issuers") {
        let tables: Option<Vec<&Table>> =
            issuers.as_array().and_then(|list| list.iter().map(Value::as_table).collect());
        let Some(tables) = tables else {
            let right = format!("must be tables, [[auth.issuers]] ({origin})");
            return Err(SettingsError::new("auth.issuers", &issuers.type_str(), &right));
        };
        for (nth, issuer) in tables.into_iter().enumerate() {
            let section = format!("auth.issuers[{nth}]");
            for key in ONLY_ONCE {
                if issuer.contains_key(key) {
                    let right = format!("stands in [auth] only ({origin})");
                    return Err(SettingsError::new(&format!("{section}.{key}"), &"set", &right));
                }
            }
            check_keys(issuer, &section, origin)?;
        }
    }
    Ok(table)
}

/// Checks each key of a table of `[auth]`; `section` is what errors call the table.
fn check_keys(table: &Table, section: &str, origin: &str) -> Result<(), SettingsError> {
    for (key, value) in table {
        match (key.as_str(), value) {
            ("issuers", _) if section == "auth" => {}
            ("roles", Value::Table(roles)) => {
                for (name, role) in roles {
                    if let ValueKind::String(role) = kind(role) {
                        check_role(section, name, &role)?;
                    } else {
                        return Err(bad_role(section, name, &role.type_str()));
                    }
                }
            }
            ("claims", Value::Table(claims)) => {
                for (key, value) in claims {
                    let shown = format!("{section}.claims.{key}");
                    rules::check_as(&shown, &format!("auth.claims.{key}"), &kind(value), origin)?;
                }
            }
            _ => {
                let shown = format!("{section}.{key}");
                rules::check_as(&shown, &format!("auth.{key}"), &kind(value), origin)?;
            }
        }
    }
    Ok(())
}

/// Sets a key that a variable of the environment names: `issuer`, or `claims.role`.
pub fn set(table: &mut Table, key: &str, value: ValueKind) {
    let value = match value {
        ValueKind::U64(number) => Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)),
        value => Value::String(value.to_string()),
    };
    match key.split_once('.') {
        Some((inner, key)) => {
            let inner = table.entry(inner).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                inner.insert(key.to_owned(), value);
            }
        }
        None => {
            table.insert(key.to_owned(), value);
        }
    }
}

/// The settings of a checked table.
pub fn read(mut table: Table) -> Result<AuthSettings, SettingsError> {
    let text = |table: &mut Table, key: &str| match table.remove(key) {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    let mut issuers = Vec::new();
    if let Some(Value::Array(list)) = table.remove("issuers") {
        for (nth, issuer) in list.into_iter().enumerate() {
            if let Value::Table(issuer) = issuer {
                issuers.push(issuer_of(issuer, &format!("auth.issuers[{nth}]"))?);
            }
        }
    }
    let defaults = AuthSettings::default();
    let sign_in = match text(&mut table, "sign_in").as_deref() {
        Some("on") => Some(Switch::On),
        Some(_) => Some(Switch::Off),
        None => defaults.sign_in,
    };
    let audit_log_days = match table.remove("audit_log_days") {
        Some(Value::Integer(days)) => u32::try_from(days).unwrap_or(defaults.audit_log_days),
        _ => defaults.audit_log_days,
    };
    let mut number = |key: &str, default: u64| match table.remove(key) {
        Some(Value::Integer(number)) => u64::try_from(number).unwrap_or(default),
        _ => default,
    };
    let session_idle_minutes = number("session_idle_minutes", defaults.session_idle_minutes);
    let session_hours = number("session_hours", defaults.session_hours);
    let settings = AuthSettings {
        sign_in,
        audit_log_days,
        public_url: text(&mut table, "public_url"),
        session_idle_minutes,
        session_hours,
        secret: text(&mut table, "secret").map(super::auth::Secret::new),
        secret_file: text(&mut table, "secret_file").map(Into::into),
        main: issuer_of(table, "auth")?,
        issuers,
    };
    settings.check()?;
    Ok(settings)
}

fn issuer_of(mut table: Table, section: &str) -> Result<IssuerSettings, SettingsError> {
    if let Some(Value::String(pairs)) = table.get("roles") {
        let roles = roles_of(pairs, section)?;
        table.insert("roles".into(), Value::Table(roles));
    }
    // A table has no text of the file: the error shows no value of another key.
    table.try_into().map_err(|error| SettingsError(format!("[{section}]: {error}")))
}

/// Roles as one text, as in the environment: `value=role, value=role`.
fn roles_of(pairs: &str, section: &str) -> Result<Table, SettingsError> {
    let mut roles = Table::new();
    for pair in pairs.split(',') {
        let Some((name, role)) = pair.rsplit_once('=') else {
            let right = "must be pairs such as blood-viewers=viewer, blood-admins=admin";
            return Err(SettingsError::new(&format!("{section}.roles"), &pair.trim(), right));
        };
        let (name, role) = (name.trim(), role.trim());
        check_role(section, name, role)?;
        let earlier = roles.insert(name.to_owned(), Value::String(role.to_owned()));
        if let Some(Value::String(earlier)) = earlier {
            let key = format!("{section}.roles.{name:?}");
            let both = format!("{earlier}, and then {role}");
            return Err(SettingsError::new(&key, &both, "must stand there once"));
        }
    }
    Ok(roles)
}

fn check_role(section: &str, name: &str, role: &str) -> Result<(), SettingsError> {
    if name.is_empty() || role.parse::<Role>().is_err() {
        return Err(bad_role(section, name, &role));
    }
    Ok(())
}

fn bad_role(section: &str, name: &str, role: &dyn fmt::Display) -> SettingsError {
    let names = Role::ALL.map(Role::as_str).join(", ");
    let right = format!("must be one of {names}, for a value that is not empty");
    SettingsError::new(&format!("{section}.roles.{name:?}"), role, &right)
}

/// A value as the rules know it.
fn kind(value: &Value) -> ValueKind {
    match value {
        Value::String(text) => ValueKind::String(text.clone()),
        Value::Integer(number) => ValueKind::I64(*number),
        Value::Float(number) => ValueKind::Float(*number),
        Value::Boolean(value) => ValueKind::Boolean(*value),
        Value::Datetime(time) => ValueKind::String(time.to_string()),
        Value::Array(_) => ValueKind::Array(Vec::new()),
        Value::Table(_) => ValueKind::Table(Default::default()),
    }
}

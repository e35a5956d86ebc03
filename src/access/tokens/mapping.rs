//! What a token allows: its claims, by the names that its issuer uses.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use uuid::Uuid;

use super::reason::{Reason, shown, shown_value};
use crate::{
    config::auth::{FacilitiesAre, IssuerSettings, WithoutFacilities},
    domain::access::{FacilityScope, NamedFacilities, Role},
};

/// The longest key of a facility, in characters.
const KEY_CHARACTERS: usize = 1_000;

/// How the claims of an issuer's tokens are understood.
pub struct Mapping {
    role_claim: String,
    roles: BTreeMap<String, Role>,
    facilities_claim: String,
    /// What stands before and behind a facility in a value; other values are no facilities.
    pattern: Option<(String, String)>,
    are: FacilitiesAre,
    without: WithoutFacilities,
    /// The value that stands for all facilities, in our own tokens.
    all: Option<&'static str>,
}

/// The value of the claim `facilities` in our own tokens that stands for all of them.
pub const ALL_FACILITIES: &str = "*";

impl Mapping {
    /// That of an issuer.
    pub fn new(settings: &IssuerSettings) -> Self {
        let own_names = || Role::ALL.map(|role| (role.as_str().to_owned(), role)).into();
        let claims = &settings.claims;
        let halves = |pattern: &String| {
            let (before, behind) = pattern.split_once("{}").unwrap_or((pattern, ""));
            (before.to_owned(), behind.to_owned())
        };
        Mapping {
            role_claim: claims.role.clone(),
            roles: settings.roles.clone().unwrap_or_else(own_names),
            facilities_claim: claims.facilities.clone(),
            pattern: claims.facility_pattern.as_ref().map(halves),
            are: claims.facilities_are,
            without: settings.without_facilities,
            all: None,
        }
    }

    /// That of the tokens that `token mint` makes, whatever the settings of others say.
    pub fn own() -> Self {
        Mapping { all: Some(ALL_FACILITIES), ..Mapping::new(&IssuerSettings::default()) }
    }

    /// The role. Values that stand for no role are passed over; with several roles, `admin` is the
    /// one that counts, then `operator` before `viewer`. No other two go together.
    ///
    /// # Errors
    /// There is none, or it is not clear which.
    pub fn role(&self, claims: &Map<String, Value>) -> Result<Role, Reason> {
        let claim = &self.role_claim;
        let value = at(claims, claim)
            .ok_or_else(|| Reason::Role(format!("the token has no claim {claim}")))?;
        let values = texts(value, is_scope(claim)).ok_or_else(|| {
            let value = shown_value(Some(value));
            Reason::Role(format!("the claim {claim} is {value}; it must be a text or a list"))
        })?;
        let roles: BTreeSet<Role> =
            values.iter().filter_map(|value| self.roles.get(*value).copied()).collect();
        let one = |role: Role| roles.contains(&role).then_some(role);
        if let Some(role) = one(Role::Admin) {
            return Ok(role);
        }
        let is_person = |role: &Role| matches!(role, Role::Viewer | Role::Operator);
        match (roles.len(), roles.iter().all(is_person), roles.last()) {
            (1, _, Some(role)) => Ok(*role),
            (0, ..) => Err(Reason::Role(format!(
                "the claim {claim} is {}; known are: {}",
                shown_value(Some(value)),
                self.roles.keys().map(|name| shown(name)).collect::<Vec<_>>().join(", ")
            ))),
            (_, true, _) => Ok(one(Role::Operator).unwrap_or(Role::Viewer)),
            _ => Err(Reason::Role(format!(
                "the claim {claim} gives several that do not go together: {}",
                roles.iter().map(|role| role.as_str()).collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    /// The facilities. Only of viewers and operators they are asked for: the other roles are about
    /// all facilities, or about none.
    ///
    /// # Errors
    /// The claim is missing and must not be, or cannot be read.
    pub fn facilities(
        &self,
        role: Role,
        claims: &Map<String, Value>,
    ) -> Result<FacilityScope, Reason> {
        if !matches!(role, Role::Viewer | Role::Operator) {
            return Ok(FacilityScope::All);
        }
        let claim = &self.facilities_claim;
        let Some(value) = at(claims, claim) else {
            return match self.without {
                WithoutFacilities::All => Ok(FacilityScope::All),
                WithoutFacilities::Refuse => Err(Reason::Facilities(format!(
                    "the token has no claim {claim}, which a {role} must have (or set \
                     auth.without_facilities = \"all\")"
                ))),
            };
        };
        if self.all.is_some() && value.as_str() == self.all {
            return Ok(FacilityScope::All);
        }
        let numbers_too = matches!(self.are, FacilitiesAre::Keys);
        let values = texts_or_numbers(value, is_scope(claim), numbers_too).ok_or_else(|| {
            let value = shown_value(Some(value));
            Reason::Facilities(format!("the claim {claim} is {value}; it must be a text or a list"))
        })?;
        let mut named = NamedFacilities::default();
        for value in &values {
            let inner = match &self.pattern {
                None => value.as_str(),
                Some((before, behind)) => {
                    let inner = value.strip_prefix(before.as_str());
                    match inner.and_then(|rest| rest.strip_suffix(behind.as_str())) {
                        Some(inner) => inner,
                        None => continue,
                    }
                }
            };
            self.add(inner, &mut named).ok_or_else(|| {
                let kind = match self.are {
                    FacilitiesAre::Ids => "id",
                    FacilitiesAre::Keys => "key",
                };
                let value = shown(value);
                Reason::Facilities(format!("the claim {claim} has {value}: no facility's {kind}"))
            })?;
        }
        Ok(FacilityScope::Only(named))
    }

    fn add(&self, text: &str, named: &mut NamedFacilities) -> Option<()> {
        match self.are {
            FacilitiesAre::Ids if text.len() == 36 => named.ids.insert(text.parse::<Uuid>().ok()?),
            FacilitiesAre::Ids => return None,
            FacilitiesAre::Keys => {
                let is_key = !text.is_empty() && text.chars().count() <= KEY_CHARACTERS;
                named.keys.insert(is_key.then(|| text.to_owned())?)
            }
        };
        Some(())
    }
}

/// The value of a claim, or at a path of names with dots between them. A name may have dots itself:
/// the longest one that exists counts.
fn at<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let dots = path.rmatch_indices('.').map(|(at, _)| at);
    dots.filter_map(|dot| claims.get(&path[..dot])?.as_object().map(|inner| (dot, inner)))
        .find_map(|(dot, inner)| at(inner, &path[dot + 1..]))
}

/// Whether a claim is a list of words in one text (RFC 8693, 4.2). No other claim is taken apart:
/// the word admin in "not an admin" is no role.
fn is_scope(claim: &str) -> bool {
    matches!(claim.rsplit('.').next(), Some("scope" | "scp"))
}

/// The texts of a claim that is a text or a list of texts.
fn texts(value: &Value, is_scope: bool) -> Option<Vec<&str>> {
    match value {
        Value::String(text) if is_scope => Some(text.split(' ').collect()),
        Value::String(text) => Some(vec![text]),
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// The same, with whole numbers in their place where keys of an owner's tables may be numbers.
fn texts_or_numbers(value: &Value, is_scope: bool, numbers_too: bool) -> Option<Vec<String>> {
    let number = |value: &Value| match value {
        Value::Number(number) if numbers_too && !number.is_f64() => Some(number.to_string()),
        value => value.as_str().map(str::to_owned),
    };
    match value {
        Value::Array(list) => list.iter().map(number).collect(),
        Value::Number(_) => number(value).map(|number| vec![number]),
        value => Some(texts(value, is_scope)?.into_iter().map(str::to_owned).collect()),
    }
}

//! The reader of an object's fields, which collects every fault. A rule (`field_rules`) returns the
//! value, or says in words what it expected. The reader adds which field it was and what value it
//! found.

use std::borrow::Cow;

use super::{
    cloudevents::require_json,
    field_rules,
    json::{self, Json, Object},
    problem::{InputError, Problem},
};

/// What a rule expected, in words.
pub type Expected = Cow<'static, str>;

/// Where the fields of an object are in the request.
#[derive(Debug, Clone)]
pub enum Place {
    /// In the body, under this RFC 6901 pointer.
    Body(String),
    /// In the `ce-` headers.
    Headers,
}

impl Place {
    fn fault(&self, field: &str, detail: String) -> InputError {
        match self {
            Place::Body(pointer) => {
                let field = field.replace('~', "~0").replace('/', "~1");
                InputError { pointer: format!("{pointer}/{field}"), detail }
            }
            Place::Headers => InputError {
                pointer: String::new(),
                detail: format!("header ce-{field}: {detail}"),
            },
        }
    }
}

/// The faults of one event or registration. Only the first 20 are named; the others are counted.
/// Otherwise a body of only unknown fields would get an answer longer than itself, and would cost
/// the memory for it.
#[derive(Debug, Default)]
pub struct Faults {
    named: Vec<InputError>,
    more: usize,
}

impl Faults {
    const MOST_NAMED: usize = 20;

    /// Notes a fault. `fault` is called only when the fault is named, so that unnamed faults cost
    /// no text.
    pub fn note(&mut self, fault: impl FnOnce() -> InputError) {
        if self.named.len() < Self::MOST_NAMED {
            self.named.push(fault());
        } else {
            self.more += 1;
        }
    }

    /// The faults, in the order in which they were noted. The last one, at `pointer`, gives the
    /// number of those that are not named.
    pub fn into_list(mut self, pointer: &str) -> Vec<InputError> {
        if self.more > 0 {
            self.named.push(InputError {
                pointer: pointer.to_owned(),
                detail: format!("has {} more faults, here or beside it", self.more),
            });
        }
        self.named
    }
}

/// Reads the fields of a body that is an object. 415 for another content type, 400 for what is no
/// JSON, and 422 with each fault.
pub fn of_body<T>(
    content_type: Option<&str>,
    body: &[u8],
    read: impl FnOnce(&mut EventFields) -> Option<T>,
) -> Result<T, Problem> {
    require_json(content_type)?;
    let body = json::parse(body)?;
    let object = field_rules::object_of(&body, "", "a JSON object")
        .map_err(|fault| Problem::invalid(vec![fault]))?;
    let mut faults = Faults::default();
    let mut f = EventFields::new(object, Place::Body(String::new()), &mut faults);
    let value = read(&mut f);
    f.finish();
    let faults = faults.into_list("");
    match value {
        Some(value) if faults.is_empty() => Ok(value),
        _ => Err(Problem::invalid(faults)),
    }
}

/// 422 for one field of a body.
pub fn fault(field: &str, detail: String) -> Problem {
    Problem::invalid(vec![Place::Body(String::new()).fault(field, detail)])
}

/// Reads an object field by field. A faulty field is `None`, and is noted. `finish` notes the
/// fields that were not read.
pub struct EventFields<'a> {
    object: &'a Object<'a>,
    place: Place,
    known: Vec<&'static str>,
    faults: &'a mut Faults,
}

impl<'a> EventFields<'a> {
    /// Starts to read `object`, which is at `place` in the request. Faults go into `faults`.
    pub fn new(object: &'a Object<'a>, place: Place, faults: &'a mut Faults) -> Self {
        EventFields { object, place, known: Vec::with_capacity(8), faults }
    }

    /// Reads a field that must be there. `None` when it is missing or when `rule` refuses it; the
    /// fault is noted.
    pub fn required<T>(
        &mut self,
        field: &'static str,
        rule: impl Fn(&Json) -> Result<T, Expected>,
    ) -> Option<T> {
        self.known.push(field);
        let object = self.object;
        match object.get(field) {
            Some(value) => self.check(field, value, rule),
            None => {
                let detail = rule(&Json::Null).map_or_else(
                    |expected| format!("is missing; expected {expected}"),
                    |_| "is missing".into(),
                );
                self.note(field, detail);
                None
            }
        }
    }

    /// Reads a field that may be absent or null, which are both `Some(None)`. `None` when `rule`
    /// refuses its value; the fault is noted.
    pub fn optional<T>(
        &mut self,
        field: &'static str,
        rule: impl Fn(&Json) -> Result<T, Expected>,
    ) -> Option<Option<T>> {
        self.known.push(field);
        let object = self.object;
        match object.get(field) {
            None | Some(Json::Null) => Some(None),
            Some(value) => self.check(field, value, rule).map(Some),
        }
    }

    /// Reads a field that may be absent, which is `default`, and not null.
    pub fn defaulted<T>(
        &mut self,
        field: &'static str,
        default: T,
        rule: impl Fn(&Json) -> Result<T, Expected>,
    ) -> Option<T> {
        match self.object.contains_key(field) {
            true => self.required(field, rule),
            false => {
                self.known.push(field);
                Some(default)
            }
        }
    }

    /// Reads a text that must be there and that no answer shows, such as a password.
    pub fn secret(&mut self, field: &'static str) -> Option<String> {
        self.known.push(field);
        let text = self.object.get(field).and_then(field_rules::text_of);
        if text.is_none() {
            self.note(field, "is missing, or is no text".to_owned());
        }
        text.map(str::to_owned)
    }

    /// Notes every field of the object that was not read.
    pub fn finish(self) {
        for field in self.object.keys().filter(|field| !self.known.contains(&field.as_ref())) {
            let detail = || {
                format!(
                    "is not a field that is known here; the known ones are {}",
                    self.known.join(", ")
                )
            };
            self.faults.note(|| self.place.fault(field, detail()));
        }
    }

    fn check<T>(
        &mut self,
        field: &'static str,
        value: &Json,
        rule: impl Fn(&Json) -> Result<T, Expected>,
    ) -> Option<T> {
        rule(value)
            .map_err(|expected| self.note(field, format!("expected {expected}, got {value}")))
            .ok()
    }

    fn note(&mut self, field: &str, detail: String) {
        self.faults.note(|| self.place.fault(field, detail));
    }
}

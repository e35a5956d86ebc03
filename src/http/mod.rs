//! The HTTP edge: what comes in is checked here once, and every error leaves as a problem document.

pub mod cloudevents;
pub mod event_data;
pub mod fields;
pub mod freshness;
pub mod json;
pub mod percent;
pub mod problem;
pub mod query;
pub mod registrations;

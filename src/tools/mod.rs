//! The commands beside `serve`: each does its work through the same store and service as the server does.

pub mod import;

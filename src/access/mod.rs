//! Who may do what: credentials become principals, and principals may do what their role says, for
//! the facilities that they may see. `guard` is the way in; `src/http/entrance.rs` asks it before
//! each request. This folder knows no routes.

pub mod api_keys;
pub mod audit;
pub mod denials;
pub mod guard;
pub mod key_ring;
mod known_keys;
mod remembered;
pub mod tokens;
pub mod visible;

pub use guard::{Denial, Guard, SignedIn};
pub use visible::Visible;

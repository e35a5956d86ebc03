//! What was looked at on the way to a decision, for `token explain`.

/// The steps so far; none are kept while requests are answered.
pub struct Trace(Option<Vec<String>>);

impl Trace {
    /// Keeps nothing.
    pub fn off() -> Self {
        Trace(None)
    }

    /// Keeps each step.
    pub fn on() -> Self {
        Trace(Some(Vec::new()))
    }

    /// A check that was passed. The text is made only where it is kept.
    pub fn passed(&mut self, step: impl FnOnce() -> String) {
        if let Some(steps) = &mut self.0 {
            steps.push(step());
        }
    }

    /// The steps, in their order.
    pub fn into_steps(self) -> Vec<String> {
        self.0.unwrap_or_default()
    }
}

//! By hand: how a person sees a run with their own eyes.

/// What was asked of the platform, and how the rows are read. No secret is in any of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByHand {
    /// The statements, as the platform is sent them.
    pub query: Option<String>,
    /// Where it was to deliver, with secrets masked.
    pub address: Option<String>,
    /// What a person types into a shell to read the run's rows at the target, as the agent reads them.
    pub read: Option<String>,
}

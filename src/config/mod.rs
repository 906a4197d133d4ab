//! FLOOR 1, config: files → [`Plan`]. Everything that is wrong is said at once, each with file,
//! line, column, what is wrong and what would be right.

pub mod plan;
pub mod section;

pub use plan::{AgentPlan, CanaryPlan, Plan, PlatformPlan, TargetPlan, worst_detection};
pub use section::{Kind, Opening, Problem, Problems, SecretSource, Section};

//! What doctor has to say: one fact of this host, and what to do about it.

use serde::Serialize;

/// How much it matters, least first: the order of the text output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Works; could be better, or is good to know.
    Note,
    /// Works worse than it could, or will surprise.
    Warning,
    /// Keeps linerate from running.
    Problem,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Problem => "problem",
        }
    }
}

/// One finding. The keys are those of `--json`, where all of them are always there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    pub topic: &'static str,
    pub symptom: String,
    pub cause: Option<String>,
    /// To be typed as it stands.
    pub command: Option<String>,
    /// What linerate will do anyway.
    pub engine_does: Option<String>,
    /// Where this is known from, for what this host did not say itself.
    pub source: Option<&'static str>,
}

impl Finding {
    pub fn new(level: Level, topic: &'static str, symptom: impl Into<String>) -> Finding {
        let symptom = symptom.into();
        Finding { level, topic, symptom, cause: None, command: None, engine_does: None, source: None }
    }

    pub fn ok(topic: &'static str, symptom: impl Into<String>) -> Finding {
        Finding::new(Level::Ok, topic, symptom)
    }

    pub fn cause(mut self, cause: impl Into<String>) -> Finding {
        self.cause = Some(cause.into());
        self
    }

    pub fn command(mut self, command: impl Into<String>) -> Finding {
        self.command = Some(command.into());
        self
    }

    pub fn engine(mut self, does: impl Into<String>) -> Finding {
        self.engine_does = Some(does.into());
        self
    }

    pub fn source(mut self, source: &'static str) -> Finding {
        self.source = Some(source);
        self
    }
}

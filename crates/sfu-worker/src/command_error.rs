//! Why a command was refused.

use serde::{Deserialize, Serialize};

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandError {
    /// For programs.
    pub code: ErrorCode,
    /// Human-readable; names the handle.
    pub message: String,
}

impl CommandError {
    /// An error with its explanation.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        CommandError {
            code,
            message: message.into(),
        }
    }
}

impl std::fmt::Display for CommandError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CommandError {}

/// Codes of [`CommandError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// No object with that handle.
    NotFound,
    /// The handle is taken.
    AlreadyExists,
    /// Not now, such as connecting twice.
    InvalidState,
    /// A value that can never be right.
    InvalidArgument,
    /// No address or port to offer.
    NoPort,
    /// The worker is closing or dead.
    Closed,
}
